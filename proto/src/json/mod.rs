//! Mesos' mapping between messages and JSON, which is not protobuf's own.
//!
//! Names are the protocol's (`agent_id`), unknown ones are ignored; `null` is absence; enums are names only; 64-bit numbers
//! are bare; one value stands for a list of one; declared defaults are written; output is one line of pure ASCII, because
//! there are clients that count characters where bytes are meant. Per message there is a generated implementation of
//! [`Message`]; everything else is here.
//!
//! The serde implementations of messages are for JSON only. What is stored goes through protobuf.

mod ascii;
pub(crate) mod check;
pub(crate) mod kinds;
pub(crate) mod read;
pub(crate) mod write;

pub use ascii::{to_string, to_vec, to_writer};

use serde::de::MapAccess;
use serde::ser::SerializeMap;

/// What is generated for every message from the `.proto` files.
pub trait Message: Default + Sized {
    /// Full name in the protocol.
    const NAME: &'static str;
    /// Names of the fields on the wire, in the order of their places.
    const FIELDS: &'static [&'static str];

    /// Returns the place of the field with this name.
    fn place(name: &str) -> Option<usize> {
        let _ = name;
        None
    }

    /// Reads the value of one field.
    ///
    /// # Errors
    /// The value does not fit the field.
    fn read<'de, A: MapAccess<'de>>(&mut self, place: usize, input: &mut A) -> Result<(), A::Error> {
        let _ = (place, input);
        Ok(())
    }

    /// Writes the fields.
    ///
    /// # Errors
    /// Those of the output.
    fn write<S: SerializeMap>(&self, output: &mut S) -> Result<(), S::Error> {
        let _ = output;
        Ok(())
    }

    /// Reads a message that may also be written as one text.
    fn from_text(text: &str) -> Option<Self> {
        let _ = text;
        None
    }

    /// Returns the dotted path of the first required field that is absent, at any depth. A required enum with an unknown
    /// number is absent.
    fn missing_field(&self) -> Option<String> {
        None
    }

    /// Makes every enum field with an unknown number unset, as the protocol wants it.
    fn forget_unknown(&mut self) {}
}

/// What is generated for every enum.
pub(crate) trait Enumeration {
    fn name(number: i32) -> Option<&'static str>;
    fn number(name: &str) -> Option<i32>;
}

/// Messages with a second form: one text.
pub(crate) trait TextForm: Sized {
    fn parse(text: &str) -> Option<Self>;
}

impl TextForm for crate::v1::DurationInfo {
    fn parse(text: &str) -> Option<Self> {
        Some(Self { nanoseconds: Some(crate::duration::parse_nanos(text).ok()?) })
    }
}

impl TextForm for crate::google::protobuf::Duration {
    fn parse(text: &str) -> Option<Self> {
        const SECOND: i64 = 1_000_000_000;
        let nanos = crate::duration::parse_nanos(text).ok()?;
        Some(Self { seconds: Some(nanos / SECOND), nanos: Some(i32::try_from(nanos % SECOND).ok()?) })
    }
}

/// Ties the generated part of a message to serde.
macro_rules! message {
    ($path:path) => {
        impl serde::Serialize for $path {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::json::write::message(self, serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $path {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::json::read::message(deserializer)
            }
        }
    };
}
pub(crate) use message;

#[cfg(test)]
mod tests;
