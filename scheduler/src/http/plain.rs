//! What every plain endpoint goes through: forms on the way in, the callback of old pages on the way out.
//!
//! Owns the outer form of plain requests and answers. Compression is `gzip.rs`' business, content the endpoints'.

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde::Serialize;
use tepui_proto::json::to_vec;
use tepui_proto::plain::{self, Form, FormError};

use crate::http::error::Refusal;
use crate::http::{admission, answer};

/// 200 with JSON, wrapped in a call of the function that `?jsonp=` names.
pub(crate) fn json(query: Option<&str>, bytes: Bytes) -> Response {
    match plain::callback(query) {
        Some(name) => {
            let mut response = answer::body("text/javascript", plain::wrapped(&name, &bytes));
            // A browser must not take it for anything else.
            response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        None => answer::body("application/json", bytes),
    }
}

/// A value as JSON on one line, in ASCII only.
pub(crate) fn bytes<T: Serialize + ?Sized>(value: &T) -> Bytes {
    match to_vec(value) {
        Ok(bytes) => bytes.into(),
        Err(error) => {
            tracing::warn!(%error, "failed to render an answer");
            Bytes::from_static(b"{}")
        }
    }
}

/// The body of a request with one of these methods, whatever its type is said to be.
///
/// # Errors
/// 405, 413.
pub(crate) async fn body(
    request: Request,
    allowed: &[(Method, &'static str)],
    limit: usize,
) -> Result<Bytes, Refusal> {
    if !allowed.iter().any(|(method, _)| method == request.method()) {
        let names = allowed.first().map_or("POST", |(_, names)| *names);
        return Err(Refusal::method(names, request.method()));
    }
    admission::read(request.into_body(), limit).await
}

/// The form that a POST carries. Mesos looks at no `Content-Type` here, so neither is it asked for.
///
/// # Errors
/// 405 for another method, 413, 400 for what is no form.
pub(crate) async fn form(request: Request, limit: usize) -> Result<Form, Refusal> {
    let body = body(request, &[(Method::POST, "POST")], limit).await?;
    Ok(Form::parse(&body)?)
}

impl From<FormError> for Refusal {
    fn from(error: FormError) -> Refusal {
        Refusal::bad_request(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_wrapped_only_for_a_name() {
        for (query, content_type) in [
            ("jsonp=alert(1)//", "application/json"),
            ("jsonp=angular.callbacks._0", "text/javascript"),
            ("", "application/json"),
        ] {
            let answer = json(Some(query), Bytes::from_static(b"{}"));
            assert_eq!(answer.headers()["content-type"], content_type, "{query}");
        }
    }

    #[tokio::test]
    async fn a_form_needs_a_post() {
        let request = |method: Method, body: &'static str| {
            axum::http::Request::builder().method(method).body(axum::body::Body::from(body)).unwrap()
        };
        let form = form(request(Method::POST, "frameworkId=f%2D1"), 100);
        assert_eq!(form.await.unwrap().get("frameworkId"), Some("f-1"));
        for (method, body, limit) in
            [(Method::GET, "", 100), (Method::POST, "a=%", 100), (Method::POST, "a=bcd", 3)]
        {
            assert!(super::form(request(method, body), limit).await.is_err(), "{body}");
        }
    }
}
