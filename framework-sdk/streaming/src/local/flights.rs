//! The example job over the real data gives the known answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{published_files, run};
use crate::job::{Job, edit};

/// Carrier, flights, flights with a departure delay, sum of the delays in minutes: January 2013.
const KNOWN: &str = "9E 1573 1498 25290 | AA 2794 2735 18960 | AS 62 62 456 | B6 4427 4418 41942 | DL 3690 3661 14094 | \
    EV 4171 3989 96649 | F9 59 59 590 | FL 328 324 639 | HA 31 31 1686 | MQ 2271 2206 14307 | OO 1 1 67 | \
    UA 4637 4605 38342 | US 1602 1555 2826 | VX 316 315 335 | WN 996 985 9000 | YV 46 39 618";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[tokio::test]
async fn the_known_answers() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(examples().join("flights.toml")).unwrap();
    let path = |path: PathBuf| toml::Value::String(path.display().to_string());
    let text = edit(
        &text,
        &[
            ("source.path", path(examples().join("data/flights"))),
            ("sink.path", path(folder.path().join("out"))),
            ("checkpoint.path", path(folder.path().join("state"))),
            ("batch.interval_ms", toml::Value::Integer(10)),
            ("batch.max_records", toml::Value::Integer(3000)),
            ("backpressure.enabled", toml::Value::Boolean(false)),
        ],
    )
    .unwrap();
    let job = Job::from_toml_str(&text).unwrap();
    let register = run(&job).await.unwrap();
    assert!(register.finished);
    assert_eq!(
        (register.totals.records, register.totals.dropped_late, register.totals.bad_records),
        (27_004, 0, 0)
    );
    assert_eq!(register.committed.batch, 11, "ten batches and the end");

    let mut sums: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    let mut windows = BTreeMap::new();
    for file in published_files(&job.sink.path).unwrap() {
        let mut reader = csv::Reader::from_path(&file).unwrap();
        let header: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(
            header,
            ["window_start", "window_end", "carrier", "flights", "delayed_departures", "delay_minutes"]
        );
        for record in reader.records() {
            let record = record.unwrap();
            let before = windows.insert((record[0].to_owned(), record[2].to_owned()), file.clone());
            assert_eq!(before, None, "{record:?} twice");
            let sum = sums.entry(record[2].to_owned()).or_default();
            for (index, sum) in sum.iter_mut().enumerate() {
                *sum += record[3 + index].parse::<i64>().unwrap();
            }
        }
    }
    let answer: Vec<String> =
        sums.iter().map(|(carrier, [n, delayed, sum])| format!("{carrier} {n} {delayed} {sum}")).collect();
    assert_eq!(answer.join(" | "), KNOWN);
    assert_eq!(register.totals.windows_closed, 32, "31 days of New York touch 32 days of UTC");
    assert_eq!(std::fs::read_dir(folder.path().join("out/.staging")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(folder.path().join("state/state")).unwrap().count(), 0);
}
