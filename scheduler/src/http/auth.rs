//! Who is asking: rows 1 and 2 of the admission order, before anything else is looked at.
//!
//! Owns the three realms of a master and the challenge. Which realm a path belongs to says `route.rs`; what a principal may do
//! is not decided here.

use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use sha2::{Digest, Sha256};
use tepui_scheduler_core::Registry;

use crate::config::Authentication;
use crate::http::admission;
use crate::http::error::Refusal;

const DRIVER_TOKEN: &str = "tepui-driver-token";

/// The authenticated principal; nothing if the realm is open, or if a supervised driver asks.
pub(crate) type Principal = Option<String>;

/// A part of the public API that is protected on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    /// What only reads.
    ReadOnly,
    /// What can change something; also the operator API as a whole, as in Mesos.
    ReadWrite,
    /// The scheduler API.
    Scheduler,
}

impl Realm {
    /// The name in the challenge.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Realm::ReadOnly => "mesos-master-readonly",
            Realm::ReadWrite => "mesos-master-readwrite",
            Realm::Scheduler => "mesos-master-scheduler",
        }
    }

    fn protected(self, authentication: &Authentication) -> bool {
        match self {
            Realm::ReadOnly => authentication.readonly,
            Realm::ReadWrite => authentication.readwrite,
            Realm::Scheduler => authentication.frameworks,
        }
    }
}

/// Lets a request into a realm. `None` stands for a path that is open to everyone.
///
/// # Errors
/// 401 with a challenge.
pub(crate) fn admit(
    authentication: &Authentication,
    registry: impl FnOnce() -> Registry,
    realm: Option<Realm>,
    headers: &HeaderMap,
) -> Result<Principal, Refusal> {
    let Some(realm) = realm.filter(|realm| realm.protected(authentication)) else { return Ok(None) };
    let shown = admission::header(headers, AUTHORIZATION.as_str());
    if let Some(principal) = authentication.credentials.principal(shown.as_deref()) {
        return Ok(Some(principal.to_owned()));
    }
    if let Some(token) = headers.get(DRIVER_TOKEN)
        && realm != Realm::ReadOnly
        && is_driver(&registry(), token.as_bytes())
    {
        return Ok(None);
    }
    let challenge = HeaderValue::from_str(&format!("Basic realm=\"{}\"", realm.name()));
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "authentication is required");
    Err(match challenge {
        Ok(challenge) => refusal.with_header(WWW_AUTHENTICATE, challenge),
        Err(_) => refusal,
    })
}

/// A driver that the masters launched has no credentials but a token, which is as good for the two APIs that it speaks. The
/// Registry knows only its digest, so comparing tells nothing about the token.
fn is_driver(registry: &Registry, token: &[u8]) -> bool {
    let digest = Sha256::digest(token);
    registry
        .drivers
        .values()
        .any(|driver| !driver.ended() && driver.token_sha256.as_ref() == digest.as_slice())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tepui_proto::basic::{Credentials, authorization};
    use tepui_scheduler_core::registry::DriverRecord;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(hyper::header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())]
            .into_iter()
            .collect()
    }

    fn guarded() -> Authentication {
        let credentials = Credentials::parse("alice secret").unwrap();
        Authentication { readonly: false, readwrite: true, frameworks: true, credentials }
    }

    #[test]
    fn a_protected_realm_needs_a_known_pair() {
        let none = Registry::default;
        let right = headers("authorization", &authorization("alice", "secret"));
        let wrong = headers("authorization", &authorization("alice", "guess"));
        for realm in [Realm::ReadWrite, Realm::Scheduler] {
            assert_eq!(admit(&guarded(), none, Some(realm), &right).unwrap().as_deref(), Some("alice"));
            for headers in [&wrong, &HeaderMap::new()] {
                assert!(admit(&guarded(), none, Some(realm), headers).is_err(), "{realm:?}");
            }
        }
        // Where nothing is asked for, nothing that is shown counts.
        for realm in [Some(Realm::ReadOnly), None] {
            for headers in [&right, &wrong] {
                assert_eq!(admit(&guarded(), none, realm, headers).unwrap(), None);
            }
        }
    }

    #[test]
    fn a_live_drivers_token_stands_for_credentials() {
        let registry = |state: tepui_proto::tepui::operator::DriverState| {
            let mut registry = Registry::default();
            let driver = DriverRecord {
                token_sha256: bytes::Bytes::copy_from_slice(&Sha256::digest("token")),
                state: state as i32,
                ..Default::default()
            };
            registry.drivers.insert("job".into(), Arc::new(driver));
            registry
        };
        use tepui_proto::tepui::operator::DriverState::{DriverFinished, DriverRunning};
        let token = headers("tepui-driver-token", "token");
        let other = headers("tepui-driver-token", "else");
        let realm = Some(Realm::Scheduler);
        assert_eq!(admit(&guarded(), || registry(DriverRunning), realm, &token).unwrap(), None);
        assert!(admit(&guarded(), || registry(DriverRunning), realm, &other).is_err());
        assert!(admit(&guarded(), || registry(DriverFinished), realm, &token).is_err());
    }
}
