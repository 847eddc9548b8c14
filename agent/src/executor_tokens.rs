//! The tokens by which executors prove who they are: JSON web tokens (RFC 7519) that name a framework, an executor and a container,
//! signed with HMAC-SHA-256. Owns their form, the reading of the key and the check of a signature. Whether a token is asked for, and
//! what a wrong one costs, is decided elsewhere.
//!
//! Nothing has to be kept to check a token but the key, so those of running executors outlive the agent.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::Error;

const ALGORITHM: &str = "HS256";
const KIND: &str = "JWT";
/// RFC 7518 asks for a key at least as long as the digest. Shorter ones are taken, as Mesos does, but not in silence.
const KEY_BYTES_ADVISED: usize = 32;

/// Signs tokens and checks them.
#[derive(Clone)]
pub(crate) struct Tokens {
    key: hmac::Key,
}

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Framework, executor and container, under the names that Mesos gave them.
    pub(crate) fid: Option<String>,
    pub(crate) eid: Option<String>,
    pub(crate) cid: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    /// Extensions that a reader must know; none is known here.
    #[serde(default, skip_serializing)]
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(flatten)]
    claims: Claims,
    /// Seconds since 1970. Ours have none; others may sign with the same key.
    #[serde(default)]
    exp: Option<f64>,
}

impl Claims {
    pub(crate) fn new(framework_id: &str, executor_id: &str, container_id: &str) -> Self {
        let [fid, eid, cid] = [framework_id, executor_id, container_id].map(|id| Some(id.to_owned()));
        Self { fid, eid, cid }
    }
}

impl Tokens {
    /// Reads the key: the bytes of the file as they are. The path may be written as `file://` and an absolute path.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let plain = path.to_str().and_then(|text| text.strip_prefix("file://")).map_or(path, Path::new);
        let key = fs::read(plain).map_err(Error::file("read", plain))?;
        if key.is_empty() {
            return Err(Error::Config(format!("jwt_secret_key: {} is empty", plain.display())));
        }
        if key.len() < KEY_BYTES_ADVISED {
            tracing::warn!(path = %plain.display(), bytes = key.len(), "the key of executors' tokens is short; {KEY_BYTES_ADVISED} bytes are advised");
        }
        let mode = fs::metadata(plain).map_err(Error::file("look at", plain))?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %plain.display(), "others than its owner can use the key of executors' tokens");
        }
        Ok(Self::new(&key))
    }

    fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// Returns a token that is good for as long as the container lasts.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let header = Header { alg: ALGORITHM.to_owned(), typ: Some(KIND.to_owned()), crit: None };
        let parts = [serde_json::to_vec(&header), serde_json::to_vec(claims)];
        // Texts under fixed names can always be written.
        let [header, payload] = parts.map(|part| URL_SAFE_NO_PAD.encode(part.unwrap_or_default()));
        let signed = format!("{header}.{payload}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Returns what a token claims if it was signed with the key and has not expired by `now_s`, in seconds since 1970.
    ///
    /// # Errors
    /// What is wrong, without a part of the token.
    pub(crate) fn check(&self, token: &str, now_s: f64) -> Result<Claims, &'static str> {
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part is not base64url");
        let (signed, signature) = token.rsplit_once('.').ok_or("expecting three parts")?;
        let (header, payload) = signed.split_once('.').ok_or("expecting three parts")?;
        // First of all, so that nothing of a stranger is looked into.
        hmac::verify(&self.key, signed.as_bytes(), &decode(signature)?).map_err(|_| "wrong signature")?;
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| "the header is not understood")?;
        if header.alg != ALGORITHM || header.typ.is_some_and(|kind| kind != KIND) || header.crit.is_some() {
            return Err("expecting a JWT with HS256 and no extensions");
        }
        let payload: Payload =
            serde_json::from_slice(&decode(payload)?).map_err(|_| "the claims are not understood")?;
        if payload.exp.is_some_and(|end| end <= now_s) {
            return Err("it has expired");
        }
        Ok(payload.claims)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tokens(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn signed(header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
    }

    /// The example of RFC 7515, appendix A.1: a token of somebody else's making, with its key.
    #[test]
    fn a_token_that_others_signed_is_read() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let tokens = Tokens::new(&key);
        let nobody = Claims { fid: None, eid: None, cid: None };
        assert_eq!(tokens.check(token, 1_300_819_379.0), Ok(nobody));
        assert_eq!(tokens.check(token, 1_300_819_380.0), Err("it has expired"));
        assert_eq!(Tokens::new(KEY).check(token, 0.0), Err("wrong signature"));
    }

    #[test]
    fn what_was_signed_is_read_and_what_was_changed_is_not() {
        let tokens = Tokens::new(KEY);
        let claims = Claims::new("f", "e\"\u{fc}", "c");
        let token = tokens.sign(&claims);
        assert_eq!(tokens.check(&token, 2e9), Ok(claims));
        assert_eq!(Tokens::new(b"another").check(&token, 0.0), Err("wrong signature"));
        // No byte can be changed, left out or added.
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(tokens.check(std::str::from_utf8(&bytes).unwrap(), 0.0).is_err(), "byte {at}");
            assert!(tokens.check(&token[..at], 0.0).is_err(), "{at} bytes");
        }
        for added in ["x", "=", ".", "\0"] {
            assert!(tokens.check(&format!("{token}{added}"), 0.0).is_err(), "{added:?}");
        }
    }

    #[test]
    fn a_good_signature_is_not_enough() {
        let check = |header: &str, payload: &str| Tokens::new(KEY).check(&signed(header, payload), 100.0);
        let plain = r#"{"alg":"HS256","typ":"JWT"}"#;
        assert_eq!(
            check(plain, r#"{"fid":"f","eid":"e","cid":"c","exp":101,"sub":1}"#),
            Ok(Claims::new("f", "e", "c"))
        );
        assert!(check(r#"{"alg":"HS256"}"#, "{}").is_ok());
        for (header, payload) in [
            (r#"{"alg":"none","typ":"JWT"}"#, "{}"),
            (r#"{"alg":"RS256","typ":"JWT"}"#, "{}"),
            (r#"{"alg":"HS256","typ":"JWE"}"#, "{}"),
            (r#"{"alg":"HS256","typ":"JWT","crit":["x"]}"#, "{}"),
            (r#"{"typ":"JWT"}"#, "{}"),
            ("garbage", "{}"),
            (plain, "garbage"),
            (plain, "[]"),
            (plain, r#"{"fid":7}"#),
            (plain, r#"{"exp":"never"}"#),
            (plain, r#"{"exp":99.5}"#),
            (plain, &"[".repeat(10_000)),
        ] {
            assert!(check(header, payload).is_err(), "{header} {payload:.40}");
        }
    }

    #[test]
    fn the_key_is_the_bytes_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(Tokens::read(&path), Err(Error::File { .. })));
        fs::write(&path, "").unwrap();
        assert!(matches!(Tokens::read(&path), Err(Error::Config(reason)) if reason.contains("empty")));
        fs::write(&path, [KEY, b"\n"].concat()).unwrap();
        let token = Tokens::new(&[KEY, b"\n"].concat()).sign(&Claims::new("f", "e", "c"));
        let url = format!("file://{}", path.display());
        for path in [&path, Path::new(&url)] {
            assert!(Tokens::read(path).unwrap().check(&token, 0.0).is_ok(), "{}", path.display());
        }
        assert!(!format!("{:?}", Tokens::read(&path).unwrap()).contains("0123"));
    }
}
