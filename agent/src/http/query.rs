//! The query part of a request. Owns what may be missing and what must be a number; the first of several pairs of one name counts.

use tepui_proto::plain;

use super::error::Refusal;

pub(super) struct Query {
    pairs: Vec<(String, String)>,
    /// The function that an old page wants around its answer.
    pub(super) callback: Option<String>,
}

impl Query {
    pub(super) fn new(text: Option<&str>) -> Self {
        let pairs = plain::pairs(text.unwrap_or_default());
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Self { pairs, callback: plain::callback(text) }
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
    plain::decoded(&path.replace('+', "%2B")).into_owned()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn numbers_and_what_must_be_there_are_checked() {
        let query = Query::new(Some("path=%2Fa%20b+c&offset=-1&length=x&&flag"));
        assert_eq!(query.get("path"), Some("/a b c"));
        assert_eq!(query.number::<i64>("offset").unwrap(), Some(-1));
        assert!(query.number::<u64>("offset").is_err());
        assert!(query.number::<u64>("length").is_err());
        assert_eq!(query.number::<u64>("none").unwrap(), None);
        assert_eq!(query.get("flag"), Some(""));
        assert!(query.required("flag").is_err());
        assert_eq!(decoded_path("/slave%281%29/a+b"), "/slave(1)/a+b");
    }
}
