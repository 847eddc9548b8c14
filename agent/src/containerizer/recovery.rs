//! What an agent that starts finds of the containers of an earlier run. Owns the proof that none of them can start any more
//! unless it runs already.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tepui_agent_core::checkpoint::{ExecutorRecord, State};
use tepui_agent_core::{ExecutorKey, Found, TaskKey};

use super::start::Owner;
use super::watch::{self, exit_of};
use crate::Error;
use crate::layout::{Layout, write_atomically};
use crate::supervise::processes;
use crate::supervise::records::{self, ExitRecord, Started};

/// How long a supervising process may take from its lock to its first record.
const STARTED_TIMEOUT: Duration = Duration::from_secs(10);

/// A container that runs on.
#[derive(Clone, Debug)]
pub(crate) struct Adopted {
    pub(crate) owner: Owner,
    pub(crate) container_id: String,
    pub(crate) started: Started,
}

/// What was found, and what of it runs on.
pub(crate) struct Recovered {
    pub(crate) processes: Vec<(TaskKey, Found)>,
    pub(crate) executors: Vec<(ExecutorKey, Found)>,
    pub(crate) adopted: Vec<Adopted>,
}

/// Looks for the processes of all tasks and executors in the checkpoint, and ends those of containers that are not in it, or
/// whose framework wants them to end with the agent. Blocking.
///
/// # Errors
/// The folders cannot be read or written.
pub(crate) fn recover(layout: &Layout, state: &State) -> Result<Recovered, Error> {
    let rebooted = note_boot(layout).map_err(Error::file("write", &layout.boot_id()))?;
    let (mut processes, mut executors, mut adopted) = (Vec::new(), Vec::new(), Vec::new());
    let mut look = |owner: Owner, container_id: &str| -> Result<Found, Error> {
        let folder = layout.container(container_id);
        let (found, running) =
            find(&folder, container_id, rebooted).map_err(Error::file("examine", &folder))?;
        tracing::info!(%owner, container_id, ?found, "container of an earlier run");
        let container_id = container_id.to_owned();
        adopted.extend(running.map(|started| Adopted { owner, container_id, started }));
        Ok(found)
    };
    for (executor, record) in surviving(state) {
        let found = look(Owner::Executor(executor.clone()), &record.container_id)?;
        executors.push((executor.clone(), found));
    }
    for (task, record) in &state.tasks {
        // Those of executors share their fate.
        if record.info.executor.is_some()
            || !state.outlives_agent(&task.framework_id)
            || record.latest.as_ref().is_some_and(|status| status.state().is_terminal())
        {
            continue;
        }
        let found = look(Owner::Task(task.clone()), &record.container_id)?;
        processes.push((task.clone(), found));
    }
    end_strangers(layout, state, rebooted).map_err(Error::file("clean up", &layout.containers()))?;
    Ok(Recovered { processes, executors, adopted })
}

fn surviving(state: &State) -> impl Iterator<Item = (&ExecutorKey, &ExecutorRecord)> {
    state.executors.iter().filter(|(key, _)| state.outlives_agent(&key.framework_id))
}

/// Returns whether the host was started anew since the last call.
fn note_boot(layout: &Layout) -> io::Result<bool> {
    let now = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let before = fs::read_to_string(layout.boot_id()).unwrap_or_default();
    if before == now {
        return Ok(false);
    }
    write_atomically(&layout.boot_id(), now.as_bytes())?;
    Ok(!before.is_empty())
}

fn find(folder: &Path, container_id: &str, rebooted: bool) -> io::Result<(Found, Option<Started>)> {
    fs::create_dir_all(folder)?;
    let lock = records::try_lock(folder)?;
    // A supervising process writes it last, so nothing is left even if it has not quite gone yet.
    if let Some(record) = records::read_exit(folder)? {
        return Ok((Found::Exited(exit_of(record)), None));
    }
    // With the lock in hand nobody else can begin; with an exit record nobody can later.
    let Some(_lock) = lock else {
        let started = await_started(folder)?;
        return Ok((Found::Running { pid: started.pid.cast_unsigned() }, Some(started)));
    };
    let started = records::read_started(folder)?;
    if started.is_none() && !rebooted {
        let message = "the agent stopped before the start".to_owned();
        records::write_exit(folder, &ExitRecord::NotStarted { message })?;
        return Ok((Found::NeverStarted, None));
    }
    let message = if rebooted { "the host was restarted" } else { "its supervising process is gone" };
    if !rebooted {
        watch::kill_leftovers(container_id, started);
    }
    watch::restart_age(folder);
    records::write_exit(folder, &ExitRecord::Unseen { message: message.to_owned() })?;
    Ok((Found::Lost { message: message.to_owned() }, None))
}

fn await_started(folder: &Path) -> io::Result<Started> {
    let deadline = Instant::now() + STARTED_TIMEOUT;
    loop {
        if let Some(started) = records::read_started(folder)? {
            return Ok(started);
        }
        if Instant::now() > deadline {
            return Err(io::Error::other("a supervising process holds the lock and does not start"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends containers that nobody would ever hear of: the checkpoint does not know them, or their framework does not want them
/// to outlive the agent.
fn end_strangers(layout: &Layout, state: &State, rebooted: bool) -> io::Result<()> {
    let tasks = state.tasks.iter().filter(|(_, task)| task.info.executor.is_none());
    let tasks = tasks.filter(|(key, _)| state.outlives_agent(&key.framework_id));
    let tasks = tasks.map(|(_, task)| task.container_id.as_str());
    let executors = surviving(state).map(|(_, executor)| executor.container_id.as_str());
    let known: BTreeSet<&str> = tasks.chain(executors).collect();
    for entry in fs::read_dir(layout.containers())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(container_id) = name.to_str().filter(|id| !known.contains(id)) else { continue };
        let folder = entry.path();
        let lock = records::try_lock(&folder)?;
        if lock.is_none() {
            tracing::warn!(container_id, "ending a container that the agent does not keep");
            let started = await_started(&folder)?;
            processes::signal(started.pid, Signal::SIGKILL);
            watch::kill_leftovers(container_id, Some(started));
            watch::restart_age(&folder);
        } else if !rebooted && !matches!(records::read_exit(&folder), Ok(Some(_))) {
            // Whoever supervised it is gone and did not see its end.
            watch::kill_leftovers(container_id, records::read_started(&folder).ok().flatten());
            watch::restart_age(&folder);
        }
        fs::remove_dir_all(&folder)?;
    }
    Ok(())
}
