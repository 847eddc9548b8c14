//! Messages as trees of values: made by chance from a schema, independent of both encodings.

use std::sync::Arc;

use super::random::Chance;
use super::schema::{Field, Kind, Message, Schema, Shape};

/// Levels of messages within messages.
const MAX_DEPTH: usize = 8;
/// Values in one tree.
const MAX_VALUES: usize = 300;

/// One message: its fields in order, without those that are absent.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// Full name of the message.
    pub(super) message: String,
    pub(super) fields: Vec<(Arc<Field>, Content)>,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    One(Value),
    Many(Vec<Value>),
    Map(Vec<(String, Value)>),
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Nothing stands for a value that nobody knows.
    Enum(Option<(String, i32)>),
    Message(Tree),
}

/// Makes one tree.
pub(super) fn grow(schema: &Schema, root: &str, chance: &mut Chance) -> Tree {
    Gardener { schema, chance, left: MAX_VALUES }.message(root, 0)
}

struct Gardener<'a> {
    schema: &'a Schema,
    chance: &'a mut Chance,
    left: usize,
}

impl Gardener<'_> {
    fn message(&mut self, name: &str, depth: usize) -> Tree {
        if name == "mesos.v1.ContainerID" && self.chance.percent(5) {
            return self.deep(name);
        }
        let message = self.schema.message(name);
        let chosen = (depth == 0).then(|| self.kind_of_call(message)).flatten();
        let mut taken = Vec::new();
        let mut fields = Vec::new();
        for field in &message.fields {
            if field.oneof.is_some_and(|oneof| taken.contains(&oneof)) {
                continue;
            }
            let percent = match (&chosen, field.shape) {
                (Some(_), _) if field.name == "type" => 100,
                (Some((kind, _)), _) if field.name == kind.to_lowercase() => 95,
                (Some(_), _) if matches!(field.kind, Kind::Message(_)) && !field.name.ends_with("_id") => 4,
                (_, Shape::Required) => 97,
                _ if depth <= 1 => 60,
                _ => 35,
            };
            let too_deep = depth >= MAX_DEPTH || self.left == 0;
            let inner = matches!(field.kind, Kind::Message(_));
            if !self.chance.percent(percent)
                || (too_deep && inner && field.shape != Shape::Required)
                || depth > 40
            {
                continue;
            }
            let content = match &chosen {
                Some((name, number)) if field.name == "type" && !self.chance.percent(2) => {
                    Content::One(Value::Enum(Some((name.clone(), *number))))
                }
                _ => self.content(field, depth),
            };
            taken.extend(field.oneof);
            fields.push((field.clone(), content));
        }
        Tree { message: message.name.clone(), fields }
    }

    /// The one message that can contain itself, around the depths at which decoders give up.
    fn deep(&mut self, name: &str) -> Tree {
        let message = self.schema.message(name);
        let field = |name: &str| message.fields.iter().find(|field| field.name == name).cloned();
        let (Some(value), Some(parent)) = (field("value"), field("parent")) else {
            panic!("no container id")
        };
        let text = Content::One(Value::Text("c".to_owned()));
        let tree = |fields| Tree { message: name.to_owned(), fields };
        let levels = *self.chance.pick(&[2, 31, 32, 33, 60, 90, 95, 99, 100, 120, 200]);
        (1..levels).fold(tree(vec![(value.clone(), text.clone())]), |inner, _| {
            tree(vec![(value.clone(), text.clone()), (parent.clone(), Content::One(Value::Message(inner)))])
        })
    }

    /// Which call or event the whole is to be.
    fn kind_of_call(&mut self, message: &Message) -> Option<(String, i32)> {
        let field = message.fields.iter().find(|field| field.name == "type")?;
        let Kind::Enum(name) = &field.kind else { return None };
        Some(self.chance.pick(self.schema.values(name)).clone())
    }

    fn content(&mut self, field: &Field, depth: usize) -> Content {
        match field.shape {
            Shape::Optional | Shape::Required => Content::One(self.value(&field.kind, depth)),
            Shape::Repeated => {
                let count = *self.chance.pick(&[0, 1, 1, 1, 2, 2, 3, 5]);
                Content::Many((0..count).map(|_| self.value(&field.kind, depth)).collect())
            }
            Shape::Map => {
                let count = *self.chance.pick(&[0, 1, 1, 2, 3]);
                let mut entries: Vec<(String, Value)> = Vec::new();
                for _ in 0..count {
                    let key = self.chance.text();
                    if entries.iter().all(|(known, _)| *known != key) {
                        let value = self.value(&field.kind, depth);
                        entries.push((key, value));
                    }
                }
                Content::Map(entries)
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "any number will do")]
    fn value(&mut self, kind: &Kind, depth: usize) -> Value {
        self.left = self.left.saturating_sub(1);
        match kind {
            Kind::Bool => Value::Bool(self.chance.percent(50)),
            Kind::Int32 => Value::Signed(i64::from(self.chance.signed() as i32)),
            Kind::Int64 => Value::Signed(self.chance.signed()),
            Kind::Uint32 => Value::Unsigned(u64::from(self.chance.signed() as u32)),
            Kind::Uint64 => Value::Unsigned(self.chance.signed() as u64),
            Kind::Double => Value::Double(self.chance.double()),
            Kind::Text => Value::Text(self.chance.text()),
            Kind::Bytes => {
                let most = *self.chance.pick(&[0, 3, 16, 16, 16, 100]);
                let bytes = if most == 16 {
                    (0..16).map(|_| self.chance.byte()).collect()
                } else {
                    self.chance.bytes(most)
                };
                Value::Bytes(bytes)
            }
            Kind::Enum(name) => {
                let known = !self.chance.percent(3);
                Value::Enum(known.then(|| self.chance.pick(self.schema.values(name)).clone()))
            }
            Kind::Message(name) => Value::Message(self.message(name, depth + 1)),
        }
    }
}
