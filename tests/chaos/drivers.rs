//! The supervised driver: submitted once, it writes what it was told into a file and sleeps. Notices every launch and starts its writer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui_proto::tepui::operator::{DriverSpec, Supervise, supervise};
use tepui_proto::v1;
use tepui_sdk::operator::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::writer::{Book, NAME, Registers, Writer};
use crate::harness::{PATIENCE, task};

/// One launch: what it was told.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) generation: u64,
    pub(super) token: String,
}

/// All launches so far and their writers.
pub(super) struct Drivers {
    folder: PathBuf,
    registers: Registers,
    book: Book,
    writers: JoinSet<()>,
    stop: CancellationToken,
    pub(super) launches: Vec<Launch>,
}

impl Drivers {
    /// Submits the driver and waits for its first launch.
    ///
    /// # Errors
    /// When it is not launched in time.
    pub(super) async fn submit(
        operator: &Client,
        folder: &Path,
        registers: Registers,
        book: Book,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let command = format!(
            "env > {0}/part.$$ && mv {0}/part.$$ {0}/env.$TEPUI_DRIVER_GENERATION; exec sleep 100000",
            folder.display()
        );
        operator
            .submit_driver(DriverSpec {
                name: Some(NAME.to_owned()),
                command: Some(v1::CommandInfo { value: Some(command), ..v1::CommandInfo::default() }),
                resources: task("driver", "").resources,
                // Nobody renews: only its end brings about the next launch.
                lease_ms: Some(86_400_000),
                supervise: Some(Supervise {
                    policy: Some(supervise::Policy::Always as i32),
                    max_restarts: Some(1_000),
                    backoff_initial_ms: Some(50),
                    backoff_max_ms: Some(100),
                    ..Supervise::default()
                }),
                ..DriverSpec::default()
            })
            .await?;
        let mut drivers = Drivers {
            folder: folder.to_path_buf(),
            registers,
            book,
            writers: JoinSet::new(),
            stop: CancellationToken::new(),
            launches: Vec::new(),
        };
        drivers.wait_for(1).await?;
        Ok(drivers)
    }

    /// The newest launch that has said something.
    pub(super) fn newest(&self) -> u64 {
        self.launches.last().map_or(0, |launch| launch.generation)
    }

    /// Waits for a launch of this generation or a later one.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn wait_for(&mut self, generation: u64) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.newest() < generation {
            self.look()?;
            anyhow::ensure!(
                Instant::now() < until,
                "no launch {generation} of the driver after {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Looks for launches that are new, and starts their writers. Those of older ones go on until they are fenced.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let generation =
                path.file_name().and_then(|name| name.to_str()?.strip_prefix("env.")?.parse().ok());
            if let Some(generation) = generation.filter(|generation: &u64| *generation > self.newest()) {
                found.push((generation, path));
            }
        }
        found.sort();
        for (generation, path) in found {
            let text = std::fs::read_to_string(path)?;
            let token = text.lines().find_map(|line| line.strip_prefix("TEPUI_DRIVER_TOKEN="));
            let launch = Launch { generation, token: token.unwrap_or_default().to_owned() };
            let writer = Writer {
                registers: self.registers.clone(),
                book: self.book.clone(),
                generation,
                token: launch.token.clone(),
            };
            self.writers.spawn(writer.run(self.stop.clone()));
            self.launches.push(launch);
        }
        Ok(())
    }

    /// `kill -9` for all processes of the newest launch. Returns the instant of the kill.
    pub(super) fn kill_newest(&self) -> Instant {
        let token = self.launches.last().map(|launch| PathBuf::from(&launch.token)).unwrap_or_default();
        let pids = tepui::cluster::find_processes(&[("TEPUI_DRIVER_TOKEN", token.as_path())]);
        let at = Instant::now();
        for pid in pids {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        at
    }

    /// Ends all writers.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.writers.join_next().await.is_some() {}
    }
}
