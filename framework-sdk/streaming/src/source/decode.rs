//! Turns the fields of a CSV record into typed values, by the columns that the job declares.

use super::error::SourceError;
use crate::job::{Source, TimeFormat};
use crate::time;
use crate::value::{Type, Value};

/// One decoded record: the declared columns, and its own time.
pub(crate) struct Row {
    pub(crate) values: Vec<Value>,
    pub(crate) event_ms: Option<i64>,
}

/// Decodes the records of one file.
pub(crate) struct Decoder<'a> {
    source: &'a Source,
    /// Where each declared column stands in the file.
    indices: Vec<usize>,
    /// Index among the declared columns, and format, of the event time.
    event_time: Option<(usize, TimeFormat)>,
}

impl<'a> Decoder<'a> {
    /// Finds the declared columns in a file's header.
    ///
    /// # Errors
    /// If one is not there.
    pub(crate) fn new(source: &'a Source, file: &str, header: &[String]) -> Result<Self, SourceError> {
        let mut indices = Vec::new();
        for column in &source.columns {
            let index = header.iter().position(|name| *name == column.name);
            indices.push(index.ok_or_else(|| SourceError::MissingColumn {
                file: file.to_owned(),
                column: column.name.clone(),
            })?);
        }
        let event_time = source.event_time.as_ref().and_then(|event_time| {
            let index = source.columns.iter().position(|c| c.name == event_time.column)?;
            Some((index, event_time.format))
        });
        Ok(Self { source, indices, event_time })
    }

    /// Decodes one record; the error says which column does not fit.
    pub(crate) fn decode(&self, record: &csv::ByteRecord) -> Result<Row, String> {
        let mut values = Vec::with_capacity(self.indices.len());
        for (column, index) in self.source.columns.iter().zip(&self.indices) {
            let Some(field) = record.get(*index) else {
                return Err(format!("it has {} fields, column `{}` is missing", record.len(), column.name));
            };
            let Ok(text) = std::str::from_utf8(field) else {
                return Err(format!("column `{}` is not UTF-8", column.name));
            };
            if self.source.null_values.iter().any(|null| null == text) {
                values.push(Value::Null);
            } else if let Some(value) = column.kind.parse(text) {
                values.push(value);
            } else {
                return Err(format!("column `{}`: `{}` is no {}", column.name, shorten(text), column.kind));
            }
        }
        let event_ms = match self.event_time {
            None => None,
            Some((index, format)) => Some(event_ms(&values[index], format).ok_or_else(|| {
                let mut text = String::new();
                values[index].write_text(&mut text);
                let column = &self.source.columns[index].name;
                format!("column `{column}`: `{}` is no time of format {format:?}", shorten(&text))
            })?),
        };
        Ok(Row { values, event_ms })
    }
}

fn event_ms(value: &Value, format: TimeFormat) -> Option<i64> {
    match (format, value) {
        (TimeFormat::Rfc3339, Value::Time(ms)) => Some(*ms),
        (TimeFormat::Rfc3339, Value::Text(text)) => time::parse_rfc3339_ms(text),
        (TimeFormat::DateTimeUtc, Value::Text(text)) => time::parse_date_time_utc_ms(text),
        (TimeFormat::UnixMs | TimeFormat::UnixS, value) => {
            let Value::Int(number) = value.cast(Type::Int)? else { return None };
            if format == TimeFormat::UnixS { number.checked_mul(1000) } else { Some(number) }
        }
        _ => None,
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}
