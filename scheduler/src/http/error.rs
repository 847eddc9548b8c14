//! Answers that are not data: plain text with a status, as the v1 API's clients expect. Decides no status by itself.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};

/// A refusal on its way to the client.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    reason: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal with a status and a reason for people.
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Refusal {
        Refusal { status, reason: reason.into(), header: None }
    }

    /// 400.
    pub(crate) fn bad_request(reason: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 405 with the method that is allowed, or several with commas.
    pub(crate) fn method(allowed: &'static str, got: &Method) -> Refusal {
        let mut refusal = Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("expecting one of {{ '{allowed}' }}, but received '{got}'"),
        );
        refusal.header = Some((ALLOW, HeaderValue::from_static(allowed)));
        refusal
    }

    /// The same with a header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Refusal {
        self.header = Some((name, value));
        self
    }

    /// 503: there is nobody to answer right now, trying again soon is right.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Refusal {
        let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
        refusal.header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        refusal
    }

    /// 501: known, but not built.
    pub(crate) fn not_implemented(what: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not implemented by this master"))
    }

    /// A refusal with the status that the core chose.
    pub(crate) fn from_core(status: u16, reason: String) -> Refusal {
        match StatusCode::from_u16(status) {
            Ok(StatusCode::SERVICE_UNAVAILABLE) => Refusal::unavailable(reason),
            Ok(status) if status.is_client_error() || status.is_server_error() => {
                Refusal::new(status, reason)
            }
            _ => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason),
        }
    }
}

impl From<tepui_proto::wire::DecodeError> for Refusal {
    fn from(error: tepui_proto::wire::DecodeError) -> Refusal {
        Refusal::bad_request(error.to_string())
    }
}

impl From<tepui_scheduler_core::validation::Rejection> for Refusal {
    fn from(rejection: tepui_scheduler_core::validation::Rejection) -> Refusal {
        Refusal::from_core(rejection.status, rejection.reason)
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

/// An answer without a body and therefore without a `Content-Type`: some clients take its presence for a stream.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
