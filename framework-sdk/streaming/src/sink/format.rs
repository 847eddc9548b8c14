//! Output rows as CSV or JSON lines. The same rows always give the same bytes.

use crate::job::SinkFormat;
use crate::value::{Column, Value};

/// Encodes `rows` as one file; CSV starts with the column names.
pub(crate) fn encode_rows(format: SinkFormat, columns: &[Column], rows: &[Vec<Value>]) -> Vec<u8> {
    match format {
        SinkFormat::Csv => csv_file(columns, rows),
        SinkFormat::Jsonl => json_lines(columns, rows),
    }
}

fn csv_file(columns: &[Column], rows: &[Vec<Value>]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    // Writing to memory cannot fail.
    drop(writer.write_record(columns.iter().map(|c| c.name.as_bytes())));
    let mut text = String::new();
    for row in rows {
        for value in row {
            text.clear();
            value.write_text(&mut text);
            drop(writer.write_field(&text));
        }
        drop(writer.write_record(None::<&[u8]>));
    }
    writer.into_inner().unwrap_or_default()
}

fn json_lines(columns: &[Column], rows: &[Vec<Value>]) -> Vec<u8> {
    let mut text = String::new();
    for row in rows {
        text.push('{');
        for (index, (column, value)) in columns.iter().zip(row).enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&quoted(&column.name));
            text.push(':');
            match value {
                Value::Null => text.push_str("null"),
                Value::Bool(_) | Value::Int(_) | Value::Decimal(_) => value.write_text(&mut text),
                Value::Time(_) | Value::Text(_) => {
                    let mut plain = String::new();
                    value.write_text(&mut plain);
                    text.push_str(&quoted(&plain));
                }
            }
        }
        text.push_str("}\n");
    }
    text.into_bytes()
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Type;

    #[test]
    fn both_formats() {
        let columns: Vec<Column> = [("a,b", Type::Text), ("n", Type::Decimal), ("t", Type::Time)]
            .map(|(name, kind)| Column { name: name.to_owned(), kind })
            .to_vec();
        let rows = [
            vec![Value::Text("x \"y\"\n".into()), Value::Decimal(-1_500_000), Value::Time(0)],
            vec![Value::Null, Value::Null, Value::Null],
        ];
        let text = |format| String::from_utf8(encode_rows(format, &columns, &rows)).unwrap();
        assert_eq!(text(SinkFormat::Csv), "\"a,b\",n,t\n\"x \"\"y\"\"\n\",-1.5,1970-01-01T00:00:00Z\n,,\n");
        assert_eq!(
            text(SinkFormat::Jsonl),
            "{\"a,b\":\"x \\\"y\\\"\\n\",\"n\":-1.5,\"t\":\"1970-01-01T00:00:00Z\"}\n{\"a,b\":null,\"n\":null,\"t\":null}\n"
        );
    }
}
