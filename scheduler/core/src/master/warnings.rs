//! What a taken call asked for in vain: said in the `Tepui-Warning` header of its 202.
//!
//! Mesos answers 202 and ignores in silence what it cannot use. The status stays, for existing clients; the reason is added. Owns
//! how many reasons are given and how long they may be; what is worth one, the file of each call decides.

use super::core::Master;
use super::effect::Reply;

/// Reasons of one call that are spelled out.
const MAX_REASONS: usize = 4;
/// Longest reason, in characters: some contain what the caller sent.
const MAX_CHARACTERS: usize = 400;

/// The reasons of the call in hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Warnings {
    reasons: Vec<String>,
    more: usize,
}

impl Warnings {
    fn add(&mut self, reason: String) {
        if self.reasons.contains(&reason) {
            return;
        }
        if self.reasons.len() == MAX_REASONS {
            self.more += 1;
            return;
        }
        let mut reason = reason;
        if let Some((end, _)) = reason.char_indices().nth(MAX_CHARACTERS) {
            reason.truncate(end);
            reason.push_str("...");
        }
        self.reasons.push(reason);
    }

    fn text(self) -> Option<String> {
        let mut text = self.reasons.join("; ");
        if self.more > 0 {
            text.push_str(&format!("; and {} more", self.more));
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Master {
    /// Notes that a part of the call in hand has no effect: names the field and says why.
    pub(super) fn warn(&mut self, reason: impl Into<String>) {
        self.warnings.add(reason.into());
    }

    /// The 202 of the call that was just carried out.
    pub(super) fn accepted(&mut self) -> Reply {
        std::mem::take(&mut self.warnings).text().map_or(Reply::Accepted, Reply::Warned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_few_short_and_given_once() {
        let mut warnings = Warnings::default();
        assert_eq!(warnings.clone().text(), None);
        for reason in ["a", "a", "b"] {
            warnings.add(reason.to_owned());
        }
        assert_eq!(warnings.clone().text().as_deref(), Some("a; b"));
        warnings.add("\u{e9}".repeat(10_000));
        for number in 0..100 {
            warnings.add(number.to_string());
        }
        let text = warnings.text().unwrap();
        assert!(text.chars().count() < 600 && text.ends_with("...; 0; and 99 more"), "{text}");
    }
}
