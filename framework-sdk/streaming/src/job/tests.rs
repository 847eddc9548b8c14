//! What a description may say, and how it is told that it says something else.

use std::time::Duration;

use proptest::prelude::*;
use toml::Value;

use super::*;
use crate::value::Type;

const GOOD: &str = include_str!("../../../../examples/flights.toml");

fn problems(text: &str) -> Vec<String> {
    Job::from_toml_str(text).unwrap_err().problems.iter().map(Problem::to_string).collect()
}

#[test]
fn the_example_is_understood() {
    let job = Job::from_toml_str(GOOD).unwrap();
    assert_eq!((job.name.as_str(), job.slots, job.role.as_str()), ("flights", 4, "*"));
    assert!(job.source.finite);
    assert_eq!(job.source.event_time.as_ref().unwrap().watermark_delay, Duration::from_secs(3600));
    let output: Vec<(String, Type)> = job.output_columns().into_iter().map(|c| (c.name, c.kind)).collect();
    let names = ["window_start", "window_end", "carrier", "flights", "delayed_departures", "delay_minutes"];
    let kinds = [Type::Time, Type::Time, Type::Text, Type::Int, Type::Int, Type::Int];
    assert_eq!(output, names.map(str::to_owned).into_iter().zip(kinds).collect::<Vec<_>>());
    assert_eq!((job.batch.interval, job.batch.max_bytes), (Duration::from_millis(500), 1 << 20));
}

#[test]
fn every_problem_names_its_key() {
    let text = |v: &str| Value::String(v.to_owned());
    let cases: Vec<(&str, Value, &str)> = vec![
        ("name", text("Flights!"), "name: must be 1 to 63 of a-z"),
        ("name", Value::Integer(1), "name: expected a string, found integer"),
        ("nmae", text("x"), "nmae: unknown key"),
        ("slots", Value::Integer(0), "slots: must be between 1 and 32"),
        ("slots", Value::Integer(-1), "slots: must be between 1 and 32"),
        ("role", text(""), "role: must not be empty"),
        ("source.kind", text("kafka"), "source.kind: unknown value `kafka`, expected `files`"),
        ("source.path", text(""), "source.path: must not be empty"),
        ("source.path", text("s3://bucket"), "source.path: only folders and file:// URIs"),
        ("source.path", text("file://bucket"), "source.path: a file URI has the form"),
        ("source.pth", text("x"), "source.pth: unknown key"),
        ("source.finite", text("yes"), "source.finite: expected true or false, found string"),
        (
            "source.compression",
            text("zip"),
            "source.compression: unknown value `zip`, expected one of `auto`",
        ),
        ("source.columns", Value::Array(vec![]), "source.columns: must name at least one column"),
        ("source.columns", Value::Array(vec![Value::Integer(1)]), "source.columns[0]: expected a table"),
        (
            "source.null_values",
            Value::Array(vec![Value::Integer(1)]),
            "source.null_values[0]: expected a string",
        ),
        (
            "source.event_time.column",
            text("when"),
            "source.event_time.column: unknown column `when`, known are carrier",
        ),
        (
            "source.event_time.column",
            text("dep_delay"),
            "column `dep_delay` of type int does not fit the format",
        ),
        (
            "source.event_time.watermark_delay",
            text("soon"),
            "source.event_time.watermark_delay: expected a duration",
        ),
        (
            "source.event_time.watermark_delay",
            text("9999d"),
            "source.event_time.watermark_delay: must be between",
        ),
        ("operators", Value::Table(toml::Table::new()), "operators: expected an array of tables"),
        ("window.size", text("0ms"), "window.size: must be between"),
        ("window.kind", text("hopping"), "window.kind: unknown value `hopping`"),
        (
            "aggregate.keys",
            Value::Array(vec![text("airline")]),
            "aggregate.keys[0]: unknown column `airline`",
        ),
        ("aggregate.values", Value::Array(vec![]), "aggregate.values: must name at least one value"),
        (
            "sink.format",
            text("parquet"),
            "sink.format: unknown value `parquet`, expected one of `csv`, `jsonl`",
        ),
        ("checkpoint.path", Value::Integer(1), "checkpoint.path: expected a string"),
        ("batch.interval_ms", Value::Integer(1), "batch.interval_ms: must be between 10 and 3600000"),
        ("batch.max_bytes", text("8 MB"), "batch.max_bytes: expected a size"),
        ("batch.max_bytes", text("8TiB"), "batch.max_bytes: expected a size"),
        ("executors.cpus", Value::Float(0.0), "executors.cpus: must be between"),
        ("executors.count", Value::Boolean(true), "executors.count: expected an integer"),
        (
            "backpressure.min_records",
            Value::Integer(999_999),
            "backpressure.min_records: must be between 1 and 340",
        ),
    ];
    for (key, value, expected) in cases {
        let found = problems(&edit(GOOD, &[(key, value.clone())]).unwrap());
        assert!(found.iter().any(|problem| problem.contains(expected)), "{key} = {value}: {found:?}");
    }
}

#[test]
fn operators_and_aggregates_are_checked_against_the_columns_they_get() {
    let with = |old: &str, new: &str| {
        assert!(GOOD.contains(old), "{old}");
        GOOD.replace(old, new)
    };
    for (text, expected) in [
        (
            with("column = \"dep_delay\", as", "column = \"delay\", as"),
            "operators[0].project[1].column: unknown column",
        ),
        (
            with("as = \"delay\" }", "as = \"carrier\" }"),
            "operators[0].project: column `carrier` is made twice",
        ),
        (
            with("as = \"delay\" }", "as = \"delay\", cast = \"float\" }"),
            "operators[0].project[1].cast: unknown type",
        ),
        (
            with("as = \"delay\" }", "as = \"delay\", cast = \"text\" }"),
            "aggregate.values[2].column: a column of type text cannot be added up",
        ),
        (
            with("function = \"sum\"", "function = \"median\""),
            "aggregate.values[2].function: unknown value `median`",
        ),
        (
            with("as = \"flights\"", "as = \"carrier\""),
            "aggregate.values: output column `carrier` is made twice",
        ),
        (
            with("[[operators]]", "[[operators]]\nfilter = \"x == 1\""),
            "operators[0]: has both `filter` and `project`",
        ),
        (
            with("[[operators]]", "[[operators]]\nfilter = \"delay > 5\"\n[[operators]]"),
            "operators[0].filter: unknown column `delay`",
        ),
        (
            with("[[operators]]", "[[operators]]\n[[operators]]"),
            "operators[0]: expected `filter` or `project`",
        ),
        (with("[window]\nkind = \"tumbling\"\nsize = \"1d\"", ""), "window: missing: an aggregation"),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let found = problems("");
    for key in
        ["name", "source.kind", "source.path", "source.columns", "sink.kind", "sink.path", "checkpoint.path"]
    {
        assert!(
            found.iter().any(|problem| problem.starts_with(&format!("{key}: missing"))),
            "{key}: {found:?}"
        );
    }
    assert!(problems("name = ").len() == 1, "no TOML at all");
}

#[test]
fn only_what_gives_state_its_meaning_is_in_the_topology() {
    let hash = |key: &str, value: Value| {
        Job::from_toml_str(&edit(GOOD, &[(key, value)]).unwrap()).unwrap().topology_hash()
    };
    let original = Job::from_toml_str(GOOD).unwrap().topology_hash();
    for (key, value) in [
        ("source.path", Value::String("/elsewhere".into())),
        ("batch.max_records", Value::Integer(1000)),
        ("executors.count", Value::Integer(7)),
        ("slots", Value::Integer(9)),
    ] {
        assert_eq!(hash(key, value), original, "{key}");
    }
    for (key, value) in [
        ("window.size", Value::String("1h".into())),
        ("source.event_time.watermark_delay", Value::String("2h".into())),
        ("sink.format", Value::String("jsonl".into())),
        ("aggregate.keys", Value::Array(vec![])),
    ] {
        assert_ne!(hash(key, value), original, "{key}");
    }
}

proptest! {
    #[test]
    fn checking_never_panics(line in 0usize..80, junk in "[a-z0-9 =\"\\[\\]{}.,_-]{0,20}") {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        let at = line.min(lines.len() - 1);
        lines[at] = &junk;
        let _ = Job::from_toml_str(&lines.join("\n"));
    }
}
