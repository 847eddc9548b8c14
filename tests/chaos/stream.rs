//! A stream beside everything else: month after month of departures is read by a supervised job, its position must never go back, and what
//! it has published is counted again by a program of its own: each departure exactly once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tepui::cluster::{CLUSTER_VARIABLE, find_processes};
use tepui::commands::submit::submit_job;
use tepui::demo;
use tepui_proto::tepui::operator::DriverState;
use tepui_sdk::operator::Client;
use tokio::task::JoinSet;

/// Between two looks at the position.
const PAUSE: Duration = Duration::from_millis(100);

/// What was seen of all streams so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Name of the one that runs.
    name: String,
    batch: u64,
    records: u64,
    /// How often the position went forward.
    pub(super) progress: u64,
    /// Streams that ended and were counted again.
    pub(super) counted: u64,
    pub(super) violations: Vec<String>,
}

impl Seen {
    /// The next stream begins.
    fn begin(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        (self.batch, self.records) = (0, 0);
    }

    /// The stream's register was read.
    fn position(&mut self, batch: u64, records: u64) {
        if batch < self.batch || records < self.records {
            self.violations.push(format!(
                "{} was at batch {} with {} records and is at batch {batch} with {records}",
                self.name, self.batch, self.records
            ));
        }
        if records > demo::RECORDS {
            self.violations.push(format!("{} has read {records} of {} records", self.name, demo::RECORDS));
        }
        if batch > self.batch {
            self.progress += 1;
        }
        (self.batch, self.records) = (batch, records);
    }

    /// The stream ended, and this was found in its files.
    fn ended(&mut self, count: &demo::Recount) {
        self.counted += 1;
        if !count.agrees() || count.records_in != demo::RECORDS {
            self.violations.push(format!(
                "{}: {} departures lost, {} twice, {:?}",
                self.name, count.lost, count.duplicated, count.differences
            ));
        }
    }
}

/// Streams until it is dropped.
pub(super) struct Stream {
    seen: Arc<Mutex<Seen>>,
    cluster: PathBuf,
    _work: JoinSet<()>,
}

impl Stream {
    /// Begins with the first month.
    ///
    /// # Errors
    /// When no client can be made.
    pub(super) fn start(masters: Vec<String>, cluster: &Path, folder: PathBuf) -> anyhow::Result<Self> {
        let seen = Arc::<Mutex<Seen>>::default();
        let operator = Client::new(masters.clone())?;
        let mut work = JoinSet::new();
        let book = seen.clone();
        work.spawn(async move {
            for number in 1_u64.. {
                let month = month(number, &masters, &operator, &folder, &book).await;
                if let Err(error) = month {
                    lock(&book).violations.push(format!("stream {number}: {error:#}"));
                    return;
                }
            }
        });
        Ok(Stream { seen, cluster: cluster.to_path_buf(), _work: work })
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// `kill -9` for every process of this kind, `stream-driver` or `stream-executor`; for one of them if `one`.
    pub(super) fn kill(&self, kind: &str, one: bool) {
        let is_kind = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == kind.as_bytes())
        };
        let pids = find_processes(&[(CLUSTER_VARIABLE, self.cluster.as_path())]);
        for pid in pids.into_iter().filter(is_kind).take(if one { 1 } else { usize::MAX }) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One stream from its submission to the recount.
async fn month(
    number: u64,
    masters: &[String],
    operator: &Client,
    folder: &Path,
    book: &Mutex<Seen>,
) -> anyhow::Result<()> {
    let folder = folder.join(number.to_string());
    let name = format!("stream-{number}");
    let files = demo::lay_out(&folder)?;
    let text =
        std::fs::read_to_string(&files.job)?.replacen("name = \"flights\"", &format!("name = \"{name}\""), 1);
    let job = tepui_streaming::Job::from_toml_str(&text)?;
    lock(book).begin(&name);
    // Whether it was submitted is known by asking: an answer may be lost.
    while !matches!(operator.get_drivers(Some(&name)).await, Ok(drivers) if !drivers.is_empty()) {
        if submit_job(masters, &job).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        if let Ok(register) = operator.state_get(&name, "stream").await
            && register.version() > 0
        {
            let value: Value = serde_json::from_slice(register.value()).context("the stream's register")?;
            let number = |path| value.pointer(path).and_then(Value::as_u64).unwrap_or_default();
            lock(book).position(number("/committed/batch"), number("/totals/records"));
        }
        let Ok(drivers) = operator.get_drivers(Some(&name)).await else { continue };
        let state = drivers.first().map(|driver| driver.state());
        match state {
            Some(DriverState::DriverFinished) => break,
            Some(DriverState::DriverFailed | DriverState::DriverKilled) | None => {
                anyhow::bail!("the driver is {state:?}: {:?}", drivers.first().map(|driver| &driver.attempts))
            }
            Some(_runs) => {}
        }
    }
    let count = tokio::task::spawn_blocking(move || {
        let count = demo::recount(&files.input, &files.output)?;
        std::fs::remove_dir_all(&folder)?;
        anyhow::Ok(count)
    });
    let count = count.await??;
    lock(book).ended(&count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_goes_back_and_a_wrong_count_are_found() {
        let good =
            demo::Recount { records_in: demo::RECORDS, counted: demo::RECORDS, ..demo::Recount::default() };
        let mut seen = Seen::default();
        seen.begin("one");
        for (batch, records) in [(1, 10), (1, 10), (3, 30)] {
            seen.position(batch, records);
        }
        seen.ended(&good);
        seen.begin("two");
        seen.position(1, 5);
        assert_eq!((seen.violations.len(), seen.progress, seen.counted), (0, 3, 1));
        seen.position(2, 4);
        seen.position(1, 5);
        seen.position(5, demo::RECORDS + 1);
        seen.ended(&demo::Recount { lost: 1, ..good.clone() });
        seen.ended(&demo::Recount { records_in: 5, counted: 5, ..demo::Recount::default() });
        assert_eq!(seen.violations.len(), 5, "{:?}", seen.violations);
    }
}
