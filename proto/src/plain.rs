//! What the plain endpoints have in common on masters and agents: queries and forms, the callback that old pages wrap answers in,
//! and whether an answer may be compressed.
//!
//! Pure text in, plain data out. Knows no endpoint and no status.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Answers with fewer bytes are never compressed: it would not pay.
pub const COMPRESSED_FROM_BYTES: usize = 1024;
/// Longest name of a callback.
const CALLBACK_BYTES: usize = 100;

/// The pairs of a query string, decoded. What cannot be decoded stands as it is.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// The first value under this name in a query string.
pub fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    pairs(query.unwrap_or_default()).find(|(known, _)| known == name).map(|(_, value)| value)
}

/// The function around which an answer is to be wrapped (`?jsonp=name`). Anything but a plain name would be a way to make the
/// browser of somebody else run a script, so it counts as absent.
pub fn callback(query: Option<&str>) -> Option<String> {
    let name = parameter(query, "jsonp")?;
    let fits = !name.is_empty() && name.len() <= CALLBACK_BYTES;
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || "_$".contains(first));
    let plain = name.chars().all(|one| one.is_ascii_alphanumeric() || "_.$".contains(one));
    (fits && starts && plain).then(|| name.into_owned())
}

/// Wraps a JSON text in a call of `callback`.
pub fn wrapped(callback: &str, json: &[u8]) -> Vec<u8> {
    let mut script = Vec::with_capacity(json.len() + callback.len() + 3);
    script.extend_from_slice(callback.as_bytes());
    script.push(b'(');
    script.extend_from_slice(json);
    script.extend_from_slice(b");");
    script
}

/// Whether this `Accept-Encoding` allows gzip. Absent allows nothing.
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let mut any = None;
    for item in accept_encoding.unwrap_or_default().split(',') {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let allowed = quality.is_none_or(|number| number.trim().parse::<f64>().is_ok_and(|it| it > 0.0));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return allowed;
        }
        if name == "*" {
            any = Some(allowed);
        }
    }
    any.unwrap_or(false)
}

/// The fields of a form in the body of a request (`name=value&…`, percent-encoded).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    fields: BTreeMap<String, String>,
}

/// A form that cannot be used: a bad request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the form is not UTF-8")]
    NotText,
    #[error("failed to decode {0:?}: a percent sign needs two hexadecimal digits")]
    Percent(String),
    #[error("missing '{0}' in the form")]
    Missing(&'static str),
}

impl Form {
    /// Reads a form; of two fields with one name the last counts.
    ///
    /// # Errors
    /// When it is not text, or not percent-encoded text.
    pub fn parse(body: &[u8]) -> Result<Form, FormError> {
        let text = std::str::from_utf8(body).map_err(|_| FormError::NotText)?;
        let mut fields = BTreeMap::new();
        for pair in text.trim_end_matches(['\r', '\n']).split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            fields.insert(strictly(name)?, strictly(value)?);
        }
        Ok(Form { fields })
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The value of a field that must be there.
    ///
    /// # Errors
    /// Names the field.
    pub fn require(&self, name: &'static str) -> Result<&str, FormError> {
        self.get(name).ok_or(FormError::Missing(name))
    }
}

fn strictly(text: &str) -> Result<String, FormError> {
    let bytes = percent_decoded(text).map_err(|()| FormError::Percent(text.to_owned()))?;
    String::from_utf8(bytes).map_err(|_| FormError::NotText)
}

/// Decodes percent signs and pluses; a text that cannot be decoded is returned as it is.
pub fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    match percent_decoded(text) {
        Ok(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        Err(()) => Cow::Borrowed(text),
    }
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, ()> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(out),
            [b'%', high, low, rest @ ..] => {
                out.push(hex(*high)? << 4 | hex(*low)?);
                rest
            }
            [b'%', ..] => return Err(()),
            [b'+', rest @ ..] => {
                out.push(b' ');
                rest
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        };
    }
}

fn hex(digit: u8) -> Result<u8, ()> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let found: Vec<_> = pairs("a=1&b=x%20y+z&c&d=%zz&e=%C3%A9&&f=%2").collect();
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        let expected = [("a", "1"), ("b", "x y z"), ("c", ""), ("d", "%zz"), ("e", "é"), ("f", "%2")];
        assert_eq!(found, expected);
        assert_eq!(parameter(Some("a=1&a=2"), "a").as_deref(), Some("1"));
        assert_eq!(parameter(None, "a"), None);
    }

    #[test]
    fn only_a_name_may_be_a_callback() {
        for (query, expected) in [
            ("jsonp=angular.callbacks._0", Some("angular.callbacks._0")),
            ("x=1&jsonp=$cb", Some("$cb")),
            ("jsonp=alert(1)//", None),
            ("jsonp=a%3Cb", None),
            ("jsonp=.a", None),
            ("jsonp=1a", None),
            ("jsonp=", None),
            ("", None),
        ] {
            assert_eq!(callback(Some(query)).as_deref(), expected, "{query}");
        }
        assert_eq!(callback(Some(&format!("jsonp={}", "a".repeat(101)))), None);
        assert_eq!(wrapped("f", b"{}"), b"f({});");
    }

    #[test]
    fn gzip_is_taken_only_where_it_is_allowed() {
        for (header, expected) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("deflate, GZIP;q=0.5"), true),
            (Some("gzip;q=0, *"), false),
            (Some("gzip; q=0.000"), false),
            (Some("gzip;q=no"), false),
            (Some("*;q=0.1"), true),
            (Some("*;q=0"), false),
            (Some("identity, deflate"), false),
        ] {
            assert_eq!(accepts_gzip(header), expected, "{header:?}");
        }
    }

    #[test]
    fn forms_are_decoded_or_refused() {
        let form = Form::parse(b"frameworkId=a%2Fb&empty=&again=1&again=2\r\n").unwrap();
        assert_eq!(form.require("frameworkId"), Ok("a/b"));
        assert_eq!((form.get("empty"), form.get("again"), form.get("no")), (Some(""), Some("2"), None));
        assert_eq!(form.require("no"), Err(FormError::Missing("no")));
        assert_eq!(Form::parse(b"a=%g1"), Err(FormError::Percent("%g1".into())));
        assert_eq!(Form::parse(b"a=%"), Err(FormError::Percent("%".into())));
        assert_eq!(Form::parse(b"a=%ff"), Err(FormError::NotText));
        assert_eq!(Form::parse(&[0xff]), Err(FormError::NotText));
        assert_eq!(Form::parse(b""), Ok(Form::default()));
    }
}
