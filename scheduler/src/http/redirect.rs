//! Where a request goes that this master must not answer: to the leading master, or back to the client with 503.
//!
//! Owns the form of `Location` (no scheme, always a port, path and query untouched), which clients take apart by hand.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::header::{HeaderValue, LOCATION};
use hyper::{StatusCode, Uri};

use crate::http::error::Refusal;
use crate::runtime::role::Role;

/// Why the caller does not get served here.
#[derive(Clone, Debug)]
pub(crate) enum NotServing {
    /// Another master leads.
    Elsewhere { leader: String },
    /// Nobody is known to lead, or the leader is not ready.
    Nobody(&'static str),
}

/// Whether this master may answer for the cluster now: rows 3 and 4 of the admission order.
///
/// # Errors
/// Says where to go instead.
pub(crate) fn leading(role: &Role) -> Result<(), NotServing> {
    match role {
        Role::Serving { .. } => Ok(()),
        Role::Recovering => Err(NotServing::Nobody("the leading master is recovering the registry")),
        Role::Draining => Err(NotServing::Nobody("the leading master is handing over")),
        Role::Following { leader: Some(leader) } => Err(NotServing::Elsewhere { leader: leader.clone() }),
        Role::Following { leader: None } => Err(NotServing::Nobody("no leading master is known")),
    }
}

impl NotServing {
    /// The answer for a request to `uri`.
    pub(crate) fn answer(self, uri: &Uri) -> Response {
        match self {
            NotServing::Elsewhere { leader } => {
                let path = uri.path_and_query().map_or("", |path| path.as_str());
                to(&leader, path)
            }
            NotServing::Nobody(reason) => Refusal::unavailable(reason).into_response(),
        }
    }
}

/// 307 to `//leader<path>`.
pub(crate) fn to(leader: &str, path: &str) -> Response {
    match HeaderValue::from_str(&format!("//{leader}{path}")) {
        Ok(location) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => Refusal::bad_request("the path cannot be redirected").into_response(),
    }
}

/// `GET /redirect`: the address of the leading master without a path, from every master.
pub(crate) fn endpoint(role: &Role, own_address: &str) -> Response {
    match leading(role) {
        Ok(()) => to(own_address, ""),
        Err(NotServing::Elsewhere { leader }) => to(&leader, ""),
        Err(NotServing::Nobody(_)) if !matches!(role, Role::Following { .. }) => to(own_address, ""),
        Err(NotServing::Nobody(reason)) => Refusal::unavailable(reason).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_keeps_path_and_query_byte_for_byte() {
        let uri: Uri = "/api/v1/scheduler?a=b&c=%2F".parse().unwrap();
        let response = NotServing::Elsewhere { leader: "10.0.0.2:5050".into() }.answer(&uri);
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(response.headers()[LOCATION], "//10.0.0.2:5050/api/v1/scheduler?a=b&c=%2F");
    }

    #[test]
    fn without_a_leader_the_answer_is_503() {
        for role in [Role::Following { leader: None }, Role::Recovering, Role::Draining] {
            let response = leading(&role).unwrap_err().answer(&Uri::from_static("/state"));
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{role:?}");
        }
    }

    #[test]
    fn the_redirect_endpoint_names_the_leader_without_a_path() {
        let follower = Role::Following { leader: Some("b:2".into()) };
        assert_eq!(endpoint(&follower, "a:1").headers()[LOCATION], "//b:2");
        assert_eq!(endpoint(&Role::Recovering, "a:1").headers()[LOCATION], "//a:1");
        assert_eq!(
            endpoint(&Role::Following { leader: None }, "a:1").status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
