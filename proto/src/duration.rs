//! Durations as Mesos writes them in flags and environment variables: `5secs`, `1.5hrs`, `2weeks`.

use std::time::Duration;

/// Units by name, in nanoseconds, smallest first.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("secs", 1_000_000_000),
    ("mins", 60_000_000_000),
    ("hrs", 3_600_000_000_000),
    ("days", 86_400_000_000_000),
    ("weeks", 604_800_000_000_000),
];

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number in front.
    #[error("'{0}' does not begin with a number")]
    Number(String),
    /// No unit, or one nobody knows.
    #[error("'{0}' has no unit; known are ns, us, ms, secs, mins, hrs, days and weeks")]
    Unit(String),
    /// Longer than 292 years, or negative where that makes no sense.
    #[error("'{0}' is out of range")]
    Range(String),
}

/// Reads a duration that is not negative.
///
/// # Errors
/// See [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let nanos = parse_nanos(text)?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| DurationError::Range(text.to_owned()))
}

/// Reads a duration in nanoseconds; it may be negative.
///
/// # Errors
/// See [`DurationError`].
pub fn parse_nanos(text: &str) -> Result<i64, DurationError> {
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(|| DurationError::Unit(text.to_owned()))?;
    let (number, unit) = trimmed.split_at(split);
    let (_, scale) =
        UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| DurationError::Unit(text.to_owned()))?;
    let number = number.trim();
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(*scale).ok_or_else(|| DurationError::Range(text.to_owned()));
    }
    let real: f64 = number.parse().map_err(|_| DurationError::Number(text.to_owned()))?;
    #[expect(clippy::cast_precision_loss, reason = "units are far below 2^53")]
    let nanos = (real * *scale as f64).round();
    #[expect(clippy::cast_possible_truncation, reason = "just checked")]
    if nanos.abs() < 9.2e18 { Ok(nanos as i64) } else { Err(DurationError::Range(text.to_owned())) }
}

/// Writes a duration with the largest unit that divides it: `90secs`, `15mins`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0ns".to_owned();
    }
    let fitting =
        UNITS.iter().rev().find(|(_, scale)| nanos.is_multiple_of(u128::from(scale.unsigned_abs())));
    let (name, scale) = fitting.unwrap_or(&UNITS[0]);
    format!("{}{name}", nanos / u128::from(scale.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let cases = [
            ("5secs", 5_000_000_000),
            ("10mins", 600_000_000_000),
            ("1.5hrs", 5_400_000_000_000),
            ("1weeks", 604_800_000_000_000),
            (" 250 ms ", 250_000_000),
            ("-1ns", -1),
            ("9007199254740993ns", 9_007_199_254_740_993),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_nanos(text), Ok(nanos), "{text}");
        }
        for bad in
            ["", "5", "secs", "5 parsecs", "1e300weeks", "nanns", "infsecs", "99999999weeks", "5 secs x"]
        {
            assert!(parse_nanos(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("-1secs"), Err(DurationError::Range("-1secs".to_owned())));
    }

    #[test]
    fn formatting_reads_back() {
        let cases =
            [(0, "0ns"), (1_500, "1500ms"), (5_000, "5secs"), (90_000, "90secs"), (900_000, "15mins")];
        for (millis, text) in cases {
            let duration = Duration::from_millis(millis);
            assert_eq!(format(duration), text);
            assert_eq!(parse(text), Ok(duration));
        }
        assert_eq!(format(Duration::from_hours(2)), "2hrs");
        assert_eq!(format(Duration::from_hours(24 * 14)), "2weeks");
    }
}
