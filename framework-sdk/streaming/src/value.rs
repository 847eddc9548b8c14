//! The values that flow through a pipeline: a closed set of exact types.
//!
//! Owns parsing a field of text into a [`Value`] and writing it back. Refuses floating point: a sum of floats depends on
//! the order of its addends, and a batch that is redone on other executors has to give the same bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time;

/// Digits after the point that a decimal keeps.
pub(crate) const DECIMAL_DIGITS: u32 = 6;
const DECIMAL_ONE: i128 = 1_000_000;
/// Largest magnitude of a decimal's whole part: leaves room for summing 2^60 of them in an `i128`.
const DECIMAL_WHOLE_LIMIT: i128 = 1_000_000_000_000;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    Text,
    Int,
    Decimal,
    Bool,
    /// Milliseconds since 1970, UTC; written as RFC 3339.
    Time,
}

impl Type {
    /// All names that a job description may use.
    pub const NAMES: [&'static str; 5] = ["text", "int", "decimal", "bool", "time"];

    /// Returns the type that a job description calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "int" => Self::Int,
            "decimal" => Self::Decimal,
            "bool" => Self::Bool,
            "time" => Self::Time,
            _ => return None,
        })
    }

    /// Parses one field; `None` if the text is no value of this type.
    pub(crate) fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::Int => text.trim().parse().ok().map(Value::Int),
            Self::Decimal => parse_decimal(text.trim()).map(Value::Decimal),
            Self::Bool => match text.trim() {
                "true" | "TRUE" | "True" | "1" => Some(Value::Bool(true)),
                "false" | "FALSE" | "False" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Time => time::parse_rfc3339_ms(text.trim()).map(Value::Time),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Bool => "bool",
            Self::Time => "time",
        })
    }
}

/// One value. The order (absent values first) is the order of rows in output files and state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// In millionths.
    Decimal(i128),
    /// Milliseconds since 1970, UTC.
    Time(i64),
    Text(String),
}

impl Value {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Appends the text form; nothing for an absent value.
    pub(crate) fn write_text(&self, out: &mut String) {
        use fmt::Write as _;
        match self {
            Self::Null => {}
            Self::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
            // Writing to a String cannot fail.
            Self::Int(v) => {
                let _ = write!(out, "{v}");
            }
            Self::Decimal(v) => write_decimal(*v, out),
            Self::Time(v) => out.push_str(&time::format_rfc3339_ms(*v)),
            Self::Text(v) => out.push_str(v),
        }
    }

    /// Converts to `to`, by way of the text form where no direct conversion exists; `None` if the value does not fit.
    pub(crate) fn cast(&self, to: Type) -> Option<Self> {
        Some(match (self, to) {
            (Self::Null, _) => Self::Null,
            (Self::Bool(v), Type::Bool) => Self::Bool(*v),
            (Self::Int(v), Type::Int) => Self::Int(*v),
            (Self::Int(v), Type::Decimal) => {
                let whole = i128::from(*v);
                if whole.abs() >= DECIMAL_WHOLE_LIMIT {
                    return None;
                }
                Self::Decimal(whole * DECIMAL_ONE)
            }
            (Self::Int(v), Type::Time) => Self::Time(*v),
            (Self::Decimal(v), Type::Decimal) => Self::Decimal(*v),
            (Self::Decimal(v), Type::Int) if v % DECIMAL_ONE == 0 => {
                Self::Int(i64::try_from(v / DECIMAL_ONE).ok()?)
            }
            (Self::Decimal(_), Type::Int) => return None,
            (Self::Time(v), Type::Time) => Self::Time(*v),
            (Self::Time(v), Type::Int) => Self::Int(*v),
            (other, to) => {
                let mut text = String::new();
                other.write_text(&mut text);
                return to.parse(&text);
            }
        })
    }
}

/// Parses a decimal with at most [`DECIMAL_DIGITS`] digits after the point, into millionths.
pub(crate) fn parse_decimal(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty())
        || !all_digits(whole)
        || !all_digits(fraction)
        || fraction.len() > DECIMAL_DIGITS as usize
    {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    if whole >= DECIMAL_WHOLE_LIMIT {
        return None;
    }
    let mut millionths = 0;
    for index in 0..DECIMAL_DIGITS as usize {
        let digit = fraction.as_bytes().get(index).map_or(0, |b| i128::from(b - b'0'));
        millionths = millionths * 10 + digit;
    }
    let value = whole * DECIMAL_ONE + millionths;
    Some(if negative { -value } else { value })
}

fn write_decimal(value: i128, out: &mut String) {
    use fmt::Write as _;
    if value < 0 {
        out.push('-');
    }
    let magnitude = value.unsigned_abs();
    let one = DECIMAL_ONE.unsigned_abs();
    let _ = write!(out, "{}", magnitude / one);
    let mut fraction = magnitude % one;
    if fraction != 0 {
        let mut width = DECIMAL_DIGITS as usize;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        let _ = write!(out, ".{fraction:0width$}");
    }
}

/// Returns `sum / count` in millionths, where `sum` is in units of `1 / scale`; halves go away from zero.
pub(crate) fn average_millionths(sum: i128, scale: i128, count: u64) -> Option<i128> {
    let divisor = i128::from(count).checked_mul(scale)?;
    if divisor == 0 {
        return None;
    }
    let scaled = sum.checked_mul(DECIMAL_ONE)?;
    let quotient = scaled / divisor;
    let remainder = (scaled % divisor).unsigned_abs();
    let away = i128::from(remainder * 2 >= divisor.unsigned_abs());
    Some(if scaled < 0 { quotient - away } else { quotient + away })
}

/// What one unit of a column's integer representation is worth: decimals are in millionths.
pub(crate) fn scale_of(kind: Type) -> i128 {
    if kind == Type::Decimal { DECIMAL_ONE } else { 1 }
}

/// A named, typed column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Type,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(value: &Value) -> String {
        let mut out = String::new();
        value.write_text(&mut out);
        out
    }

    #[test]
    fn decimals_keep_six_digits_and_refuse_more() {
        for (text, value, back) in [
            ("0", 0, "0"),
            ("-0.5", -500_000, "-0.5"),
            ("12.345678", 12_345_678, "12.345678"),
            (".25", 250_000, "0.25"),
            ("+7.", 7_000_000, "7"),
            ("1.000001", 1_000_001, "1.000001"),
        ] {
            assert_eq!(parse_decimal(text), Some(value), "{text}");
            assert_eq!(text_of(&Value::Decimal(value)), back);
        }
        for text in ["", ".", "-", "1.2345678", "1e3", "NaN", "1 2", "--1", "1000000000000"] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn averages_round_half_away_from_zero() {
        assert_eq!(average_millionths(1, 1, 3), Some(333_333));
        assert_eq!(average_millionths(2, 1, 3), Some(666_667));
        assert_eq!(average_millionths(-2, 1, 3), Some(-666_667));
        assert_eq!(average_millionths(1, 1, 2_000_000), Some(1));
        assert_eq!(average_millionths(-1, 1, 2_000_000), Some(-1));
        assert_eq!(average_millionths(5, 1, 0), None);
    }

    #[test]
    fn casts_refuse_what_does_not_fit() {
        assert_eq!(Value::Text("17".into()).cast(Type::Int), Some(Value::Int(17)));
        assert_eq!(Value::Text("x".into()).cast(Type::Int), None);
        assert_eq!(Value::Decimal(1_500_000).cast(Type::Int), None);
        assert_eq!(Value::Int(3).cast(Type::Decimal), Some(Value::Decimal(3_000_000)));
        assert_eq!(Value::Int(i64::MAX).cast(Type::Decimal), None);
        assert_eq!(Value::Null.cast(Type::Time), Some(Value::Null));
        assert_eq!(Value::Int(0).cast(Type::Text), Some(Value::Text("0".into())));
    }

    proptest! {
        #[test]
        fn decimal_text_round_trips(value in -999_999_999_999_999_999i128..999_999_999_999_999_999) {
            prop_assert_eq!(parse_decimal(&text_of(&Value::Decimal(value))), Some(value));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,30}") {
            for name in Type::NAMES {
                let kind = Type::from_name(name).expect("listed");
                let _ = kind.parse(&text);
            }
        }
    }
}
