//! What commands print: tables for people, JSON for programs.

mod json;
mod table;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub use table::Table;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// JSON for programs.
    Json,
}

/// Prints an answer in the wanted form.
///
/// # Errors
/// When standard output cannot be written.
pub fn print<T: Serialize>(format: Format, value: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    match format {
        Format::Table => put(&text()),
        Format::Json => put(&json::pretty(value)?),
    }
}

/// Prints text, with an error instead of a panic when nobody reads it.
///
/// # Errors
/// When standard output cannot be written.
pub fn put(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Tells people something beside the output proper.
pub(crate) fn note(text: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether the user wants no colour anywhere (no-color.org).
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether standard output may be coloured.
pub(crate) fn is_colored() -> bool {
    io::stdout().is_terminal() && !no_color()
}

/// Writes a quantity with at most three decimals and no idle zeros.
pub(crate) fn quantity(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes megabytes in the largest unit that keeps the number readable.
pub(crate) fn megabytes(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1024.0 * 1024.0 => (value / 1024.0 / 1024.0, "TiB"),
        value if value >= 1024.0 => (value / 1024.0, "GiB"),
        value => (value, "MiB"),
    };
    let text = format!("{value:.1}");
    format!("{} {unit}", text.trim_end_matches(".0"))
}

/// Writes milliseconds for people.
pub(crate) fn milliseconds(value: u64) -> String {
    match value {
        0..=999 => format!("{value} ms"),
        1_000..=59_999 => format!("{} s", quantity((value / 100) as f64 / 10.0)),
        60_000..=3_599_999 => format!("{} min {} s", value / 60_000, value / 1_000 % 60),
        _ => format!("{} h {} min", value / 3_600_000, value / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short_and_exact() {
        assert_eq!([0.0, 0.1, 2.0, 1.2345, 100.0].map(quantity), ["0", "0.1", "2", "1.234", "100"]);
        assert_eq!([32.0, 1024.0, 1536.0, 1048576.0].map(megabytes), ["32 MiB", "1 GiB", "1.5 GiB", "1 TiB"]);
        assert_eq!(
            [0, 999, 1_500, 61_000, 3_660_000].map(milliseconds),
            ["0 ms", "999 ms", "1.5 s", "1 min 1 s", "1 h 1 min"]
        );
    }
}
