//! How a reader wants to be answered: packed, proven to be current, only if something changed.
//!
//! Owns the words for it in the request. What they cost is the business of those who answer.

use axum::extract::Request;
use hyper::Method;
use hyper::header::IF_NONE_MATCH;
use tepui_proto::plain::pairs;

use crate::http::gzip;

/// See the module head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) gzip: bool,
    /// Nothing that was acknowledged before the request may be missing.
    pub(crate) consistent: bool,
    /// The tags of what the reader has.
    known: Vec<String>,
    /// Whether an answer can be left out for its tag: only where nothing is posted.
    tagged: bool,
}

impl Terms {
    pub(crate) fn of(request: &Request) -> Terms {
        let query = request.uri().query().unwrap_or_default();
        let tags = request.headers().get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let tags = tags.flat_map(|list| list.split(',')).map(|tag| weak(tag.trim()).to_owned());
        Terms {
            gzip: gzip::wanted(request.headers()),
            consistent: pairs(query).any(|(name, value)| name == "consistent" && value == "true"),
            known: tags.collect(),
            tagged: matches!(*request.method(), Method::GET | Method::HEAD),
        }
    }

    /// Whether answers have a tag.
    pub(crate) fn tagged(&self) -> bool {
        self.tagged
    }

    /// Whether the reader has what this tag stands for.
    pub(crate) fn knows(&self, tag: &str) -> bool {
        self.tagged && self.known.iter().any(|known| known == "*" || known == weak(tag))
    }
}

/// Tags are compared without their mark of weakness (RFC 9110, 8.8.3.2).
fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn terms(method: Method, uri: &str, tags: &[&str]) -> Terms {
        let mut request = Request::builder().method(method).uri(uri);
        for tag in tags {
            request = request.header(IF_NONE_MATCH, *tag);
        }
        Terms::of(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn tags_are_compared_weakly_and_only_for_reads() {
        assert!(terms(Method::GET, "/", &[r#""a", W/"b""#]).knows(r#"W/"b""#));
        assert!(terms(Method::GET, "/", &[r#""a""#, r#""b""#]).knows(r#"W/"b""#));
        assert!(terms(Method::GET, "/", &["*"]).knows(r#"W/"b""#));
        assert!(!terms(Method::GET, "/", &[r#""bb""#]).knows(r#"W/"b""#));
        assert!(!terms(Method::GET, "/", &[]).knows(r#"W/"b""#));
        assert!(!terms(Method::POST, "/", &["*"]).knows(r#"W/"b""#));
    }

    #[test]
    fn only_the_very_word_asks_for_a_proof() {
        assert!(terms(Method::GET, "/state?a=b&consistent=true", &[]).consistent);
        for uri in ["/state", "/state?consistent", "/state?consistent=false", "/state?inconsistent=true"] {
            assert!(!terms(Method::GET, uri, &[]).consistent, "{uri}");
        }
    }
}
