//! HTTP Basic authentication as masters and agents know it: who may show which secret, and how a request shows it.
//!
//! Owns the two forms of a credentials file (JSON, and the older lines of text) and the comparison. Reads no file; which
//! endpoint needs a principal is not its business.

use std::fmt;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Who may show which secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    known: Vec<Credential>,
}

/// One principal and its secret.
#[derive(Clone, PartialEq, Eq)]
struct Credential {
    principal: String,
    secret: String,
}

/// Why a credentials file was refused. Never quotes a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error(
        "credentials are not JSON of the form {{\"credentials\":[{{\"principal\":…,\"secret\":…}}]}}: {0}"
    )]
    Json(String),
    #[error("line {0} of the credentials is not of the form: principal secret")]
    Line(usize),
    #[error("a principal must not be empty nor contain a colon: {0:?}")]
    Principal(String),
    #[error("principal {0:?} is listed twice")]
    Twice(String),
}

#[derive(Deserialize)]
struct File {
    credentials: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    principal: String,
    #[serde(default)]
    secret: String,
}

impl Credentials {
    /// Reads the text of a credentials file: JSON, or lines of a principal, white space and its secret.
    ///
    /// # Errors
    /// Names what is wrong, without any secret.
    pub fn parse(text: &str) -> Result<Credentials, CredentialsError> {
        let known = if text.trim_start().starts_with('{') {
            // Of an error only the place is told: its words could quote what stands in the file.
            let file: File = serde_json::from_str(text).map_err(|error| {
                CredentialsError::Json(format!("line {}, column {}", error.line(), error.column()))
            })?;
            let entry = |entry: Entry| Credential { principal: entry.principal, secret: entry.secret };
            file.credentials.into_iter().map(entry).collect()
        } else {
            lines(text)?
        };
        let mut seen = std::collections::BTreeSet::new();
        for Credential { principal, .. } in &known {
            // A colon ends the name in the header, so such a principal could never come in.
            if principal.is_empty() || principal.contains(':') {
                return Err(CredentialsError::Principal(principal.clone()));
            }
            if !seen.insert(principal) {
                return Err(CredentialsError::Twice(principal.clone()));
            }
        }
        Ok(Credentials { known })
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The principal that this `Authorization` header proves. How long the answer takes tells nothing about how much of a
    /// secret was right, nor about which principals there are.
    pub fn principal(&self, authorization: Option<&str>) -> Option<&str> {
        let shown = pair(authorization?)?;
        let (principal, secret) = shown.split_once(':')?;
        let mut found = None;
        for credential in &self.known {
            let same = same(principal, &credential.principal) & same(secret, &credential.secret);
            if black_box(same) {
                found = Some(credential.principal.as_str());
            }
        }
        found
    }
}

/// The `Authorization` header that shows this pair.
pub fn authorization(principal: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{principal}:{secret}")))
}

fn lines(text: &str) -> Result<Vec<Credential>, CredentialsError> {
    let mut known = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (None, ..) => {}
            (Some(principal), Some(secret), None) => {
                known.push(Credential { principal: principal.to_owned(), secret: secret.to_owned() });
            }
            _ => return Err(CredentialsError::Line(number + 1)),
        }
    }
    Ok(known)
}

/// `principal:secret` of a header with the scheme Basic, which is written in any case.
fn pair(header: &str) -> Option<String> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()
}

/// Compares without stopping at the first difference; the time depends on the length of what was shown only.
fn same(shown: &str, known: &str) -> bool {
    let known = known.as_bytes();
    let mut different = shown.len() ^ known.len();
    for (at, byte) in shown.bytes().enumerate() {
        let other = known.get(at % known.len().max(1)).copied().unwrap_or_default();
        different |= usize::from(byte ^ other);
    }
    black_box(different) == 0
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} principals)", self.known.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str =
        r#"{"credentials": [{"principal": "alice", "secret": "s:1"}, {"principal": "bob", "secret": "t"}]}"#;

    #[test]
    fn both_forms_of_the_file_are_read() {
        let json = Credentials::parse(JSON).unwrap();
        assert_eq!(json, Credentials::parse("alice s:1\n\n  bob\tt  \n").unwrap());
        assert!(Credentials::parse("").unwrap().is_empty());
        assert!(!format!("{json:?}").contains("s:1"));
    }

    #[test]
    fn mistakes_are_named_without_the_secret() {
        for (text, expected) in [
            ("alice", CredentialsError::Line(1)),
            ("alice a\nbob b c", CredentialsError::Line(2)),
            ("alice a\nalice b", CredentialsError::Twice("alice".into())),
            ("a:b c", CredentialsError::Principal("a:b".into())),
            (
                r#"{"credentials":[{"principal":"","secret":"x"}]}"#,
                CredentialsError::Principal(String::new()),
            ),
        ] {
            assert_eq!(Credentials::parse(text), Err(expected), "{text}");
        }
        let error = Credentials::parse(r#"{"credentials":[{"principal":"a","secret":7777}]}"#).unwrap_err();
        assert!(matches!(error, CredentialsError::Json(_)) && !error.to_string().contains("7777"), "{error}");
    }

    #[test]
    fn only_the_exact_pair_is_taken() {
        let credentials = Credentials::parse(JSON).unwrap();
        let shown = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(credentials.principal(Some(&authorization("alice", "s:1"))), Some("alice"));
        assert_eq!(credentials.principal(Some(&shown("bob:t").replace("Basic", "bAsIc "))), Some("bob"));
        for wrong in
            ["alice:s:2", "alice:s:", "alice:s:1s:1", "alice:", "alice", "bob:s:1", ":", "carol:t", ""]
        {
            assert_eq!(credentials.principal(Some(&shown(wrong))), None, "{wrong}");
        }
        for wrong in ["", "Basic", "Basic ", "Basic !!!", "Bearer YWxpY2U6czox", "YWxpY2U6czox"] {
            assert_eq!(credentials.principal(Some(wrong)), None, "{wrong}");
        }
        assert_eq!(credentials.principal(None), None);
        assert_eq!(Credentials::default().principal(Some(&shown(":"))), None);
    }
}
