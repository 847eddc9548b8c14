//! The operator's page: static files that are a part of the binary and use nothing but the public API. No state, no logic.

use axum::response::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};

use crate::http::answer;
use crate::http::route::Asset;

const PAGE: &str = include_str!("../../dashboard/index.html");
const STYLE: &str = include_str!("../../dashboard/app.css");
const SCRIPT: &str = include_str!("../../dashboard/app.js");

/// The page loads nothing from elsewhere. It may connect to other masters, because it follows the leader when its own
/// master is gone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src *; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file.
pub(crate) fn asset(asset: Asset) -> Response {
    let mut response = match asset {
        Asset::Page => answer::body("text/html; charset=utf-8", PAGE),
        Asset::Style => answer::body("text/css; charset=utf-8", STYLE),
        Asset::Script => answer::body("text/javascript; charset=utf-8", SCRIPT),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}
