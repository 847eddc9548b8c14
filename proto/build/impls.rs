//! Writes one trait implementation per message: its JSON mapping, and the checks that follow decoding.
//!
//! What does not depend on the message is in `src/json/`, so that the generated code stays small and quick to compile.

use std::collections::BTreeSet;
use std::fmt::{Error, Write};

use crate::table::{Field, Kind, Message, Shape, Table};

/// Messages that may also be written as one text, such as `"10mins"`.
const TEXT_FORMS: [&str; 2] = ["mesos.v1.DurationInfo", "google.protobuf.Duration"];

/// The only message that can contain itself.
const NESTS: &str = "mesos.v1.ContainerID";

pub(crate) fn generate(table: &Table) -> Result<String, Error> {
    let mut out = String::new();
    for path in &table.enums {
        writeln!(out, "impl crate::json::Enumeration for {path} {{")?;
        writeln!(
            out,
            "    fn name(number: i32) -> Option<&'static str> {{ Self::try_from(number).ok().map(|v| v.as_str_name()) }}"
        )?;
        writeln!(
            out,
            "    fn number(name: &str) -> Option<i32> {{ Self::from_str_name(name).map(|v| v as i32) }}"
        )?;
        writeln!(out, "}}")?;
    }
    let with_enums = with_enums(table);
    for message in &table.messages {
        let path = &message.path;
        writeln!(out, "impl crate::json::Message for {path} {{")?;
        writeln!(out, "    const NAME: &'static str = {:?};", message.name)?;
        if TEXT_FORMS.contains(&message.name.as_str()) {
            writeln!(
                out,
                "    fn from_text(text: &str) -> Option<Self> {{ crate::json::TextForm::parse(text) }}"
            )?;
        }
        field_names(&mut out, message)?;
        read(&mut out, message)?;
        write(&mut out, message)?;
        missing(&mut out, message)?;
        if with_enums.contains(path.as_str()) {
            forget(&mut out, message, &with_enums)?;
        }
        writeln!(out, "}}")?;
        writeln!(out, "crate::json::message!({path});")?;
    }
    Ok(out)
}

fn codec(kind: &Kind) -> String {
    match kind {
        Kind::Plain(name) => format!("crate::json::kinds::{name}"),
        Kind::Enum(path) => format!("crate::json::kinds::Name<{path}>"),
        Kind::Message(path) => format!("crate::json::kinds::Object<{path}>"),
    }
}

/// Maps a name in the input to the field's place; everything unknown is `None`.
fn field_names(out: &mut String, message: &Message) -> Result<(), Error> {
    writeln!(out, "    const FIELDS: &'static [&'static str] = &[")?;
    for field in &message.fields {
        writeln!(out, "        {:?},", field.name)?;
    }
    writeln!(out, "    ];")?;
    if message.fields.is_empty() {
        return Ok(());
    }
    writeln!(out, "    fn place(name: &str) -> Option<usize> {{\n        match name {{")?;
    for (index, field) in message.fields.iter().enumerate() {
        let alias = field.name == "agent_id" && message.name.starts_with("mesos.");
        let alias = if alias { " | \"slave_id\"" } else { "" };
        writeln!(out, "            {:?}{alias} => Some({index}),", field.name)?;
    }
    writeln!(out, "            _ => None,\n        }}\n    }}")
}

fn read(out: &mut String, message: &Message) -> Result<(), Error> {
    if message.fields.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "    fn read<'de, A: serde::de::MapAccess<'de>>(&mut self, place: usize, input: &mut A) -> Result<(), A::Error> {{"
    )?;
    writeln!(out, "        match place {{")?;
    for (index, field) in message.fields.iter().enumerate() {
        let (codec, ident) = (codec(&field.kind), &field.ident);
        let call = match field.shape {
            Shape::One => format!("crate::json::read::one::<{codec}, _, _>(input, &mut self.{ident})"),
            Shape::Many => format!("crate::json::read::many::<{codec}, _>(input, &mut self.{ident})"),
            Shape::Map => format!("crate::json::read::entries::<{codec}, _>(input, &mut self.{ident})"),
            Shape::Member(oneof) => {
                let oneof = &message.oneofs[oneof];
                let (slot, path) = (&oneof.ident, &oneof.path);
                format!(
                    "crate::json::read::member::<{codec}, _, _, _>(input, &mut self.{slot}, {path}::{ident})"
                )
            }
        };
        writeln!(out, "            {index} => {call},")?;
    }
    writeln!(out, "            _ => Ok(()),\n        }}\n    }}")
}

fn write(out: &mut String, message: &Message) -> Result<(), Error> {
    if message.fields.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "    fn write<S: serde::ser::SerializeMap>(&self, output: &mut S) -> Result<(), S::Error> {{"
    )?;
    for field in &message.fields {
        let (codec, name, ident) = (codec(&field.kind), &field.name, &field.ident);
        let call = match (&field.default, field.shape) {
            (Some(default), Shape::One) => {
                format!("one_or::<{codec}, _>(output, {name:?}, &self.{ident}, || {default})")
            }
            (_, Shape::One) => format!("one::<{codec}, _, _>(output, {name:?}, &self.{ident})"),
            (_, Shape::Many) => format!("many::<{codec}, _>(output, {name:?}, &self.{ident})"),
            (_, Shape::Map) => format!("entries::<{codec}, _>(output, {name:?}, &self.{ident})"),
            (_, Shape::Member(oneof)) => {
                let oneof = &message.oneofs[oneof];
                writeln!(out, "        if let Some({}::{ident}(v)) = &self.{} {{", oneof.path, oneof.ident)?;
                writeln!(
                    out,
                    "            crate::json::write::value::<{codec}, _, _>(output, {name:?}, v)?;"
                )?;
                writeln!(out, "        }}")?;
                continue;
            }
        };
        writeln!(out, "        crate::json::write::{call}?;")?;
    }
    writeln!(out, "        Ok(())\n    }}")
}

fn missing(out: &mut String, message: &Message) -> Result<(), Error> {
    let mut body = String::new();
    for field in &message.fields {
        missing_field(&mut body, message, field)?;
    }
    if message.name == NESTS {
        let check = "        if crate::json::check::too_deep(self) { return Some(crate::json::check::TOO_DEEP.to_owned()); }\n";
        body.insert_str(0, check);
    }
    if body.is_empty() {
        return Ok(());
    }
    writeln!(out, "    fn missing_field(&self) -> Option<String> {{\n{body}        None\n    }}")
}

fn missing_field(body: &mut String, message: &Message, field: &Field) -> Result<(), Error> {
    let (name, ident) = (&field.name, &field.ident);
    if field.required {
        match &field.kind {
            Kind::Enum(path) => {
                writeln!(
                    body,
                    "        if !crate::json::check::is_known::<{path}>(self.{ident}) {{ return Some({name:?}.to_owned()); }}"
                )?;
            }
            _ => writeln!(body, "        if self.{ident}.is_none() {{ return Some({name:?}.to_owned()); }}")?,
        }
    }
    if !matches!(field.kind, Kind::Message(_)) {
        return Ok(());
    }
    let (found, under) = ("v.missing_field()", "return Some(crate::json::check::under");
    match field.shape {
        Shape::One => writeln!(
            body,
            "        if let Some(path) = self.{ident}.as_ref().and_then(|v| {found}) {{ {under}({name:?}, &path)); }}"
        ),
        Shape::Many => writeln!(
            body,
            "        if let Some(path) = crate::json::check::many(&self.{ident}) {{ {under}({name:?}, &path)); }}"
        ),
        Shape::Map => writeln!(
            body,
            "        if let Some(path) = crate::json::check::entries(&self.{ident}) {{ {under}({name:?}, &path)); }}"
        ),
        Shape::Member(oneof) => {
            let oneof = &message.oneofs[oneof];
            writeln!(body, "        if let Some({}::{ident}(v)) = &self.{}", oneof.path, oneof.ident)?;
            writeln!(body, "            && let Some(path) = {found} {{ {under}({name:?}, &path)); }}")
        }
    }
}

/// Paths of the messages in which an enum can occur at any depth.
fn with_enums(table: &Table) -> BTreeSet<&str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = found.len();
        for message in &table.messages {
            let occurs = message.fields.iter().any(|field| match &field.kind {
                Kind::Plain(_) => false,
                Kind::Enum(_) => true,
                Kind::Message(path) => found.contains(path.as_str()),
            });
            if occurs {
                found.insert(&message.path);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn forget(out: &mut String, message: &Message, with_enums: &BTreeSet<&str>) -> Result<(), Error> {
    writeln!(out, "    fn forget_unknown(&mut self) {{")?;
    for field in &message.fields {
        let ident = &field.ident;
        match (&field.kind, field.shape) {
            (Kind::Plain(_), _) => {}
            (Kind::Message(path), _) if !with_enums.contains(path.as_str()) => {}
            (Kind::Message(_), Shape::One) => {
                writeln!(out, "        if let Some(v) = &mut self.{ident} {{ v.forget_unknown(); }}")?;
            }
            (Kind::Message(_), Shape::Many) => {
                writeln!(out, "        self.{ident}.iter_mut().for_each(|v| v.forget_unknown());")?;
            }
            (Kind::Message(_), Shape::Map) => {
                writeln!(out, "        self.{ident}.values_mut().for_each(|v| v.forget_unknown());")?;
            }
            (Kind::Message(_), Shape::Member(oneof)) => {
                let oneof = &message.oneofs[oneof];
                let pattern = format!("Some({}::{ident}(v))", oneof.path);
                writeln!(
                    out,
                    "        if let {pattern} = &mut self.{} {{ v.forget_unknown(); }}",
                    oneof.ident
                )?;
            }
            (Kind::Enum(path), Shape::One) => {
                writeln!(out, "        crate::json::check::forget_one::<{path}>(&mut self.{ident});")?;
            }
            (Kind::Enum(path), Shape::Many) => {
                writeln!(out, "        crate::json::check::forget_many::<{path}>(&mut self.{ident});")?;
            }
            (Kind::Enum(path), Shape::Map) => {
                writeln!(out, "        crate::json::check::forget_entries::<{path}>(&mut self.{ident});")?;
            }
            (Kind::Enum(path), Shape::Member(oneof)) => {
                let oneof = &message.oneofs[oneof];
                let (slot, pattern) = (&oneof.ident, format!("Some({}::{ident}(v))", oneof.path));
                writeln!(
                    out,
                    "        if matches!(&self.{slot}, {pattern} if !crate::json::check::is_known::<{path}>(Some(*v))) {{"
                )?;
                writeln!(out, "            self.{slot} = None;\n        }}")?;
            }
        }
    }
    writeln!(out, "    }}")
}
