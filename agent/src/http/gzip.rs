//! Compresses whole answers for clients that ask for it. Owns when: a long body of known length. Streams never are.

use std::io::Write;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tepui_proto::plain;

/// Whether the client takes gzip.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| plain::accepts_gzip(Some(value)))
}

/// Compresses the body if that is worth it.
pub(super) async fn compress(response: Response) -> Response {
    let is_long = response
        .body()
        .size_hint()
        .exact()
        .is_some_and(|length| length >= plain::COMPRESSED_FROM_BYTES as u64);
    let is_encoded = response.headers().contains_key(CONTENT_ENCODING);
    if response.status() != StatusCode::OK || !is_long || is_encoded {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It is in memory as a whole: nothing can fail, nor take long.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let plain = bytes.clone();
    let body = match tokio::task::spawn_blocking(move || gzip(&plain)).await {
        Ok(Ok(compressed)) => {
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
            parts.headers.remove(CONTENT_LENGTH);
            compressed
        }
        Ok(Err(_)) | Err(_) => bytes,
    };
    Response::from_parts(parts, Body::from(body))
}

fn gzip(plain: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}
