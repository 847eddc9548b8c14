//! Trees as bytes: both encodings, written here once more so that they do not share a mistake with the decoders. Each has the liberties
//! that a peer may take.

use std::fmt::Write as _;

use super::random::Chance;
use super::schema::{Kind, Schema};
use super::tree::{Content, Tree, Value};

/// Mesos' JSON of a tree.
pub(super) fn json(schema: &Schema, tree: &Tree, chance: &mut Chance) -> Vec<u8> {
    let mut out = String::new();
    object(schema, tree, chance, &mut out);
    out.into_bytes()
}

fn object(schema: &Schema, tree: &Tree, chance: &mut Chance, out: &mut String) {
    out.push('{');
    let mut first = true;
    let mut name = |name: &str, out: &mut String| {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        string(name, out);
        out.push(':');
    };
    for field in &schema.message(&tree.message).fields {
        if tree.fields.iter().all(|(present, _)| present.name != field.name) && chance.percent(3) {
            name(&field.name, out);
            out.push_str("null");
        }
    }
    if chance.percent(3) {
        name("frameworkId", out);
        out.push_str(chance.word(&["{\"type\":[1,{}]}", "null", "-1.5e7", "\"\\ud83d\\ude00\"", "[[[]]]"]));
    }
    for (field, content) in &tree.fields {
        let alias = field.name == "agent_id" && tree.message.starts_with("mesos.") && chance.percent(10);
        name(if alias { "slave_id" } else { &field.name }, out);
        match content {
            Content::One(one) => value(schema, one, chance, out),
            Content::Many(values) => match &values[..] {
                [] if chance.percent(50) => out.push_str("null"),
                [one] if chance.percent(20) => value(schema, one, chance, out),
                values => {
                    let nested = chance.percent(5);
                    out.push_str(if nested { "[[" } else { "[" });
                    for (index, one) in values.iter().enumerate() {
                        if index > 0 {
                            out.push(',');
                        }
                        if chance.percent(2) {
                            out.push_str("null,");
                        }
                        value(schema, one, chance, out);
                    }
                    out.push_str(if nested { "],[]]" } else { "]" });
                }
            },
            Content::Map(entries) => {
                out.push('{');
                for (index, (key, one)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    string(key, out);
                    out.push(':');
                    value(schema, one, chance, out);
                }
                out.push('}');
            }
        }
        if chance.percent(2) {
            out.push_str(chance.word(&[" ", "\n", "\t \r\n"]));
        }
    }
    out.push('}');
}

fn value(schema: &Schema, value: &Value, chance: &mut Chance, out: &mut String) {
    let quoted = chance.percent(8);
    match value {
        Value::Bool(value) => bare(&value.to_string(), quoted, out),
        Value::Signed(value) if value.unsigned_abs() < 1 << 50 && chance.percent(5) => {
            let _ = write!(out, "{value}.0");
        }
        Value::Signed(value) => bare(&value.to_string(), quoted, out),
        Value::Unsigned(value) => bare(&value.to_string(), quoted, out),
        Value::Double(value) if value.is_nan() => out.push_str("\"NaN\""),
        Value::Double(value) if value.is_infinite() => {
            out.push_str(if *value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
        }
        Value::Double(value) => bare(&format!("{value:?}"), quoted, out),
        Value::Text(text) => string(text, out),
        Value::Bytes(bytes) => {
            let _ = write!(out, "\"{}\"", base64(bytes));
        }
        Value::Enum(Some((name, _))) => string(name, out),
        Value::Enum(None) => out.push_str("\"NOBODY_KNOWS_THIS\""),
        Value::Message(tree) => object(schema, tree, chance, out),
    }
}

fn bare(text: &str, quoted: bool, out: &mut String) {
    let quote = if quoted { "\"" } else { "" };
    let _ = write!(out, "{quote}{text}{quote}");
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for one in text.chars() {
        match one {
            '"' | '\\' => out.extend(['\\', one]),
            one if one < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(one));
            }
            one => out.push(one),
        }
    }
    out.push('"');
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4_usize {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Protobuf of a tree.
pub(super) fn protobuf(schema: &Schema, tree: &Tree, chance: &mut Chance) -> Vec<u8> {
    let mut out = Vec::new();
    let mut fields: Vec<_> = tree.fields.iter().collect();
    if chance.percent(10) {
        fields.reverse();
    }
    if chance.percent(3) {
        // Something from a later version.
        key(15_000, 0, &mut out);
        varint(u64::MAX, &mut out);
        key(15_001, 2, &mut out);
        piece(b"later", &mut out);
    }
    for (field, content) in fields {
        match content {
            Content::One(one) => scalar(schema, field.number, one, chance, &mut out),
            Content::Many(values) => {
                let numbers = !matches!(field.kind, Kind::Text | Kind::Bytes | Kind::Message(_));
                if numbers && chance.percent(20) {
                    let mut packed = Vec::new();
                    values.iter().for_each(|one| number(one, &mut packed));
                    key(field.number, 2, &mut out);
                    piece(&packed, &mut out);
                } else {
                    values.iter().for_each(|one| scalar(schema, field.number, one, chance, &mut out));
                }
            }
            Content::Map(entries) => {
                for (name, one) in entries {
                    let mut entry = Vec::new();
                    key(1, 2, &mut entry);
                    piece(name.as_bytes(), &mut entry);
                    scalar(schema, 2, one, chance, &mut entry);
                    key(field.number, 2, &mut out);
                    piece(&entry, &mut out);
                }
            }
        }
    }
    out
}

fn scalar(schema: &Schema, field: u32, value: &Value, chance: &mut Chance, out: &mut Vec<u8>) {
    match value {
        Value::Double(_) => {
            key(field, 1, out);
            number(value, out);
        }
        Value::Text(text) => {
            key(field, 2, out);
            piece(text.as_bytes(), out);
        }
        Value::Bytes(bytes) => {
            key(field, 2, out);
            piece(bytes, out);
        }
        Value::Message(tree) => {
            let inner = protobuf(schema, tree, chance);
            key(field, 2, out);
            piece(&inner, out);
        }
        _ => {
            key(field, 0, out);
            number(value, out);
        }
    }
}

#[expect(clippy::cast_sign_loss, reason = "negative numbers are written as their two's complement")]
fn number(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => varint(u64::from(*value), out),
        Value::Signed(value) => varint(*value as u64, out),
        Value::Unsigned(value) => varint(*value, out),
        Value::Enum(Some((_, number))) => varint(i64::from(*number) as u64, out),
        Value::Enum(None) => varint(777_777, out),
        Value::Double(value) => out.extend(value.to_le_bytes()),
        Value::Text(_) | Value::Bytes(_) | Value::Message(_) => {}
    }
}

fn key(field: u32, wire: u32, out: &mut Vec<u8>) {
    varint(u64::from(field << 3 | wire), out);
}

fn piece(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f | 0x80) as u8);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}
