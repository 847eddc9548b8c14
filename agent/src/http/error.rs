//! Answers that are not data: plain text with a status. Decides no status by itself.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use tepui_proto::wire::DecodeError;

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), header: None }
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason)
    }

    /// The agent is going down.
    pub(super) fn unavailable() -> Self {
        Self::soon("the agent is stopping")
    }

    /// The agent does not know yet what runs on it.
    pub(super) fn recovering() -> Self {
        Self::soon("the agent is recovering the tasks of its earlier run")
    }

    /// Other bodies take all the room there is.
    pub(super) fn crowded() -> Self {
        Self::soon("too many long bodies are being read")
    }

    /// There is a bound, and it is reached.
    pub(super) fn too_many(reason: &str) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, ..Self::soon(reason) }
    }

    /// 401 with a challenge.
    pub(super) fn unauthorized(reason: &str, challenge: (HeaderName, HeaderValue)) -> Self {
        Self { header: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, reason) }
    }

    fn soon(reason: &str) -> Self {
        let header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        Self { header, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, reason) }
    }

    pub(super) fn method(allowed: &'static str) -> Self {
        let header = Some((ALLOW, HeaderValue::from_static(allowed)));
        Self { header, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("expecting {allowed}")) }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.reason));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
