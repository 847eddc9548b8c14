//! The files in a container's folder: what the agent and a supervising process tell each other. Owns their format; an unknown
//! one is refused with its number.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::layout::write_atomically;

const FORMAT: u32 = 1;

const SPEC: &str = "spec";
const LOCK: &str = "lock";
const STARTED: &str = "started";
const KILL: &str = "kill";
const EXIT: &str = "exit";

/// What to run. Written by the agent before it starts the supervising process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) container_id: String,
    /// The working directory; `stdout` and `stderr` are appended to there.
    pub(crate) sandbox: String,
    pub(crate) program: String,
    /// What the program sees as its own name, where it is not the program's path.
    pub(crate) name: Option<String>,
    pub(crate) arguments: Vec<String>,
    /// Added to what the supervising process itself has.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) grace_ms: u64,
    /// It is to end when the agent ends: the supervising process finds that out by the end of its standard input.
    #[serde(default)]
    pub(crate) ends_with_agent: bool,
}

/// The supervising process. Written by it before it starts the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) pid: i32,
    /// In clock ticks since boot: tells it from a later process with the same id.
    pub(crate) start_time: u64,
}

/// A wish to end the command. Written by the agent before it sends SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kill {
    pub(crate) grace_ms: u64,
}

/// The end. Nothing is started in a folder that has this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExitRecord {
    /// Raw wait status.
    Ended {
        status: i32,
        kill_asked: bool,
    },
    NotStarted {
        message: String,
    },
    /// Nobody saw the end; nothing of the command is left.
    Unseen {
        message: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    format: u32,
    #[serde(flatten)]
    body: Body<T>,
}

#[derive(Serialize, Deserialize)]
struct Body<T> {
    body: T,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(&Versioned { format: FORMAT, body: Body { body: value } })?;
    fs::write(path, bytes)
}

fn write_durably<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write_atomically(path, &serde_json::to_vec(&Versioned { format: FORMAT, body: Body { body: value } })?)
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let FormatOnly { format } = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if format != FORMAT {
        let file = path.display();
        return Err(invalid(format!("{file} is of format {format}, this build reads format {FORMAT}")));
    }
    let versioned: Versioned<T> =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    Ok(Some(versioned.body.body))
}

pub(crate) fn write_spec(folder: &Path, spec: &Spec) -> io::Result<()> {
    write(&folder.join(SPEC), spec)
}

pub(crate) fn read_spec(folder: &Path) -> io::Result<Spec> {
    read(&folder.join(SPEC))?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no specification"))
}

/// Whole at any moment, but a loss of power may lose it: then the process is gone as well.
pub(crate) fn write_started(folder: &Path, started: Started) -> io::Result<()> {
    let draft = folder.join("started.new");
    write(&draft, &started)?;
    fs::rename(draft, folder.join(STARTED))
}

pub(crate) fn read_started(folder: &Path) -> io::Result<Option<Started>> {
    read(&folder.join(STARTED))
}

pub(crate) fn write_kill(folder: &Path, kill: Kill) -> io::Result<()> {
    let draft = folder.join("kill.new");
    write(&draft, &kill)?;
    fs::rename(draft, folder.join(KILL))
}

pub(crate) fn read_kill(folder: &Path) -> io::Result<Option<Kill>> {
    read(&folder.join(KILL))
}

pub(crate) fn write_exit(folder: &Path, exit: &ExitRecord) -> io::Result<()> {
    write_durably(&folder.join(EXIT), exit)
}

pub(crate) fn read_exit(folder: &Path) -> io::Result<Option<ExitRecord>> {
    read(&folder.join(EXIT))
}

/// Takes the folder for this process, or returns `None` if a living supervising process holds it. The kernel gives it back
/// when the process ends, however it ends.
///
/// # Errors
/// Whatever the operating system refuses.
pub(crate) fn try_lock(folder: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_an_unknown_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(read_exit(folder).unwrap(), None);
        let exit = ExitRecord::Ended { status: 9, kill_asked: true };
        write_exit(folder, &exit).unwrap();
        assert_eq!(read_exit(folder).unwrap(), Some(exit));
        fs::write(folder.join(EXIT), r#"{"format":5,"anything":1}"#).unwrap();
        assert!(read_exit(folder).unwrap_err().to_string().contains("format 5"));
        fs::write(folder.join(EXIT), "garbage").unwrap();
        assert!(read_exit(folder).is_err());
    }

    #[test]
    fn a_folder_has_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let held = try_lock(folder.path()).unwrap();
        assert!(held.is_some());
        assert!(try_lock(folder.path()).unwrap().is_none());
        drop(held);
        assert!(try_lock(folder.path()).unwrap().is_some());
    }
}
