//! JSON output without a single byte above 127.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Compact JSON that escapes everything outside ASCII as `\uXXXX`, in surrogate pairs where needed.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(start) = rest.bytes().position(|byte| !byte.is_ascii()) {
            let (plain, tail) = rest.split_at(start);
            writer.write_all(plain.as_bytes())?;
            let end = tail.bytes().position(|byte| byte.is_ascii()).unwrap_or(tail.len());
            let (foreign, tail) = tail.split_at(end);
            for unit in foreign.encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = tail;
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Writes any value as one line of ASCII JSON.
///
/// # Errors
/// The value has no JSON form; the messages of this crate always have one.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(256);
    to_writer(&mut out, value)?;
    Ok(out)
}

/// The same into a writer, piece by piece as the value is walked; many small pieces, so the writer should collect them.
///
/// # Errors
/// Those of the writer, and a value that has no JSON form.
pub fn to_writer<W: Write, T: Serialize + ?Sized>(out: W, value: &T) -> Result<(), serde_json::Error> {
    value.serialize(&mut Serializer::with_formatter(out, Ascii))
}

/// Like [`to_vec`], as text.
///
/// # Errors
/// The value has no JSON form; the messages of this crate always have one.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    to_vec(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes() {
        let cases = [
            ("plain", r#""plain""#),
            ("ü", r#""\u00fc""#),
            ("a😀b\"\n", r#""a\ud83d\ude00b\"\n""#),
            ("日本x語", r#""\u65e5\u672cx\u8a9e""#),
            ("\u{1}", r#""\u0001""#),
        ];
        for (text, expected) in cases {
            assert_eq!(to_string(text).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn output_is_ascii_on_one_line_and_means_the_same(text in any::<String>()) {
            let json = to_string(&text).unwrap();
            prop_assert!(json.is_ascii() && !json.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
