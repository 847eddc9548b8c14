//! Reading: the lenient side. Errors name the dotted path of the field, and where in the text it is.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Message;
use super::kinds::{Kind, Object, wrong};

/// Reads a whole message; nothing but an object will do.
pub(crate) fn message<'de, T: Message, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let read = deserializer.deserialize_any(One::<Object<T>>(PhantomData))?;
    read.ok_or_else(|| wrong::<Object<T>, D::Error>("null"))
}

/// Reads the members of an object into a message.
pub(crate) fn fields<'de, T: Message, A: MapAccess<'de>>(mut input: A) -> Result<T, A::Error> {
    let mut message = T::default();
    while let Some(place) = input.next_key_seed(Place(T::place))? {
        let Some(place) = place else {
            input.next_value::<IgnoredAny>()?;
            continue;
        };
        message
            .read(place, &mut input)
            .map_err(|error| within(T::FIELDS.get(place).unwrap_or(&"?"), &error))?;
    }
    Ok(message)
}

pub(crate) fn one<'de, K, B, A>(input: &mut A, slot: &mut Option<B>) -> Result<(), A::Error>
where
    K: Kind,
    B: From<K::Value>,
    A: MapAccess<'de>,
{
    *slot = input.next_value_seed(One::<K>(PhantomData))?.map(B::from);
    Ok(())
}

pub(crate) fn member<'de, K, B, O, A>(
    input: &mut A,
    slot: &mut Option<O>,
    wrap: fn(B) -> O,
) -> Result<(), A::Error>
where
    K: Kind,
    B: From<K::Value>,
    A: MapAccess<'de>,
{
    // A `null` for one member says nothing about the others.
    if let Some(value) = input.next_value_seed(One::<K>(PhantomData))? {
        *slot = Some(wrap(B::from(value)));
    }
    Ok(())
}

pub(crate) fn many<'de, K: Kind, A: MapAccess<'de>>(
    input: &mut A,
    slot: &mut Vec<K::Value>,
) -> Result<(), A::Error> {
    slot.clear();
    input.next_value_seed(Push::<K>(slot))
}

pub(crate) fn entries<'de, K, A>(input: &mut A, slot: &mut BTreeMap<String, K::Value>) -> Result<(), A::Error>
where
    K: Kind,
    A: MapAccess<'de>,
{
    slot.clear();
    input.next_value_seed(Entries::<K>(slot))
}

const PREFIX: &str = "field `";

/// Puts a part of a path before an error: ``field `accept.offer_ids[2].value`: expected a string``.
fn within<E: Error>(part: &str, error: &E) -> E {
    let text = error.to_string();
    E::custom(match text.strip_prefix(PREFIX) {
        Some(rest) if rest.starts_with('[') => format!("{PREFIX}{part}{rest}"),
        Some(rest) => format!("{PREFIX}{part}.{rest}"),
        None => format!("{PREFIX}{part}`: {text}"),
    })
}

struct Place(fn(&str) -> Option<usize>);

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Place {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok((self.0)(name))
    }
}

/// One value; `null` is none.
struct One<K>(PhantomData<K>);

impl<'de, K: Kind> DeserializeSeed<'de> for One<K> {
    type Value = Option<K::Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for One<K> {
    type Value = Option<K::Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::EXPECTED)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        K::text(text)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        K::boolean(value)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        K::signed(value)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        K::unsigned(value)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        K::real(value)
    }
    fn visit_map<A: MapAccess<'de>>(self, input: A) -> Result<Self::Value, A::Error> {
        K::object(input)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _input: A) -> Result<Self::Value, A::Error> {
        Err(wrong::<K, A::Error>("an array"))
    }
}

/// A list: an array, arrays within arrays, or a single value.
struct Push<'a, K: Kind>(&'a mut Vec<K::Value>);

impl<'de, K: Kind> DeserializeSeed<'de> for Push<'_, K> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for Push<'_, K> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, or {}", K::EXPECTED)
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.extend(K::text(text)?);
        Ok(())
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.extend(K::boolean(value)?);
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.extend(K::signed(value)?);
        Ok(())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.extend(K::unsigned(value)?);
        Ok(())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.extend(K::real(value)?);
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, input: A) -> Result<(), A::Error> {
        self.0.extend(K::object(input)?);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<(), A::Error> {
        for index in 0usize.. {
            match input.next_element_seed(Push::<K>(self.0)) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => return Err(within(&format!("[{index}]"), &error)),
            }
        }
        Ok(())
    }
}

/// A map from text.
struct Entries<'a, K: Kind>(&'a mut BTreeMap<String, K::Value>);

impl<'de, K: Kind> DeserializeSeed<'de> for Entries<'_, K> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for Entries<'_, K> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<(), A::Error> {
        while let Some(key) = input.next_key::<String>()? {
            let value = input.next_value_seed(One::<K>(PhantomData));
            if let Some(value) = value.map_err(|error| within(&key, &error))? {
                self.0.insert(key, value);
            }
        }
        Ok(())
    }
}
