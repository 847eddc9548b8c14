//! Waits for the end of a container, and makes sure of it. Owns the reading of exit records.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tepui_agent_core::Exit;

use crate::gc;
use crate::supervise::processes;
use crate::supervise::records::{self, ExitRecord, Started};

/// How often a container is looked at whose supervising process is not a child of this agent.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long killed processes may take to disappear.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns how a container ended whose supervising process is gone. If that left no record, what it left behind is killed
/// and a record is written in its place, so that the answer is the same ever after. Blocking.
pub(super) fn conclude(folder: &Path, container_id: &str, what_happened: &str) -> Exit {
    match settle(folder, container_id, what_happened) {
        Ok(record) => exit_of(record),
        Err(error) => Exit::Unknown { message: format!("{what_happened}; {error}") },
    }
}

fn settle(folder: &Path, container_id: &str, what_happened: &str) -> io::Result<ExitRecord> {
    if let Some(record) = records::read_exit(folder)? {
        return Ok(record);
    }
    let started = records::read_started(folder)?;
    kill_leftovers(container_id, started);
    restart_age(folder);
    let record = ExitRecord::Unseen { message: what_happened.to_owned() };
    records::write_exit(folder, &record)?;
    Ok(record)
}

/// Lets a sandbox be kept from now on: its supervising process was gone before it could do so. Blocking.
pub(super) fn restart_age(folder: &Path) {
    // Without a specification there is no sandbox that could be named, and none that was used.
    if let Ok(spec) = records::read_spec(folder) {
        gc::restart_age(Path::new(&spec.sandbox));
    }
}

/// Kills everything that belongs to a container and waits until it is gone. Blocking.
pub(super) fn kill_leftovers(container_id: &str, started: Option<Started>) {
    let deadline = std::time::Instant::now() + END_TIMEOUT;
    loop {
        let left = processes::leftovers(container_id, started);
        if left.is_empty() {
            return;
        }
        if std::time::Instant::now() > deadline {
            tracing::warn!(container_id, ?left, "processes of a container cannot be killed");
            return;
        }
        for pid in left {
            processes::signal(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(super) fn exit_of(record: ExitRecord) -> Exit {
    match record {
        ExitRecord::Ended { status, kill_asked } => Exit::Status { status, kill_asked },
        ExitRecord::NotStarted { message } => {
            Exit::Unknown { message: format!("command was not started: {message}") }
        }
        ExitRecord::Unseen { message } => Exit::Unknown { message },
    }
}
