//! Answers that carry data: their encoding and the headers that say how fresh they are.
//!
//! Owns the shape of a 200. Computes nothing of what is in it.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use tepui_proto::MediaType;
use tepui_proto::wire::{self, WireMessage};
use tepui_scheduler_core::Reply;

use crate::http::error::{Refusal, empty};
use crate::http::record_body::RecordBody;
use crate::runtime::handle::Unavailable;
use crate::runtime::reads::ReadView;
use crate::runtime::streams::Inlet;

/// 200 with a body of a given type.
pub(crate) fn body(content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(bytes.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with a message.
pub(crate) fn message<T: WireMessage>(media: MediaType, message: &T) -> Response {
    body(media.as_str(), wire::encode(media, message))
}

/// 200 with a stream of records.
pub(crate) fn stream(media: MediaType, inlet: Inlet) -> Response {
    let mut response = Response::new(RecordBody::new(inlet).into_body());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media.as_str()));
    response
}

/// What the core replied, in the encoding the client accepts.
///
/// # Errors
/// The core's refusal, or 503 if it could not be asked.
pub(crate) fn reply(media: MediaType, reply: Result<Reply, Unavailable>) -> Result<Response, Refusal> {
    match reply {
        Ok(Reply::Accepted) => Ok(empty(StatusCode::ACCEPTED)),
        Ok(Reply::Warned(text)) => Ok(warned(&text)),
        Ok(Reply::Ok) => Ok(empty(StatusCode::OK)),
        Ok(Reply::Operator(response)) => Ok(message(media, &response)),
        Ok(Reply::Rejected { status, reason }) => Err(Refusal::from_core(status, reason)),
        Err(Unavailable) => Err(unavailable()),
    }
}

/// 202 with a `Tepui-Warning`: the call was taken, and a part of it has no effect.
fn warned(text: &str) -> Response {
    let mut response = empty(StatusCode::ACCEPTED);
    let visible: String =
        text.chars().map(|one| if one.is_ascii_graphic() || one == ' ' { one } else { '?' }).collect();
    if let Ok(value) = HeaderValue::from_str(&visible) {
        response.headers_mut().insert(HeaderName::from_static("tepui-warning"), value);
    }
    response
}

/// 503 because the leadership ended while the request was on its way.
pub(crate) fn unavailable() -> Refusal {
    Refusal::unavailable("this master cannot answer now")
}

/// Says how fresh an answer is, and what is missing because only the leading master knows it.
pub(crate) fn stamp(mut response: Response, view: &ReadView) -> Response {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("tepui-applied-index"), HeaderValue::from(view.applied_index));
    if let Some(age) = view.age_ms() {
        headers.insert(HeaderName::from_static("tepui-applied-age-ms"), HeaderValue::from(age));
    }
    if view.local.is_none() {
        headers
            .insert(HeaderName::from_static("tepui-absent"), HeaderValue::from_static("offers, connections"));
    }
    response
}
