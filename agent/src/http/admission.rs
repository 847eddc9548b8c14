//! What `POST /api/v1` checks before it looks at a call: method, types of content, and what may stand in front of a stream.
//!
//! Owns the rules of `application/recordio`, which needs the type of its records in a header of its own, and in no other case
//! may that header be there. Looks into no call.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use tepui_proto::MediaType;
use tepui_proto::recordio::Decoder;

use super::bodies::{Bodies, piece};
use super::error::Refusal;

const RECORDIO: &str = "application/recordio";
const MESSAGE_CONTENT_TYPE: &str = "message-content-type";
const MESSAGE_ACCEPT: &str = "message-accept";

/// No call that is answered here comes near it.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// The form of a body: one message, or a stream of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole(MediaType),
    Records(MediaType),
}

/// A request whose outer form is right.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) content: Form,
    pub(super) answer: Form,
    pub(super) body: Body,
}

/// Lets a POST through whose headers agree with each other.
///
/// # Errors
/// 405, 400, 415 or 406.
pub(super) fn post(request: Request) -> Result<Admitted, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::method("POST"));
    }
    let content = content(request.headers())?;
    let answer = answer(request.headers())?;
    Ok(Admitted { content, answer, body: request.into_body() })
}

fn content(headers: &HeaderMap) -> Result<Form, Refusal> {
    let unsupported = |reason: String| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
    let value = text(headers, CONTENT_TYPE.as_str());
    let value = value.ok_or_else(|| Refusal::bad_request("expecting 'Content-Type' to be present"))?;
    let inner = text(headers, MESSAGE_CONTENT_TYPE);
    if is_recordio(&value) {
        let inner = inner.ok_or_else(|| {
            Refusal::bad_request(format!("expecting 'Message-Content-Type' to be present with {RECORDIO}"))
        })?;
        let media = MediaType::from_content_type(&inner);
        return media.map(Form::Records).ok_or_else(|| {
            let (json, protobuf) = (MediaType::Json, MediaType::Protobuf);
            unsupported(format!("expecting 'Message-Content-Type' of {json} or {protobuf}"))
        });
    }
    let media = MediaType::from_content_type(&value).ok_or_else(|| {
        let (json, protobuf) = (MediaType::Json, MediaType::Protobuf);
        unsupported(format!("expecting 'Content-Type' of {json}, {protobuf} or {RECORDIO}"))
    })?;
    match inner {
        None => Ok(Form::Whole(media)),
        Some(_) => {
            Err(unsupported(format!("'Message-Content-Type' belongs to a 'Content-Type' of {RECORDIO}")))
        }
    }
}

fn answer(headers: &HeaderMap) -> Result<Form, Refusal> {
    let refused = |reason: String| Refusal::new(StatusCode::NOT_ACCEPTABLE, reason);
    let accept = text(headers, ACCEPT.as_str());
    let inner = text(headers, MESSAGE_ACCEPT);
    match MediaType::negotiate(accept.as_deref()) {
        Some(media) => match inner {
            None => Ok(Form::Whole(media)),
            Some(_) => Err(refused(format!("'Message-Accept' belongs to an 'Accept' of {RECORDIO} alone"))),
        },
        None if MediaType::accepts(accept.as_deref(), RECORDIO) => {
            MediaType::negotiate(inner.as_deref()).map(Form::Records).ok_or_else(|| {
                let (json, protobuf) = (MediaType::Json, MediaType::Protobuf);
                refused(format!("expecting 'Message-Accept' to allow {json} or {protobuf}"))
            })
        }
        None => {
            let (json, protobuf) = (MediaType::Json, MediaType::Protobuf);
            Err(refused(format!("expecting 'Accept' to allow {json}, {protobuf} or {RECORDIO}")))
        }
    }
}

fn is_recordio(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(RECORDIO))
}

/// Returns a header as text. Several of one name mean the same as one with commas; what is not text stands for nothing known.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let first = values.next()?.to_owned();
    Some(values.fold(first, |all, value| all + "," + value))
}

/// Reads the first record of a stream.
///
/// # Errors
/// 400 if there is none, 408 if it takes too long.
pub(super) async fn first_record(bodies: &Bodies, mut body: Body) -> Result<Bytes, Refusal> {
    let broken = |error: tepui_proto::recordio::RecordError| Refusal::bad_request(error.to_string());
    let reading = async {
        let mut decoder = Decoder::new(BODY_BYTES_MAX);
        loop {
            if let Some(record) = decoder.next_record().map_err(broken)? {
                return Ok(record);
            }
            match piece(&mut body).await? {
                Some(data) => decoder.push(&data),
                None => {
                    decoder.finish().map_err(broken)?;
                    return Err(Refusal::bad_request("expecting a record in the body"));
                }
            }
        }
    };
    tokio::time::timeout(bodies.patience(), reading).await.map_err(|_| bodies.slow())?
}

#[cfg(test)]
mod unit {
    use MediaType::{Json, Protobuf};
    use axum::response::IntoResponse;

    use super::*;

    fn admitted(headers: &[(&str, &str)]) -> Result<(Form, Form), u16> {
        let mut request = axum::http::Request::builder().method("POST");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let admitted = post(request.body(Body::empty()).unwrap());
        admitted
            .map(|admitted| (admitted.content, admitted.answer))
            .map_err(|refusal| refusal.into_response().status().as_u16())
    }

    #[test]
    fn the_types_of_records_are_named_with_records_only() {
        let json = ("content-type", "application/json");
        let records = ("content-type", "Application/RecordIO; x=y");
        let inner = ("message-content-type", "application/x-protobuf");
        let wants = ("accept", "application/recordio");
        type Case<'a> = (&'a [(&'a str, &'a str)], Result<(Form, Form), u16>);
        let cases: &[Case<'_>] = &[
            (&[], Err(400)),
            (&[("content-type", "text/plain")], Err(415)),
            (&[json], Ok((Form::Whole(Json), Form::Whole(Json)))),
            (&[json, inner], Err(415)),
            (&[records], Err(400)),
            (&[records, ("message-content-type", "text/plain")], Err(415)),
            (&[records, ("message-content-type", "application/recordio")], Err(415)),
            (&[records, inner], Ok((Form::Records(Protobuf), Form::Whole(Json)))),
            (&[json, ("accept", "text/html")], Err(406)),
            (&[json, wants], Ok((Form::Whole(Json), Form::Records(Json)))),
            (
                &[json, wants, ("message-accept", "application/x-protobuf")],
                Ok((Form::Whole(Json), Form::Records(Protobuf))),
            ),
            (&[json, wants, ("message-accept", "text/plain")], Err(406)),
            (&[json, ("message-accept", "application/json")], Err(406)),
            (&[json, ("accept", "*/*"), ("message-accept", "application/json")], Err(406)),
            (
                &[json, wants, ("accept", "application/x-protobuf")],
                Ok((Form::Whole(Json), Form::Whole(Protobuf))),
            ),
        ];
        for (headers, expected) in cases {
            assert_eq!(admitted(headers), *expected, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn the_first_record_is_read_and_nothing_but_records() {
        let bodies = Bodies::new(std::time::Duration::from_secs(30));
        let first = |bytes: &'static [u8]| first_record(&bodies, Body::from(bytes));
        assert_eq!(first(b"2\n{}5\nabc").await.unwrap(), Bytes::from_static(b"{}"));
        for wrong in [&b""[..], b"{}", b"5\nab", b"0\n", b"99999999\n"] {
            assert_eq!(first(wrong).await.unwrap_err().into_response().status(), 400, "{wrong:?}");
        }
    }
}
