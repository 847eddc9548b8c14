//! The two encodings of every message and how a client and a server agree on one.

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// `application/json`, in Mesos' mapping.
    Json,
    /// `application/x-protobuf`.
    Protobuf,
}

impl MediaType {
    /// Returns the exact header value; never with parameters, since some clients compare the whole text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// Reads a `Content-Type`. Parameters and any case are accepted; `None` means unsupported (415).
    #[must_use]
    pub fn from_content_type(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Protobuf].into_iter().find(|media| essence.eq_ignore_ascii_case(media.as_str()))
    }

    /// Chooses the encoding of an answer. No header means JSON; JSON wins when both will do; `None` means that neither
    /// will (406).
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Option<Self> {
        let Some(accept) = accept else { return Some(Self::Json) };
        if accept.trim().is_empty() {
            return Some(Self::Json);
        }
        [Self::Json, Self::Protobuf].into_iter().find(|media| is_acceptable(accept, media.as_str()))
    }

    /// Returns whether an `Accept` allows this type of content, which may be another than the two. No header allows any.
    #[must_use]
    pub fn accepts(accept: Option<&str>, name: &str) -> bool {
        accept.is_none_or(|accept| accept.trim().is_empty() || is_acceptable(accept, name))
    }
}

impl std::fmt::Display for MediaType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The most specific range that names the type decides; `q=0` refuses.
fn is_acceptable(accept: &str, wanted: &str) -> bool {
    let mut best: Option<(u8, bool)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specificity = if name.eq_ignore_ascii_case(wanted) {
            2
        } else if name.eq_ignore_ascii_case("application/*") {
            1
        } else if name == "*/*" || name == "*" {
            0
        } else {
            continue;
        };
        let allowed = !parts.any(is_zero_quality);
        best = match best {
            Some((known, _)) if known > specificity => best,
            Some((known, before)) if known == specificity => Some((known, before || allowed)),
            _ => Some((specificity, allowed)),
        };
    }
    best.is_some_and(|(_, allowed)| allowed)
}

fn is_zero_quality(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(key, value)| {
        key.trim().eq_ignore_ascii_case("q")
            && value.trim().parse::<f64>().is_ok_and(|quality| quality <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::MediaType::{Json, Protobuf};
    use super::*;

    #[test]
    fn content_types() {
        let cases = [
            ("application/json", Some(Json)),
            ("application/x-protobuf", Some(Protobuf)),
            ("Application/JSON; charset=utf-8", Some(Json)),
            (" application/x-protobuf ;a=b", Some(Protobuf)),
            ("application/jsonx", None),
            ("text/plain", None),
            ("", None),
            ("*/*", None),
        ];
        for (value, expected) in cases {
            assert_eq!(MediaType::from_content_type(value), expected, "{value}");
        }
    }

    #[test]
    fn negotiation() {
        let cases = [
            (None, Some(Json)),
            (Some(""), Some(Json)),
            (Some("application/json"), Some(Json)),
            (Some("application/x-protobuf"), Some(Protobuf)),
            (Some("application/x-protobuf, application/json"), Some(Json)),
            (Some("*/*"), Some(Json)),
            (Some("application/*"), Some(Json)),
            (Some("text/html, */*;q=0.1"), Some(Json)),
            (Some("application/json;q=0, */*"), Some(Protobuf)),
            (Some("application/json; q=0.0 , application/*"), Some(Protobuf)),
            (Some("application/*;q=0, application/x-protobuf"), Some(Protobuf)),
            (Some("APPLICATION/X-PROTOBUF;q=1"), Some(Protobuf)),
            (Some("text/html"), None),
            (Some("*/*;q=0"), None),
            (Some(";;,,=;q"), None),
        ];
        for (accept, expected) in cases {
            assert_eq!(MediaType::negotiate(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn other_types_can_be_asked_about() {
        let cases = [
            (None, true),
            (Some(" "), true),
            (Some("application/recordio"), true),
            (Some("application/json, Application/RecordIO;q=0.5"), true),
            (Some("*/*"), true),
            (Some("application/recordio;q=0, */*"), false),
            (Some("application/json"), false),
        ];
        for (accept, expected) in cases {
            assert_eq!(MediaType::accepts(accept, "application/recordio"), expected, "{accept:?}");
        }
    }
}
