//! The rules and limits of a job description. Collects every problem, then gives a [`Job`] or all of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use toml::Table;

use super::error::JobError;
use super::expr::{self, Expr};
use super::section::Section;
use super::spec::*;
use crate::value::{Column, Type};

const MAX_TEXT_BYTES: usize = 48 * 1024;
const MAX_COLUMNS: usize = 256;
const MAX_OPERATORS: usize = 32;
const MAX_AGGREGATES: usize = 64;
const MAX_KEYS: usize = 16;
/// Slots and state references of the largest job still fit the register.
const MAX_SLOTS: u64 = 32;
const MAX_BATCH_RECORDS: u64 = 1_000_000;
const MAX_BATCH_BYTES: u64 = 256 << 20;
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn job(text: &str) -> Result<Job, JobError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(JobError::one("", format!("longer than {MAX_TEXT_BYTES} bytes")));
    }
    let table: Table =
        toml::from_str(text).map_err(|e| JobError::one("", e.to_string().trim_end().to_owned()))?;
    let mut problems = Vec::new();
    let job = read(Section::root(table, &mut problems), text);
    if problems.is_empty() { Ok(job) } else { Err(JobError { problems }) }
}

fn read(mut root: Section<'_>, text: &str) -> Job {
    let name = root.text("name");
    if !name.is_empty() && !valid_job_name(&name) {
        root.problem(
            "name",
            "must be 1 to 63 of a-z, 0-9 and `-`, and start and end with a letter or a digit",
        );
    }
    let role = root.optional_text("role").unwrap_or_else(|| "*".to_owned());
    if role.is_empty() || role.len() > 255 || role.contains(char::is_whitespace) {
        root.problem("role", "must not be empty, longer than 255 bytes or contain blanks");
    }
    let slots = root.integer("slots", 4, 1, MAX_SLOTS);
    let source = root.section("source", source);
    let mut columns = source.columns.clone();
    let operators = root.sections("operators", MAX_OPERATORS, |section| operator(section, &mut columns));
    let aggregate = aggregate(&mut root, &columns, source.event_time.is_some());
    let sink = root.section("sink", |s| {
        s.choice("kind", &[("files", ())], None);
        Sink {
            path: path(s, "path"),
            format: s.choice(
                "format",
                &[("csv", SinkFormat::Csv), ("jsonl", SinkFormat::Jsonl)],
                Some(SinkFormat::Csv),
            ),
        }
    });
    let checkpoint = root.section("checkpoint", |s| Checkpoint { path: path(s, "path") });
    let batch = root.section("batch", batch);
    let executors = root.section("executors", |s| Executors {
        count: to_u32(s.integer("count", 2, 1, 1000)),
        cpus: s.number("cpus", 0.5, 0.01, 1024.0),
        mem_mib: s.integer("mem", 128, 16, 1 << 22),
    });
    let back_pressure = root.section("backpressure", |s| back_pressure(s, &batch));
    root.finish();
    Job {
        name,
        role,
        slots: to_u32(slots),
        source,
        operators: operators.into_iter().flatten().collect(),
        aggregate,
        sink,
        checkpoint,
        batch,
        executors,
        back_pressure,
        text: text.to_owned(),
    }
}

/// Job names are also task ids, file names and register scopes.
fn valid_job_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= 63 && name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}

fn to_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn path(section: &mut Section<'_>, key: &str) -> PathBuf {
    let text = section.text(key);
    let plain = match text.strip_prefix("file://") {
        Some(rest) if !rest.starts_with('/') => {
            section.problem(key, "a file URI has the form file:///folder");
            rest
        }
        Some(rest) => rest,
        None if text.contains("://") => {
            section.problem(key, "only folders and file:// URIs are supported");
            ""
        }
        None => &text,
    };
    PathBuf::from(plain)
}

fn source(section: &mut Section<'_>) -> Source {
    section.choice("kind", &[("files", ())], None);
    let path = path(section, "path");
    section.choice("format", &[("csv", ())], Some(()));
    let compression = section.choice(
        "compression",
        &[("auto", Compression::Auto), ("none", Compression::None), ("gzip", Compression::Gzip)],
        Some(Compression::Auto),
    );
    let finite = section.boolean("finite", false);
    let null_values = section.texts("null_values", 16).unwrap_or_else(|| vec![String::new()]);
    let on_bad_record = section.choice(
        "on_bad_record",
        &[("fail", OnBadRecord::Fail), ("skip", OnBadRecord::Skip)],
        Some(OnBadRecord::Fail),
    );
    let present = section.has("columns");
    let mut names = BTreeSet::new();
    let columns = section.sections("columns", MAX_COLUMNS, |s| {
        let name = s.text("name");
        let kind = column_type(s, "type").unwrap_or(Type::Text);
        if !name.is_empty() && !names.insert(name.clone()) {
            s.problem("name", format!("column `{name}` is named twice"));
        }
        Column { name, kind }
    });
    if columns.is_empty() {
        section.problem("columns", if present { "must name at least one column" } else { "missing" });
    }
    let event_time =
        section.has("event_time").then(|| section.section("event_time", |s| event_time(s, &columns)));
    Source { path, compression, finite, columns, null_values, event_time, on_bad_record }
}

fn column_type(section: &mut Section<'_>, key: &str) -> Option<Type> {
    let text = section.optional_text(key)?;
    let kind = Type::from_name(&text);
    if kind.is_none() {
        section.problem(key, format!("unknown type `{text}`, expected one of {}", Type::NAMES.join(", ")));
    }
    kind
}

fn event_time(section: &mut Section<'_>, columns: &[Column]) -> EventTime {
    let column = section.text("column");
    let format = section.choice(
        "format",
        &[
            ("rfc3339", TimeFormat::Rfc3339),
            ("date_time_utc", TimeFormat::DateTimeUtc),
            ("unix_ms", TimeFormat::UnixMs),
            ("unix_s", TimeFormat::UnixS),
        ],
        Some(TimeFormat::Rfc3339),
    );
    let watermark_delay = section.duration("watermark_delay", Duration::ZERO, DAY * 366).unwrap_or_default();
    match columns.iter().find(|c| c.name == column) {
        None if column.is_empty() => {}
        None => section.problem("column", format!("unknown column `{column}`{}", expr::known(columns))),
        Some(found) => {
            let fits = match format {
                TimeFormat::Rfc3339 => matches!(found.kind, Type::Text | Type::Time),
                TimeFormat::DateTimeUtc => found.kind == Type::Text,
                TimeFormat::UnixMs | TimeFormat::UnixS => matches!(found.kind, Type::Text | Type::Int),
            };
            if !fits {
                section.problem(
                    "column",
                    format!("column `{column}` of type {} does not fit the format", found.kind),
                );
            }
        }
    }
    EventTime { column, format, watermark_delay }
}

fn operator(section: &mut Section<'_>, columns: &mut Vec<Column>) -> Option<Operator> {
    match (section.has("filter"), section.has("project")) {
        (true, false) => {
            let text = section.text("filter");
            match Expr::parse(&text, columns) {
                Ok(expr) => return Some(Operator::Filter(expr)),
                Err(_) if text.is_empty() => {}
                Err(message) => section.problem("filter", message),
            }
        }
        (false, true) => {
            let projections = section.sections("project", MAX_COLUMNS, |s| projection(s, columns));
            if projections.is_empty() {
                section.problem("project", "must name at least one column");
            }
            let mut names = BTreeSet::new();
            for projection in &projections {
                if !names.insert(projection.output.name.clone()) {
                    section.problem("project", format!("column `{}` is made twice", projection.output.name));
                }
            }
            *columns = projections.iter().map(|p| p.output.clone()).collect();
            return Some(Operator::Project(projections));
        }
        (true, true) => section.problem("", "has both `filter` and `project`: make two operators of it"),
        (false, false) => section.problem("", "expected `filter` or `project`"),
    }
    None
}

fn projection(section: &mut Section<'_>, columns: &[Column]) -> Projection {
    let input = section.text("column");
    let name = section.optional_text("as").unwrap_or_else(|| input.clone());
    let cast = column_type(section, "cast");
    let found = columns.iter().find(|c| c.name == input);
    if found.is_none() && !input.is_empty() {
        section.problem("column", format!("unknown column `{input}`{}", expr::known(columns)));
    }
    if name.is_empty() {
        section.problem("as", "must not be empty");
    }
    let kind = cast.or(found.map(|c| c.kind)).unwrap_or(Type::Text);
    Projection { input, output: Column { name, kind } }
}

fn aggregate(root: &mut Section<'_>, columns: &[Column], has_event_time: bool) -> Option<Aggregate> {
    match (root.has("window"), root.has("aggregate")) {
        (false, false) => return None,
        (true, false) => root.problem("aggregate", "missing: a window needs an aggregation"),
        (false, true) => {
            root.problem("window", "missing: an aggregation of an endless stream needs a window")
        }
        (true, true) => {}
    }
    if !has_event_time {
        root.problem("source.event_time", "missing: windows need the records' own time");
    }
    let window = root.section("window", |s| {
        s.choice("kind", &[("tumbling", ())], Some(()));
        let present = s.has("size");
        let size = s.duration("size", Duration::from_millis(1), DAY * 3660);
        if !present {
            s.problem("size", "missing");
        }
        let size = size.unwrap_or(DAY);
        let offset = s.duration("offset", Duration::ZERO, size).unwrap_or_default();
        Window { size_ms: millis(size), offset_ms: millis(offset) }
    });
    let (keys, values) = root.section("aggregate", |s| {
        let keys = s.texts("keys", MAX_KEYS).unwrap_or_default();
        for (index, key) in keys.iter().enumerate() {
            if !columns.iter().any(|c| c.name == *key) {
                s.problem(
                    &format!("keys[{index}]"),
                    format!("unknown column `{key}`{}", expr::known(columns)),
                );
            }
        }
        let values = s.sections("values", MAX_AGGREGATES, |s| aggregate_value(s, columns));
        if values.is_empty() {
            s.problem("values", "must name at least one value");
        }
        let mut names: BTreeSet<&str> = BTreeSet::from(["window_start", "window_end"]);
        let all = keys.iter().map(String::as_str).chain(values.iter().map(|v| v.name.as_str()));
        let twice: Vec<&str> = all.filter(|name| !names.insert(name)).collect();
        for name in twice {
            s.problem("values", format!("output column `{name}` is made twice"));
        }
        (keys, values)
    });
    Some(Aggregate { window, keys, values })
}

fn aggregate_value(section: &mut Section<'_>, columns: &[Column]) -> AggregateValue {
    let function = section.choice(
        "function",
        &[
            ("count", AggregateFunction::Count),
            ("sum", AggregateFunction::Sum),
            ("min", AggregateFunction::Min),
            ("max", AggregateFunction::Max),
            ("avg", AggregateFunction::Avg),
        ],
        None,
    );
    let name = section.text("as");
    let given = section.optional_text("column");
    let column = given.as_ref().and_then(|name| columns.iter().find(|c| c.name == *name)).cloned();
    match (&given, &column) {
        (Some(name), None) => {
            section.problem("column", format!("unknown column `{name}`{}", expr::known(columns)))
        }
        (None, _) if function != AggregateFunction::Count => section.problem("column", "missing"),
        _ => {}
    }
    let kind = column.as_ref().map_or(Type::Int, |c| c.kind);
    if matches!(function, AggregateFunction::Sum | AggregateFunction::Avg)
        && column.is_some()
        && !matches!(kind, Type::Int | Type::Decimal)
    {
        section.problem(
            "column",
            format!("a column of type {kind} cannot be added up, cast it to int or decimal"),
        );
    }
    let output = match function {
        AggregateFunction::Count => Type::Int,
        AggregateFunction::Avg => Type::Decimal,
        AggregateFunction::Sum | AggregateFunction::Min | AggregateFunction::Max => kind,
    };
    AggregateValue { name, function, column, output }
}

fn batch(section: &mut Section<'_>) -> Batch {
    Batch {
        interval: Duration::from_millis(section.integer("interval_ms", 1000, 10, 3_600_000)),
        max_records: section.integer("max_records", 100_000, 1, MAX_BATCH_RECORDS),
        max_bytes: section.bytes("max_bytes", 32 << 20, 1024, MAX_BATCH_BYTES),
        slot_timeout: Duration::from_millis(section.integer("slot_timeout_ms", 30_000, 100, 3_600_000)),
    }
}

fn back_pressure(section: &mut Section<'_>, batch: &Batch) -> BackPressure {
    let interval_ms = u64::try_from(batch.interval.as_millis()).unwrap_or(u64::MAX);
    BackPressure {
        enabled: section.boolean("enabled", true),
        target: Duration::from_millis(section.integer("target_ms", interval_ms.max(50), 10, 3_600_000)),
        min_records: section.integer("min_records", (batch.max_records / 100).max(1), 1, batch.max_records),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
