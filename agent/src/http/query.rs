//! The query part of a request. Owns its decoding; the first of several pairs of one name counts.

use super::error::Refusal;

pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(super) fn new(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self { pairs: pairs.collect() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Refuses its absence.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Refusal::bad_request(format!("expecting '{name}' in the query")))
    }

    /// Refuses what is not a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| Refusal::bad_request(format!("'{name}' is not a number in range: {text}")))
    }
}

/// Returns a path without percent-encoding; a plus stands for itself there.
pub(super) fn decoded_path(path: &str) -> String {
    decoded(&path.replace('+', "%2B"))
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let hex = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_numbers_checked() {
        let query = Query::new(Some("path=%2Fa%20b+c&offset=-1&length=x&e=%zz%C3&&flag"));
        assert_eq!(query.get("path"), Some("/a b c"));
        assert_eq!(query.number::<i64>("offset").unwrap(), Some(-1));
        assert!(query.number::<u64>("offset").is_err());
        assert!(query.number::<u64>("length").is_err());
        assert_eq!(query.number::<u64>("none").unwrap(), None);
        assert_eq!(query.get("flag"), Some(""));
        assert!(query.required("flag").is_err());
        assert!(query.get("e").unwrap().starts_with("%zz"));
        assert_eq!(decoded_path("/slave%281%29/a+b%2"), "/slave(1)/a+b%2");
    }
}
