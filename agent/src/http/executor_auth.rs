//! Who calls the executor API: the token that an executor was started with. Owns the realm, its challenges, and the rule that a token
//! speaks for one container only. Off unless the agent was told to ask.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::error::Refusal;
use crate::executor_tokens::{Claims, Tokens};

const REALM: &str = "mesos-agent-executor";
const SCHEME: &str = "Bearer";

/// Lets a request in. Returns what its token claims, or nothing if none is asked for; then whatever is shown does not count.
///
/// # Errors
/// 401 with a challenge.
pub(super) fn admit(tokens: Option<&Tokens>, headers: &HeaderMap) -> Result<Option<Claims>, Refusal> {
    let Some(tokens) = tokens else { return Ok(None) };
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let (first, more) = (shown.next(), shown.next());
    let Some(first) = first else {
        return Err(refusal("authentication is required", &format!("{SCHEME} realm=\"{REALM}\"")));
    };
    let invalid = |reason: &str| {
        let challenge =
            format!("{SCHEME} realm=\"{REALM}\", error=\"invalid_token\", error_description=\"{reason}\"");
        refusal(&format!("invalid token: {reason}"), &challenge)
    };
    if more.is_some() {
        return Err(invalid("there is more than one"));
    }
    let token = first.to_str().ok().and_then(|text| text.split_once(' '));
    let token =
        token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME)).map(|(_, token)| token.trim());
    let Some(token) = token else { return Err(invalid("expecting a Bearer token")) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    tokens.check(token, now.as_secs_f64()).map(Some).map_err(invalid)
}

fn refusal(reason: &str, challenge: &str) -> Refusal {
    // The reasons are our own texts, which stand in a header as they are.
    let challenge = HeaderValue::from_str(challenge).unwrap_or(HeaderValue::from_static(SCHEME));
    Refusal::unauthorized(reason, (WWW_AUTHENTICATE, challenge))
}

#[cfg(test)]
mod tests {
    use axum::http::header::HeaderName;
    use axum::response::IntoResponse;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let value =
            |value: &&str| (HeaderName::from_static("authorization"), HeaderValue::from_str(value).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in values.iter().map(value) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_challenge_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "k").unwrap();
        let tokens = Tokens::read(&path).unwrap();
        let claims = Claims::new("f", "e", "c");
        let token = tokens.sign(&claims);
        let admit = |values: &[&str]| super::admit(Some(&tokens), &headers(values));
        for right in [format!("Bearer {token}"), format!("bearer  {token} ")] {
            assert_eq!(admit(&[&right]).unwrap(), Some(claims.clone()));
        }
        let right = format!("Bearer {token}");
        for (values, challenge) in [
            (&[][..], r#"Bearer realm="mesos-agent-executor""#),
            (&["Basic eDp5"], "expecting a Bearer token"),
            (&["Bearer"], "expecting a Bearer token"),
            (&[token.as_str()], "expecting a Bearer token"),
            (&["Bearer x"], r#"error="invalid_token", error_description="expecting three parts""#),
            (&["Bearer \u{fc}"], "expecting a Bearer token"),
            (&[&right[..right.len() - 1]], "error_description"),
            (&[&right, &right], "more than one"),
        ] {
            let response = admit(values).unwrap_err().into_response();
            assert_eq!(response.status(), 401, "{values:?}");
            let shown = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
            assert!(shown.starts_with(r#"Bearer realm="mesos-agent-executor""#), "{shown}");
            assert!(shown.contains(challenge), "{values:?}: {shown}");
        }
        assert_eq!(super::admit(None, &headers(&["Bearer x"])).unwrap(), None);
    }
}
