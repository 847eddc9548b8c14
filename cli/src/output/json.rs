//! JSON for programs: indented, one document per answer.

use anyhow::Context;
use serde::Serialize;

/// Writes a value as an indented document.
pub(super) fn pretty<T: Serialize>(value: &T) -> anyhow::Result<String> {
    serde_json::to_string_pretty(value).context("write JSON")
}
