//! What every endpoint that takes calls checks in the same order: method, media type, size of the body.
//!
//! Owns rows 5 to 7 of the admission order and the negotiation of the answer's encoding. Looks into no body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use tepui_proto::MediaType;

use crate::http::error::Refusal;

/// How long, and how many times the limit, of a body that is too long is thrown away.
const DISCARD: Duration = Duration::from_secs(10);
const DISCARDED_LIMITS: usize = 4;

/// A request whose outer form is right.
pub(crate) struct Admitted {
    pub(crate) parts: Parts,
    pub(crate) media: MediaType,
    pub(crate) body: Bytes,
}

/// Lets a POST with a known `Content-Type` and a body of at most `limit` bytes through.
///
/// # Errors
/// 405, 400 or 415, 413, 400 in this order.
pub(crate) async fn post(request: Request, limit: usize) -> Result<Admitted, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::method("POST", request.method()));
    }
    let media = media(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = read(body, limit).await?;
    Ok(Admitted { parts, media, body })
}

/// Reads a whole body of at most `limit` bytes. What is beyond the limit is read and thrown away for a while: a client that is still sending when the
/// connection closes would never see the answer.
pub(crate) async fn read(mut body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut bytes = BytesMut::new();
    let mut length = 0_usize;
    let deadline = tokio::time::Instant::now() + DISCARD;
    while length <= limit.saturating_mul(DISCARDED_LIMITS) {
        let frame = match length <= limit {
            true => body.frame().await,
            false => tokio::time::timeout_at(deadline, body.frame()).await.unwrap_or(None),
        };
        let Some(frame) = frame else { break };
        let frame =
            frame.map_err(|error| Refusal::bad_request(format!("failed to read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else {
            bytes = BytesMut::new();
        }
    }
    if length > limit {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body exceeds {limit} bytes")));
    }
    Ok(bytes.freeze())
}

fn media(headers: &HeaderMap) -> Result<MediaType, Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(Refusal::bad_request("expecting 'Content-Type' to be present"));
    };
    value.to_str().ok().and_then(MediaType::from_content_type).ok_or_else(|| {
        Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("expecting 'Content-Type' of {} or {}", MediaType::Json, MediaType::Protobuf),
        )
    })
}

/// The encoding in which the client wants its answer.
///
/// # Errors
/// 406 if it accepts none that there is.
pub(crate) fn accepted(headers: &HeaderMap) -> Result<MediaType, Refusal> {
    let mut values = headers.get_all(ACCEPT).iter();
    let first = values.next().map(|value| value.to_str().unwrap_or("?").to_owned());
    // Several headers mean the same as one with commas.
    let all =
        values.fold(first, |all, value| all.map(|all| format!("{all},{}", value.to_str().unwrap_or("?"))));
    MediaType::negotiate(all.as_deref()).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("expecting 'Accept' to allow {} or {}", MediaType::Json, MediaType::Protobuf),
        )
    })
}

/// A header as text, if it is there and is text.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Whether the client wants what this master knows, leading or not.
pub(crate) fn wants_local(parts_headers: &HeaderMap, query: Option<&str>) -> bool {
    let by_header = parts_headers.get("tepui-read").is_some_and(|value| value.as_bytes() == b"local");
    by_header || query.is_some_and(|query| query.split('&').any(|pair| pair == "tepui_read=local"))
}
