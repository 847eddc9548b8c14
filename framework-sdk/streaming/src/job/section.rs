//! One table of a TOML document, read key by key. Every problem is recorded under its full key; keys that nobody asked for
//! are reported at the end.

use std::time::Duration;

use toml::{Table, Value};

use super::error::Problem;
use super::units;

/// A table being read, and the problems found below it.
pub(super) struct Section<'a> {
    path: String,
    table: Table,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: Table, problems: &'a mut Vec<Problem>) -> Self {
        Self { path: String::new(), table, problems }
    }

    /// The full path of `key`.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let key = if key.is_empty() { self.path.clone() } else { self.key(key) };
        self.problems.push(Problem { key, message: message.into() });
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reads the sub-table `key`; an absent one reads as empty, so that its required keys are named.
    pub(super) fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let table = match self.table.remove(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.problem(key, format!("expected a table, found {}", other.type_str()));
                Table::new()
            }
        };
        let mut section = Section { path: self.key(key), table, problems: self.problems };
        let result = read(&mut section);
        section.finish();
        result
    }

    /// Reads an array of tables; absent reads as empty.
    pub(super) fn sections<T>(
        &mut self,
        key: &str,
        limit: usize,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let items = match self.table.remove(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.problem(key, format!("expected an array of tables, found {}", other.type_str()));
                Vec::new()
            }
        };
        if items.len() > limit {
            self.problem(key, format!("{} entries, at most {limit} are allowed", items.len()));
        }
        let mut results = Vec::new();
        for (index, item) in items.into_iter().take(limit).enumerate() {
            let path = format!("{}[{index}]", self.key(key));
            let Value::Table(table) = item else {
                let message = format!("expected a table, found {}", item.type_str());
                self.problems.push(Problem { key: path, message });
                continue;
            };
            let mut section = Section { path, table, problems: self.problems };
            results.push(read(&mut section));
            section.finish();
        }
        results
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text),
            other => {
                self.problem(key, format!("expected a string, found {}", other.type_str()));
                None
            }
        }
    }

    /// Reads a text that must be present and not empty; the empty text stands in for a problem.
    pub(super) fn text(&mut self, key: &str) -> String {
        let present = self.has(key);
        match self.optional_text(key) {
            Some(text) if !text.is_empty() => return text,
            Some(_) => self.problem(key, "must not be empty"),
            None if !present => self.problem(key, "missing"),
            None => {}
        }
        String::new()
    }

    /// Reads one of `choices`; absent means `default`, or a problem without one.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], default: Option<T>) -> T {
        let fallback = default.unwrap_or(choices[0].1);
        if !self.has(key) {
            if default.is_none() {
                self.problem(key, format!("missing, expected {}", one_of(choices)));
            }
            return fallback;
        }
        let Some(text) = self.optional_text(key) else { return fallback };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => *value,
            None => {
                self.problem(key, format!("unknown value `{text}`, expected {}", one_of(choices)));
                fallback
            }
        }
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        match self.table.remove(key) {
            None => default,
            Some(Value::Boolean(value)) => value,
            Some(other) => {
                self.problem(key, format!("expected true or false, found {}", other.type_str()));
                default
            }
        }
    }

    pub(super) fn integer(&mut self, key: &str, default: u64, min: u64, max: u64) -> u64 {
        let value = match self.table.remove(key) {
            None => return default,
            Some(Value::Integer(value)) => u64::try_from(value).ok(),
            Some(other) => {
                self.problem(key, format!("expected an integer, found {}", other.type_str()));
                return default;
            }
        };
        match value {
            Some(value) if (min..=max).contains(&value) => value,
            _ => {
                self.problem(key, format!("must be between {min} and {max}"));
                default
            }
        }
    }

    pub(super) fn number(&mut self, key: &str, default: f64, min: f64, max: f64) -> f64 {
        let value = match self.table.remove(key) {
            None => return default,
            #[expect(clippy::cast_precision_loss, reason = "the accepted range is far below 2^53")]
            Some(Value::Integer(value)) => value as f64,
            Some(Value::Float(value)) => value,
            Some(other) => {
                self.problem(key, format!("expected a number, found {}", other.type_str()));
                return default;
            }
        };
        if value >= min && value <= max {
            return value;
        }
        self.problem(key, format!("must be between {min} and {max}"));
        default
    }

    /// Reads a size in bytes: an integer, or a text such as `8MiB`.
    pub(super) fn bytes(&mut self, key: &str, default: u64, min: u64, max: u64) -> u64 {
        if let Some(Value::String(text)) = self.table.get(key) {
            let parsed = units::parse_bytes(text);
            self.table.remove(key);
            return match parsed {
                Some(value) if (min..=max).contains(&value) => value,
                Some(_) => {
                    self.problem(key, format!("must be between {min} and {max} bytes"));
                    default
                }
                None => {
                    self.problem(key, "expected a size such as 65536, \"64KiB\" or \"8MiB\"");
                    default
                }
            };
        }
        self.integer(key, default, min, max)
    }

    /// Reads a text such as `500ms`, `10s`, `1h` or `1d`; `None` if absent or wrong.
    pub(super) fn duration(&mut self, key: &str, min: Duration, max: Duration) -> Option<Duration> {
        let text = self.optional_text(key)?;
        match units::parse_duration(&text) {
            None => {
                self.problem(key, "expected a duration such as \"500ms\", \"10s\", \"5m\", \"1h\" or \"1d\"")
            }
            Some(value) if value < min || value > max => {
                self.problem(key, format!("must be between {min:?} and {max:?}"));
            }
            Some(value) => return Some(value),
        }
        None
    }

    pub(super) fn texts(&mut self, key: &str, limit: usize) -> Option<Vec<String>> {
        let items = match self.table.remove(key)? {
            Value::Array(items) => items,
            other => {
                self.problem(key, format!("expected an array of strings, found {}", other.type_str()));
                return None;
            }
        };
        if items.len() > limit {
            self.problem(key, format!("{} entries, at most {limit} are allowed", items.len()));
        }
        let mut texts = Vec::new();
        for (index, item) in items.into_iter().take(limit).enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => {
                    let message = format!("expected a string, found {}", other.type_str());
                    self.problem(&format!("{key}[{index}]"), message);
                }
            }
        }
        Some(texts)
    }

    /// Reports the keys that nobody read.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let key = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            self.problems.push(Problem { key, message: "unknown key".to_owned() });
        }
    }
}

fn one_of<T>(choices: &[(&str, T)]) -> String {
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
    if names.len() == 1 { names.join("") } else { format!("one of {}", names.join(", ")) }
}
