//! What a job does with data that is late, bad, changed, growing or spread over many files, and when its state is compacted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use toml::Value;

use super::{MemoryRegister, published_files, run_generation};
use crate::driver::{EngineError, Point, Probe, Stopped};
use crate::files::Disk;
use crate::job::{Job, edit};
use crate::register::{Register, RegisterStore};

const JOB: &str = r#"
    name = "t"
    slots = 3
    [source]
    kind = "files"
    path = "in"
    finite = true
    columns = [{ name = "n", type = "int" }, { name = "k" }, { name = "t", type = "int" }]
    event_time = { column = "t", format = "unix_ms", watermark_delay = "10ms" }
    [window]
    size = "100ms"
    [aggregate]
    keys = ["k"]
    values = [{ function = "count", as = "count" }, { function = "sum", column = "n", as = "sum" }]
    [sink]
    kind = "files"
    path = "out"
    [checkpoint]
    path = "state"
    [batch]
    interval_ms = 10
    max_records = 10
    [backpressure]
    enabled = false
"#;

/// Calls a function at every point; it may stop the engine.
#[derive(Clone)]
struct Watch(Arc<Mutex<dyn FnMut(Point, u64) -> bool + Send>>);

impl Watch {
    fn new(stops: impl FnMut(Point, u64) -> bool + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(stops)))
    }
}

impl Probe for Watch {
    async fn reach(&self, point: Point, batch: u64) -> Result<(), Stopped> {
        if (self.0.lock().unwrap())(point, batch) { Err(Stopped(point)) } else { Ok(()) }
    }
}

struct World {
    folder: TempDir,
    register: MemoryRegister,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("in")).unwrap();
        Self { folder, register: MemoryRegister::default() }
    }

    fn input(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("in").join(name)
    }

    async fn run(&self, changes: &[(&str, Value)], probe: Watch) -> Result<Register, EngineError> {
        let job =
            Job::from_toml_str(&edit(JOB, changes).unwrap()).unwrap().with_base(self.folder.path()).unwrap();
        let generation = self.register.next_generation();
        run_generation(&job, &self.register, generation, probe, Disk::VOLATILE).await
    }

    async fn peace(&self, changes: &[(&str, Value)]) -> Result<Register, EngineError> {
        self.run(changes, Watch::new(|_, _| false)).await
    }

    async fn stored(&self) -> serde_json::Value {
        let found = self.register.writer(0).get().await.unwrap().unwrap();
        serde_json::from_slice(&found.value).unwrap()
    }

    /// Sums over all windows by key: (count, sum).
    fn sums(&self) -> BTreeMap<String, (i64, i64)> {
        let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for file in published_files(&self.folder.path().join("out")).unwrap() {
            for record in csv::Reader::from_path(file).unwrap().records() {
                let record = record.unwrap();
                let sum = sums.entry(record[2].to_owned()).or_default();
                *sum = (sum.0 + record[3].parse::<i64>().unwrap(), sum.1 + record[4].parse::<i64>().unwrap());
            }
        }
        sums
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn records(range: std::ops::Range<i64>, time: impl Fn(i64) -> i64) -> String {
    range.map(|n| format!("{n},k{},{}\n", n % 2, time(n))).collect()
}

fn write(path: &Path, body: &str) {
    fs::write(path, format!("n,k,t\n{body}")).unwrap();
}

#[tokio::test]
async fn late_records_are_counted_and_left_out() {
    let world = World::new();
    // The first batch reaches time 1000; the second holds two stragglers, one of a window that is still open.
    let body = records(0..9, |n| n * 10) + "9,k1,1000\n10,k0,899\n11,k0,995\n" + &records(12..20, |_| 1000);
    write(&world.input("a.csv"), &body);
    let register = world.peace(&[]).await.unwrap();
    assert_eq!((register.totals.records, register.totals.dropped_late), (20, 1));
    let expected: i64 = (0..20).filter(|n| n % 2 == 0 && *n != 10).sum::<i64>() + 11;
    assert_eq!(world.sums()["k0"], (10, expected));
}

#[tokio::test]
async fn bad_records_stop_the_job_or_are_counted() {
    let world = World::new();
    write(&world.input("a.csv"), "1,k0,5\nx,k0,6\n3,k0,\n4\n5,k0,7\n");
    let error = world.peace(&[]).await.unwrap_err();
    assert!(matches!(&error, EngineError::Slot(failure) if !failure.transient), "{error}");
    assert!(error.to_string().contains("a.csv, record at byte 13: column `n`: `x` is no int"), "{error}");

    let other = World::new();
    fs::copy(world.input("a.csv"), other.input("a.csv")).unwrap();
    let register = other.peace(&[("source.on_bad_record", text("skip"))]).await.unwrap();
    assert_eq!((register.totals.records, register.totals.bad_records), (5, 3));
    assert_eq!(other.sums()["k0"], (2, 6));
}

#[tokio::test]
async fn a_file_without_a_declared_column_is_named() {
    let world = World::new();
    fs::write(world.input("a.csv"), "n,key,t\n1,k0,5\n").unwrap();
    let error = world.peace(&[]).await.unwrap_err();
    assert!(error.to_string().contains("a.csv has no column `k`"), "{error}");
}

#[tokio::test]
async fn a_file_that_changes_after_it_was_planned_is_named() {
    let world = World::new();
    write(&world.input("a.csv"), &records(0..40, |n| n));
    let stopped = world.run(&[], Watch::new(|point, batch| point == Point::Planned && batch == 2)).await;
    assert!(matches!(stopped, Err(EngineError::Stopped(_))));
    let changed = fs::read_to_string(world.input("a.csv")).unwrap().replace("15,k1", "99,k1");
    fs::write(world.input("a.csv"), changed).unwrap();
    let error = world.peace(&[]).await.unwrap_err();
    assert!(error.to_string().contains("a.csv has changed after it was read: bytes"), "{error}");
    fs::remove_file(world.input("a.csv")).unwrap();
    let error = world.peace(&[]).await.unwrap_err();
    assert!(error.to_string().contains("a.csv"), "{error}");
}

#[tokio::test]
async fn another_description_does_not_continue_the_register() {
    let world = World::new();
    write(&world.input("a.csv"), &records(0..40, |n| n));
    world.run(&[], Watch::new(|point, batch| point == Point::Published && batch == 1)).await.unwrap_err();
    let error = world.peace(&[("window.size", text("50ms"))]).await.unwrap_err();
    assert!(matches!(error, EngineError::OtherTopology { .. }), "{error}");
    let register =
        world.peace(&[("slots", Value::Integer(1)), ("batch.max_records", Value::Integer(7))]).await.unwrap();
    assert_eq!(register.totals.records, 40, "batches and slots may change");
}

#[tokio::test]
async fn state_is_compacted_and_survives_a_restart() {
    let world = World::new();
    // One window that stays open over 30 batches.
    write(&world.input("a.csv"), &records(0..300, |n| n));
    let long = [("window.size", text("1h"))];
    world.run(&long, Watch::new(|point, batch| point == Point::Published && batch == 27)).await.unwrap_err();
    let stored = world.stored().await;
    let state = &stored["committed"]["state"];
    let (base, deltas) = (state["base_batch"].as_u64().unwrap(), state["deltas"].as_array().unwrap().len());
    assert!((20..=21).contains(&base), "a base after twenty batches: {base}");
    assert_eq!(deltas as u64, (27 - base) * 3);
    let files = fs::read_dir(world.folder.path().join("state/state")).unwrap().count();
    assert!(files <= 1 + deltas + 2 * 3, "{files} files are left");
    world.peace(&long).await.unwrap();
    let sum = |parity: i64| (0..300).filter(|n| n % 2 == parity).sum::<i64>();
    assert_eq!(world.sums(), BTreeMap::from([("k0".into(), (150, sum(0))), ("k1".into(), (150, sum(1)))]));
}

#[tokio::test]
async fn a_damaged_state_file_stops_the_job_and_is_named() {
    let world = World::new();
    write(&world.input("a.csv"), &records(0..40, |n| n));
    let long = [("window.size", text("1h"))];
    world.run(&long, Watch::new(|point, batch| point == Point::Published && batch == 2)).await.unwrap_err();
    let stored = world.stored().await;
    let name = stored["committed"]["state"]["deltas"][0]["name"].as_str().unwrap().to_owned();
    let path = world.folder.path().join("state/state").join(&name);
    let mut content = fs::read(&path).unwrap();
    content[10] ^= 1;
    fs::write(&path, content).unwrap();
    let error = world.peace(&long).await.unwrap_err();
    assert!(error.to_string().contains(&name) && error.to_string().contains("SHA-256"), "{error}");
}

#[tokio::test]
async fn an_endless_source_takes_new_files_and_growing_ones() {
    let world = World::new();
    write(&world.input("a.csv"), &(records(0..5, |n| n) + "5,k1"));
    let (grown, later) = (world.input("a.csv"), world.input("b.csv"));
    let watch = Watch::new(move |point, batch| {
        match (point, batch) {
            // The half record is completed, another follows, and a second file appears.
            (Point::Published, 1) => {
                write(&grown, &records(0..8, |n| n));
                write(&later, &records(8..20, |n| n));
            }
            (Point::Published, 3) => return true,
            _ => {}
        }
        false
    });
    let end = world.run(&[("source.finite", Value::Boolean(false))], watch).await;
    assert!(matches!(end, Err(EngineError::Stopped(_))));
    // The last commit stands in the register, whatever came after.
    let register = world.peace(&[]).await.unwrap();
    assert_eq!((register.totals.records, register.finished), (20, true));
    let sum = |parity: i64| (0..20).filter(|n| n % 2 == parity).sum::<i64>();
    assert_eq!(world.sums(), BTreeMap::from([("k0".into(), (10, sum(0))), ("k1".into(), (10, sum(1)))]));
}

#[tokio::test]
async fn many_files_go_beside_the_register() {
    let world = World::new();
    for file in 0..900 {
        write(&world.input(&format!("part-of-a-longer-name-{file:06}.csv")), &records(file..file + 1, |n| n));
    }
    let large = [("batch.max_records", Value::Integer(1000))];
    world.run(&large, Watch::new(|point, batch| point == Point::Committed && batch == 14)).await.unwrap_err();
    let stored = world.stored().await;
    assert!(stored["committed"]["position"]["$file"]["sha256"].is_string(), "the position went to a file");
    let register = world.peace(&large).await.unwrap();
    assert_eq!((register.totals.records, register.committed.position.len()), (900, 900));
    let sums = world.sums();
    assert_eq!(sums.values().map(|sum| sum.0).sum::<i64>(), 900);
}
