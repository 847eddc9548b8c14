//! One codec per kind of value: what is accepted for it in JSON, and how it is written.

use std::fmt::Display;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error, MapAccess};
use serde::{Serialize, Serializer};

use super::{Enumeration, Message, read, write};

/// How one kind of value is read and written. Each reader may answer `None`: the value counts as absent.
pub(crate) trait Kind {
    type Value;
    const EXPECTED: &'static str;

    fn text<E: Error>(_text: &str) -> Result<Option<Self::Value>, E> {
        Err(wrong::<Self, E>("a string"))
    }
    fn boolean<E: Error>(_value: bool) -> Result<Option<Self::Value>, E> {
        Err(wrong::<Self, E>("a boolean"))
    }
    fn signed<E: Error>(_value: i64) -> Result<Option<Self::Value>, E> {
        Err(wrong::<Self, E>("a number"))
    }
    fn unsigned<E: Error>(_value: u64) -> Result<Option<Self::Value>, E> {
        Err(wrong::<Self, E>("a number"))
    }
    fn real<E: Error>(_value: f64) -> Result<Option<Self::Value>, E> {
        Err(wrong::<Self, E>("a number"))
    }
    fn object<'de, A: MapAccess<'de>>(_input: A) -> Result<Option<Self::Value>, A::Error> {
        Err(wrong::<Self, A::Error>("an object"))
    }

    /// Tells whether the value has a form in JSON at all.
    fn is_shown(_value: &Self::Value) -> bool {
        true
    }
    fn write<S: Serializer>(value: &Self::Value, serializer: S) -> Result<S::Ok, S::Error>;
}

/// The value of a wrong type is not repeated: it may be megabytes long.
pub(crate) fn wrong<K: Kind + ?Sized, E: Error>(found: &str) -> E {
    E::custom(format_args!("expected {}, found {found}", K::EXPECTED))
}

fn unreadable<K: Kind, E: Error>(value: impl Display) -> E {
    let mut shown: String = value.to_string();
    if let Some((end, _)) = shown.char_indices().nth(40) {
        shown.truncate(end);
        shown.push('…');
    }
    E::custom(format_args!("expected {}, found {shown:?}", K::EXPECTED))
}

pub(crate) struct Text;
impl Kind for Text {
    type Value = String;
    const EXPECTED: &'static str = "a string";
    fn text<E: Error>(text: &str) -> Result<Option<String>, E> {
        Ok(Some(text.to_owned()))
    }
    fn write<S: Serializer>(value: &String, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value)
    }
}

pub(crate) struct Binary;
impl Kind for Binary {
    type Value = Bytes;
    const EXPECTED: &'static str = "base64 text";
    fn text<E: Error>(text: &str) -> Result<Option<Bytes>, E> {
        match STANDARD.decode(text) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) => Err(E::custom(format_args!("invalid base64: {error}"))),
        }
    }
    fn write<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(value, &STANDARD))
    }
}

pub(crate) struct Bool;
impl Kind for Bool {
    type Value = bool;
    const EXPECTED: &'static str = "a boolean";
    fn text<E: Error>(text: &str) -> Result<Option<bool>, E> {
        text.parse().map(Some).map_err(|_| unreadable::<Self, E>(text))
    }
    fn boolean<E: Error>(value: bool) -> Result<Option<bool>, E> {
        Ok(Some(value))
    }
    fn write<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*value)
    }
}

macro_rules! integer {
    ($name:ident, $type:ty, $expected:literal) => {
        pub(crate) struct $name;
        impl Kind for $name {
            type Value = $type;
            const EXPECTED: &'static str = $expected;
            fn text<E: Error>(text: &str) -> Result<Option<$type>, E> {
                text.parse().map(Some).map_err(|_| unreadable::<Self, E>(text))
            }
            fn signed<E: Error>(value: i64) -> Result<Option<$type>, E> {
                value.try_into().map(Some).map_err(|_| unreadable::<Self, E>(value))
            }
            fn unsigned<E: Error>(value: u64) -> Result<Option<$type>, E> {
                value.try_into().map(Some).map_err(|_| unreadable::<Self, E>(value))
            }
            fn real<E: Error>(value: f64) -> Result<Option<$type>, E> {
                match whole(value) {
                    Some(value) => Self::signed(value),
                    None => Err(unreadable::<Self, E>(value)),
                }
            }
            fn write<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                value.serialize(serializer)
            }
        }
    };
}
integer!(Int32, i32, "a 32-bit integer");
integer!(Int64, i64, "a 64-bit integer");
integer!(Uint32, u32, "an unsigned 32-bit integer");
integer!(Uint64, u64, "an unsigned 64-bit integer");

/// `5.0` and `1e3` are integers, as long as a double holds them exactly.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// Not every text that Rust reads as a number: no `nan`, no `inf`.
fn decimal(text: &str) -> Option<f64> {
    match text {
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
            text.parse().ok().filter(|value: &f64| value.is_finite())
        }
        _ => None,
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

pub(crate) struct Double;
impl Kind for Double {
    type Value = f64;
    const EXPECTED: &'static str = "a number";
    fn text<E: Error>(text: &str) -> Result<Option<f64>, E> {
        decimal(text).map(Some).ok_or_else(|| unreadable::<Self, E>(text))
    }
    #[expect(clippy::cast_precision_loss, reason = "the nearest double is what the field can hold")]
    fn signed<E: Error>(value: i64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }
    #[expect(clippy::cast_precision_loss, reason = "the nearest double is what the field can hold")]
    fn unsigned<E: Error>(value: u64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }
    fn real<E: Error>(value: f64) -> Result<Option<f64>, E> {
        Ok(Some(value))
    }
    fn write<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match special(*value) {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_f64(*value),
        }
    }
}

/// An enum: its name and nothing else. An unknown name leaves the field unset.
pub(crate) struct Name<T>(PhantomData<T>);
impl<T: Enumeration> Kind for Name<T> {
    type Value = i32;
    const EXPECTED: &'static str = "the name of an enum value";
    fn text<E: Error>(text: &str) -> Result<Option<i32>, E> {
        Ok(T::number(text))
    }
    fn is_shown(value: &i32) -> bool {
        T::name(*value).is_some()
    }
    fn write<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(T::name(*value).unwrap_or_default())
    }
}

pub(crate) struct Object<T>(PhantomData<T>);
impl<T: Message> Kind for Object<T> {
    type Value = T;
    const EXPECTED: &'static str = "an object";
    fn text<E: Error>(text: &str) -> Result<Option<T>, E> {
        T::from_text(text).map(Some).ok_or_else(|| wrong::<Self, E>("a string"))
    }
    fn object<'de, A: MapAccess<'de>>(input: A) -> Result<Option<T>, A::Error> {
        read::fields(input).map(Some)
    }
    fn write<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        write::message(value, serializer)
    }
}
