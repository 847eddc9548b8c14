//! Writing: names of the protocol, declared defaults, and nothing for what is unset.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Message;
use super::kinds::Kind;

pub(crate) fn message<T: Message, S: Serializer>(message: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut output = serializer.serialize_map(None)?;
    message.write(&mut output)?;
    output.end()
}

pub(crate) fn value<K, B, S>(output: &mut S, name: &'static str, value: &B) -> Result<(), S::Error>
where
    K: Kind,
    B: Borrow<K::Value>,
    S: SerializeMap,
{
    let value = value.borrow();
    if K::is_shown(value) { output.serialize_entry(name, &Out::<K>(value)) } else { Ok(()) }
}

pub(crate) fn one<K, B, S>(output: &mut S, name: &'static str, slot: &Option<B>) -> Result<(), S::Error>
where
    K: Kind,
    B: Borrow<K::Value>,
    S: SerializeMap,
{
    slot.as_ref().map_or(Ok(()), |inner| value::<K, B, S>(output, name, inner))
}

/// A field with a declared default shows it when it is unset.
pub(crate) fn one_or<K: Kind, S: SerializeMap>(
    output: &mut S,
    name: &'static str,
    slot: &Option<K::Value>,
    default: fn() -> K::Value,
) -> Result<(), S::Error> {
    match slot {
        Some(inner) => value::<K, K::Value, S>(output, name, inner),
        None => value::<K, K::Value, S>(output, name, &default()),
    }
}

pub(crate) fn many<K: Kind, S: SerializeMap>(
    output: &mut S,
    name: &'static str,
    slot: &[K::Value],
) -> Result<(), S::Error> {
    if slot.is_empty() { Ok(()) } else { output.serialize_entry(name, &List::<K>(slot)) }
}

pub(crate) fn entries<K: Kind, S: SerializeMap>(
    output: &mut S,
    name: &'static str,
    slot: &BTreeMap<String, K::Value>,
) -> Result<(), S::Error> {
    if slot.is_empty() { Ok(()) } else { output.serialize_entry(name, &Entries::<K>(slot)) }
}

struct Out<'a, K: Kind>(&'a K::Value);

impl<K: Kind> Serialize for Out<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        K::write(self.0, serializer)
    }
}

struct List<'a, K: Kind>(&'a [K::Value]);

impl<K: Kind> Serialize for List<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().filter(|value| K::is_shown(value)).map(Out::<K>))
    }
}

struct Entries<'a, K: Kind>(&'a BTreeMap<String, K::Value>);

impl<K: Kind> Serialize for Entries<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = self.0.iter().filter(|(_, value)| K::is_shown(value));
        serializer.collect_map(shown.map(|(key, value)| (key, Out::<K>(value))))
    }
}
