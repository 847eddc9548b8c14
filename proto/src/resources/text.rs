//! The text of flags: `cpus:4;mem(web):1024;ports:[31000-32000];zones:{a,b}`, or the same as JSON.

use std::fmt;

use super::amount::Amount;
use super::collection::Resources;
use super::error::TextError;
use super::identity::{Identity, ReservationKind};
use crate::v1::value::{self, Type};
use crate::v1::{Attribute, Resource};

impl Resources {
    /// Reads the text form: items `name:value` or `name(role):value` separated by semicolons; a text that begins with `[`
    /// is a list of resources in JSON.
    ///
    /// # Errors
    /// The item that cannot be read, or the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.trim_start().starts_with('[') {
            let list: Vec<Resource> =
                serde_json::from_str(text).map_err(|error| TextError::Json(error.to_string()))?;
            return Ok(Self::from_proto(&list)?);
        }
        let mut list = Vec::new();
        for (name, value) in items(text)? {
            let (name, role) = match name.split_once('(') {
                Some((name, rest)) => {
                    let role =
                        rest.strip_suffix(')').ok_or_else(|| bad(&name_value(name, value), "no ')'"))?;
                    (name.trim(), Some(role.trim().to_owned()))
                }
                None => (name, None),
            };
            let value = Parsed::read(value).map_err(|problem| bad(&name_value(name, value), problem))?;
            let mut resource = Resource { name: Some(name.to_owned()), role, ..Default::default() };
            match value {
                Parsed::Scalar(scalar) => {
                    resource.r#type = Some(Type::Scalar.into());
                    resource.scalar = Some(scalar);
                }
                Parsed::Ranges(ranges) => {
                    resource.r#type = Some(Type::Ranges.into());
                    resource.ranges = Some(ranges);
                }
                Parsed::Set(set) => {
                    resource.r#type = Some(Type::Set.into());
                    resource.set = Some(set);
                }
                Parsed::Text(text) => return Err(bad(&name_value(name, &text), "a resource cannot be text")),
            }
            list.push(resource);
        }
        Ok(Self::from_proto(&list)?)
    }
}

/// Reads an agent's attributes: items `name:value` separated by semicolons. Duplicates keep their order; what is neither a
/// number nor ranges is text.
///
/// # Errors
/// The item that cannot be read.
pub fn parse_attributes(text: &str) -> Result<Vec<Attribute>, TextError> {
    let mut attributes = Vec::new();
    for (name, value) in items(text)? {
        let mut attribute = Attribute { name: Some(name.to_owned()), ..Default::default() };
        let kind = match Parsed::read(value).map_err(|problem| bad(&name_value(name, value), problem))? {
            Parsed::Scalar(scalar) => {
                attribute.scalar = Some(scalar);
                Type::Scalar
            }
            Parsed::Ranges(ranges) => {
                attribute.ranges = Some(ranges);
                Type::Ranges
            }
            Parsed::Set(_) => return Err(bad(&name_value(name, value), "an attribute cannot be a set")),
            Parsed::Text(text) => {
                attribute.text = Some(value::Text { value: Some(text) });
                Type::Text
            }
        };
        attribute.r#type = Some(kind.into());
        attributes.push(attribute);
    }
    Ok(attributes)
}

fn items(text: &str) -> Result<Vec<(&str, &str)>, TextError> {
    let items = text.split([';', '\n']).map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| match item.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok((name.trim(), value.trim()))
            }
            _ => Err(TextError::NoValue(item.to_owned())),
        })
        .collect()
}

fn name_value(name: &str, value: &str) -> String {
    format!("{name}:{value}")
}

fn bad(item: &str, problem: impl Into<String>) -> TextError {
    TextError::BadValue { item: item.to_owned(), problem: problem.into() }
}

enum Parsed {
    Scalar(value::Scalar),
    Ranges(value::Ranges),
    Set(value::Set),
    Text(String),
}

impl Parsed {
    fn read(text: &str) -> Result<Self, String> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or("no ']'")?;
            return Ok(Self::Ranges(value::Ranges {
                range: parts(inner).map(range).collect::<Result<_, _>>()?,
            }));
        }
        if let Some(inner) = text.strip_prefix('{') {
            let inner = inner.strip_suffix('}').ok_or("no '}'")?;
            return Ok(Self::Set(value::Set { item: parts(inner).map(str::to_owned).collect() }));
        }
        let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        match text.parse::<f64>() {
            Ok(number) if numeric => Ok(Self::Scalar(value::Scalar { value: Some(number) })),
            _ => Ok(Self::Text(text.to_owned())),
        }
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `31000-32000`; a number alone is not a range, as in Mesos.
fn range(text: &str) -> Result<value::Range, String> {
    let number =
        |text: &str| text.trim().parse::<u64>().map_err(|_| format!("'{text}' is not a whole number"));
    let (begin, end) =
        text.split_once('-').ok_or_else(|| format!("'{text}' is not of the form begin-end"))?;
    Ok(value::Range { begin: Some(number(begin)?), end: Some(number(end)?) })
}

/// The text form, with what it cannot say in words behind the name: `cpus(eng/web){REV}<web>:4`.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (identity, amount)) in self.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ";" })?;
            write_head(f, identity)?;
            write!(f, ":{amount}")?;
        }
        Ok(())
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, identity: &Identity) -> fmt::Result {
    f.write_str(&identity.name)?;
    if let Some(reservation) = identity.reservations.last() {
        let kind = match (reservation.kind, identity.reservations.len()) {
            (ReservationKind::Static, 1) => "",
            (ReservationKind::Static | ReservationKind::Dynamic, _) => ", dynamic",
        };
        write!(f, "({}{kind})", reservation.role)?;
    }
    if let Some(id) = identity.persistence_id() {
        write!(f, "[{id}]")?;
    }
    f.write_str(if identity.revocable { "{REV}" } else { "" })?;
    f.write_str(if identity.shared { "{SHARED}" } else { "" })?;
    match &identity.allocation_role {
        Some(role) => write!(f, "<{role}>"),
        None => Ok(()),
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(millis) => write!(f, "{millis}"),
            Self::Ranges(ranges) => write!(f, "{ranges}"),
            Self::Set(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(f, "{{{}}}", names.join(", "))
            }
            Self::Pieces(pieces) => {
                let pieces: Vec<String> =
                    pieces.iter().map(|(size, count)| format!("{count}x{size}")).collect();
                f.write_str(&pieces.join("+"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Millis;

    #[test]
    fn texts_read_and_write() {
        let cases = [
            ("cpus:4;mem:1024;ports:[31000-32000]", "cpus:4;mem:1024;ports:[31000-32000]"),
            (" mem : 1024 ; cpus:0.5 ;", "cpus:0.5;mem:1024"),
            ("cpus(*):2;cpus(web/api):1", "cpus:2;cpus(web/api):1"),
            ("zones:{b,a};ports:[1-2, 3-4,9-9]", "ports:[1-4, 9-9];zones:{a, b}"),
            ("cpus:1;cpus:2", "cpus:3"),
            ("gpus:0", ""),
            ("", ""),
            (r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2}}]"#, "cpus:2"),
            // Static reservations: as text, and in both forms of JSON.
            ("cpus(web):2;ports(web):[1-2]", "cpus(web):2;ports(web):[1-2]"),
            (r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"role":"web"}]"#, "cpus(web):2"),
            (
                r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2},
                    "reservations":[{"type":"STATIC","role":"web"}]}]"#,
                "cpus(web):2",
            ),
        ];
        for (text, expected) in cases {
            let resources = Resources::parse(text).unwrap();
            assert_eq!(resources.to_string(), expected, "{text}");
            assert_eq!(Resources::parse(&resources.to_string()).unwrap(), resources, "{text}");
        }
        assert_eq!(Resources::parse("cpus:1.0255").unwrap().scalar("cpus"), Millis(1026));
    }

    #[test]
    fn bad_texts_are_refused() {
        for bad in [
            "cpus",
            "cpus:",
            ":4",
            "cpus:four",
            "cpus:-1",
            "cpus:nan",
            "cpus:inf",
            "ports:[1]",
            "ports:[2-1]",
            "ports:[1-5,3-9]",
            "ports:[1-2",
            "zones:{a",
            "zones:{a,a}",
            "cpus(web:4",
            "cpus(a//b):4",
            "gpus:0.5",
            "[{",
            "[{\"name\":\"cpus\"}]",
            "ports:[18446744073709551616-18446744073709551616]",
        ] {
            assert!(Resources::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn attributes_keep_order_and_type() {
        let attributes =
            parse_attributes("rack:r1;level:2.5;ports:[1-2];rack:r2;version:1.2.3;url:http://x").unwrap();
        let types: Vec<Type> = attributes.iter().map(Attribute::r#type).collect();
        assert_eq!(types, [Type::Text, Type::Scalar, Type::Ranges, Type::Text, Type::Text, Type::Text]);
        assert_eq!(attributes[3].text.as_ref().unwrap().value(), "r2");
        assert_eq!(attributes[5].text.as_ref().unwrap().value(), "http://x");
        assert!(parse_attributes("rack").is_err());
    }
}
