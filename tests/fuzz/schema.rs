//! What messages look like, from the descriptors that the wire contract was compiled from. Owns no rule of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// All messages and enums by full name.
#[derive(Debug, Default)]
pub(super) struct Schema {
    messages: BTreeMap<String, Message>,
    enums: BTreeMap<String, Vec<(String, i32)>>,
}

#[derive(Debug)]
pub(super) struct Message {
    /// Full name, without a leading dot.
    pub(super) name: String,
    pub(super) fields: Vec<Arc<Field>>,
    is_map_entry: bool,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// Fields of one message with the same number here exclude each other.
    pub(super) oneof: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Optional,
    Required,
    Repeated,
    /// From text to the kind of the field.
    Map,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Double,
    Text,
    Bytes,
    Enum(String),
    Message(String),
}

impl Schema {
    /// Reads the descriptors of the wire contract.
    pub(super) fn new() -> Arc<Schema> {
        let files = FileDescriptorSet::decode(tepui_proto::DESCRIPTORS).expect("our own descriptors");
        let mut schema = Schema::default();
        for file in &files.file {
            file.enum_type.iter().for_each(|item| schema.add_enum(file.package(), item));
            file.message_type.iter().for_each(|message| schema.add_message(file.package(), message));
        }
        let entries: BTreeMap<String, Kind> = schema
            .messages
            .values()
            .filter(|message| message.is_map_entry)
            .map(|entry| (entry.name.clone(), entry.fields[1].kind.clone()))
            .collect();
        for message in schema.messages.values_mut() {
            for field in &mut message.fields {
                if let Kind::Message(name) = &field.kind
                    && let Some(value) = entries.get(name)
                    && let Some(field) = Arc::get_mut(field)
                {
                    (field.kind, field.shape) = (value.clone(), Shape::Map);
                }
            }
        }
        Arc::new(schema)
    }

    pub(super) fn message(&self, name: &str) -> &Message {
        self.messages.get(name).unwrap_or_else(|| panic!("no message {name}"))
    }

    pub(super) fn values(&self, name: &str) -> &[(String, i32)] {
        self.enums.get(name).unwrap_or_else(|| panic!("no enum {name}"))
    }

    fn add_enum(&mut self, scope: &str, item: &EnumDescriptorProto) {
        let values = item.value.iter().map(|value| (value.name().to_owned(), value.number()));
        self.enums.insert(format!("{scope}.{}", item.name()), values.collect());
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        message.enum_type.iter().for_each(|item| self.add_enum(&name, item));
        message.nested_type.iter().for_each(|nested| self.add_message(&name, nested));
        let fields = message.field.iter().map(|field| Arc::new(Field::new(field))).collect();
        let is_map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
        self.messages.insert(name.clone(), Message { name, fields, is_map_entry });
    }
}

impl Field {
    fn new(field: &FieldDescriptorProto) -> Field {
        let named = field.type_name().trim_start_matches('.').to_owned();
        let kind = match field.r#type() {
            Type::Bool => Kind::Bool,
            Type::Int32 => Kind::Int32,
            Type::Int64 => Kind::Int64,
            Type::Uint32 => Kind::Uint32,
            Type::Uint64 => Kind::Uint64,
            Type::Double => Kind::Double,
            Type::String => Kind::Text,
            Type::Bytes => Kind::Bytes,
            Type::Enum => Kind::Enum(named),
            Type::Message => Kind::Message(named),
            other => panic!("{}: there is no generator for {other:?}", field.name()),
        };
        let shape = match field.label() {
            Label::Optional => Shape::Optional,
            Label::Required => Shape::Required,
            Label::Repeated => Shape::Repeated,
        };
        let number = u32::try_from(field.number()).expect("numbers of fields are positive");
        Field { name: field.name().to_owned(), number, kind, shape, oneof: field.oneof_index }
    }
}
