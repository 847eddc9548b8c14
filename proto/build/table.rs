//! The facts about the messages that prost does not keep: what was required, what has a default, what is deprecated, and
//! under which Rust path prost puts each type.

use std::collections::BTreeMap;

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Every message and enum of all files.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<String>,
}

pub(crate) struct Message {
    /// Full name in the protocol, without a leading dot.
    pub(crate) name: String,
    /// Absolute Rust path.
    pub(crate) path: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) oneofs: Vec<Oneof>,
}

pub(crate) struct Field {
    /// Name on the wire.
    pub(crate) name: String,
    /// Rust field, or variant of a oneof.
    pub(crate) ident: String,
    pub(crate) shape: Shape,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// Rust expression of the declared default, if JSON output shows it when the field is unset.
    pub(crate) default: Option<String>,
}

pub(crate) struct Oneof {
    pub(crate) ident: String,
    pub(crate) path: String,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    One,
    Many,
    Map,
    /// Index into the oneofs of the message.
    Member(usize),
}

#[derive(Clone, PartialEq)]
pub(crate) enum Kind {
    /// A codec of `src/json/kinds.rs`.
    Plain(&'static str),
    Enum(String),
    Message(String),
}

impl Table {
    pub(crate) fn new(descriptors: &FileDescriptorSet) -> Self {
        let mut entries = BTreeMap::new();
        for file in &descriptors.file {
            for message in &file.message_type {
                collect_map_entries(&format!(".{}", file.package()), message, &mut entries);
            }
        }
        let mut table = Self::default();
        for file in &descriptors.file {
            let module =
                file.package().split('.').fold("crate".to_owned(), |path, part| path + "::" + &snake(part));
            for message in &file.message_type {
                table.message(file.package(), &module, message, &entries);
            }
            for item in &file.enum_type {
                table.enumeration(&module, item);
            }
        }
        table
    }

    fn enumeration(&mut self, module: &str, item: &EnumDescriptorProto) {
        self.enums.push(format!("{module}::{}", item.name().to_upper_camel_case()));
    }

    fn message(
        &mut self,
        scope: &str,
        module: &str,
        message: &DescriptorProto,
        entries: &BTreeMap<String, DescriptorProto>,
    ) {
        let name = format!("{scope}.{}", message.name());
        let inner = format!("{module}::{}", snake(message.name()));
        for nested in &message.nested_type {
            if !entries.contains_key(&format!(".{name}.{}", nested.name())) {
                self.message(&name, &inner, nested, entries);
            }
        }
        for item in &message.enum_type {
            self.enumeration(&inner, item);
        }
        let mut fields: Vec<Field> =
            message.field.iter().map(|field| Field::new(&name, field, entries)).collect();
        fields.iter_mut().zip(&message.field).for_each(|(ours, field)| {
            if let Shape::Member(_) = ours.shape {
                ours.ident = field.name().to_upper_camel_case();
            }
        });
        let oneofs = message.oneof_decl.iter().map(|oneof| Oneof {
            ident: snake(oneof.name()),
            path: format!("{inner}::{}", oneof.name().to_upper_camel_case()),
        });
        let oneofs = oneofs.collect();
        let path = format!("{module}::{}", message.name().to_upper_camel_case());
        self.messages.push(Message { name, path, fields, oneofs });
    }
}

impl Field {
    fn new(scope: &str, field: &FieldDescriptorProto, entries: &BTreeMap<String, DescriptorProto>) -> Self {
        let entry = entries.get(field.type_name());
        let shape = match (entry, field.label(), field.oneof_index) {
            (Some(_), ..) => Shape::Map,
            (None, Label::Repeated, _) => Shape::Many,
            (None, _, Some(index)) => {
                Shape::Member(usize::try_from(index).expect("oneof indexes are not negative"))
            }
            (None, ..) => Shape::One,
        };
        let kind = match entry {
            None => kind_of(field),
            Some(entry) => {
                let [key, value] = &entry.field[..] else { panic!("{scope}.{}: not a map", field.name()) };
                assert_eq!(
                    key.r#type(),
                    Type::String,
                    "{scope}.{}: only text can be a map key",
                    field.name()
                );
                kind_of(value)
            }
        };
        let deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
        let default =
            field.default_value.as_ref().filter(|_| !deprecated).map(|text| match (&kind, field.r#type()) {
                (Kind::Enum(path), _) => {
                    format!("{path}::from_str_name({text:?}).map_or(0, |value| value as i32)")
                }
                (_, Type::String) => format!("{text:?}.to_owned()"),
                (_, Type::Double | Type::Float) if !text.contains(['.', 'e', 'i', 'n']) => {
                    format!("{text}.0")
                }
                (_, Type::Bytes) => panic!("{scope}.{}: default for bytes", field.name()),
                _ => text.clone(),
            });
        let required = field.label() == Label::Required;
        Self { name: field.name().to_owned(), ident: snake(field.name()), shape, kind, required, default }
    }
}

fn kind_of(field: &FieldDescriptorProto) -> Kind {
    Kind::Plain(match field.r#type() {
        Type::Message => return Kind::Message(rust_path(field.type_name())),
        Type::Enum => return Kind::Enum(rust_path(field.type_name())),
        Type::Group | Type::Float => panic!("{}: there is no codec for groups and floats", field.name()),
        Type::String => "Text",
        Type::Bytes => "Binary",
        Type::Bool => "Bool",
        Type::Double => "Double",
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => "Int32",
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => "Int64",
        Type::Uint32 | Type::Fixed32 => "Uint32",
        Type::Uint64 | Type::Fixed64 => "Uint64",
    })
}

fn collect_map_entries(
    scope: &str,
    message: &DescriptorProto,
    entries: &mut BTreeMap<String, DescriptorProto>,
) {
    let name = format!("{scope}.{}", message.name());
    if message.options.as_ref().is_some_and(|options| options.map_entry()) {
        entries.insert(name.clone(), message.clone());
    }
    for nested in &message.nested_type {
        collect_map_entries(&name, nested, entries);
    }
}

/// `.mesos.v1.TaskInfo` → `crate::mesos::v1::TaskInfo`; everything above the last part is a module.
fn rust_path(full: &str) -> String {
    let parts: Vec<&str> = full.trim_start_matches('.').split('.').collect();
    let (last, modules) = parts.split_last().expect("a type has a name");
    let modules = modules.iter().fold("crate".to_owned(), |path, part| path + "::" + &snake(part));
    format!("{modules}::{}", last.to_upper_camel_case())
}

/// The name that prost gives to a field or module.
fn snake(name: &str) -> String {
    const KEYWORDS: [&str; 22] = [
        "as", "box", "break", "const", "continue", "do", "enum", "final", "fn", "for", "if", "in", "loop",
        "match", "mod", "move", "override", "priv", "ref", "type", "use", "where",
    ];
    let ident = name.to_snake_case();
    if KEYWORDS.contains(&ident.as_str()) { format!("r#{ident}") } else { ident }
}
