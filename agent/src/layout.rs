//! Where things lie below the agent's folder. Owns every path; creates only what it says it creates.
//!
//! ```text
//! <work_dir>/
//!   endpoint.json                     where the agent listens
//!   meta/
//!     format  lock  boot_id           format number of everything below meta; one agent at a time; boot of the host
//!     journal                         the checkpoint
//!     containers/<container>/         spec, lock, started, kill, exit: between the agent and one supervising process
//!   slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/
//!     <container>/                    a sandbox: stdout, stderr, and what the task leaves
//!     latest                          link to the newest
//!   volumes/
//!     roles/<role>/<id>/              a persistent volume, with spaces for the slashes of the role
//!     trash/                          destroyed volumes on their way out
//! ```

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use tepui_agent_core::VolumeName;

use crate::Error;

/// Format of everything below `meta`.
const FORMAT: u32 = 1;

/// A process that the last agent was just starting holds its files until it becomes another program: moments later the
/// lock is free.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The agent's folder.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    work_dir: PathBuf,
    /// Whether the folders above sandboxes are made use of (read) or those without a use are removed (write).
    parents: Arc<RwLock<()>>,
}

impl Layout {
    /// Creates the folder and what identifies its format.
    ///
    /// # Errors
    /// Another agent uses it, it is of an unknown format, or the operating system refuses.
    pub(crate) fn open(work_dir: &Path) -> Result<(Self, WorkDirLock), Error> {
        let meta = work_dir.join("meta");
        fs::create_dir_all(work_dir).map_err(Error::file("create folder", work_dir))?;
        // Commands of tasks stand in there, with whatever secrets are in their environment: nobody else reads it.
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&meta).map_err(Error::file("create folder", &meta))?;
        fs::create_dir_all(meta.join("containers")).map_err(Error::file("create folder", &meta))?;
        let work_dir = fs::canonicalize(work_dir).map_err(Error::file("find folder", work_dir))?;
        let layout = Self { work_dir, parents: Arc::default() };
        let lock = layout.lock()?;
        layout.check_format()?;
        fs::create_dir_all(layout.sandboxes()).map_err(Error::file("create folder", &layout.sandboxes()))?;
        Ok((layout, lock))
    }

    pub(crate) fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    pub(crate) fn endpoint(&self) -> PathBuf {
        self.work_dir.join("endpoint.json")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.meta().join("journal")
    }

    pub(crate) fn boot_id(&self) -> PathBuf {
        self.meta().join("boot_id")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.meta().join("containers")
    }

    /// Ids of containers are drawn by the agent, so they are safe as names.
    pub(crate) fn container(&self, container_id: &str) -> PathBuf {
        self.containers().join(container_id)
    }

    /// All sandboxes are below this folder, and nothing else is.
    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.work_dir.join("slaves")
    }

    /// The folder that holds the sandboxes of one executor. The core has checked the ids.
    pub(crate) fn runs(&self, agent_id: &str, framework_id: &str, executor_id: &str) -> PathBuf {
        let mut path = self.sandboxes();
        path.extend([agent_id, "frameworks", framework_id, "executors", executor_id, "runs"]);
        path
    }

    /// The folder of a persistent volume. Roles have no spaces, so no two of them meet.
    pub(crate) fn volume(&self, name: &VolumeName) -> PathBuf {
        let mut path = self.volumes();
        path.extend(["roles", &name.role.replace('/', " "), &name.id]);
        path
    }

    /// All persistent volumes are below this folder.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.work_dir.join("volumes")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.volumes().join("trash")
    }

    /// Keeps the folders above sandboxes while one is being laid out below them. Blocking.
    pub(crate) fn keep_parents(&self) -> RwLockReadGuard<'_, ()> {
        // It guards folders, which a panic leaves as they are.
        self.parents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever removes folders above sandboxes must hold this. Blocking.
    pub(crate) fn prune_parents(&self) -> RwLockWriteGuard<'_, ()> {
        self.parents.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta(&self) -> PathBuf {
        self.work_dir.join("meta")
    }

    fn lock(&self) -> Result<WorkDirLock, Error> {
        let path = self.meta().join("lock");
        let file = File::create(&path).map_err(Error::file("open", &path))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(WorkDirLock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(Error::InUse(self.work_dir.clone())),
                Err(TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
            }
        }
    }

    fn check_format(&self) -> Result<(), Error> {
        let path = self.meta().join("format");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(FORMAT) => Ok(()),
                Ok(found) => Err(Error::UnknownFormat { path, found, known: FORMAT }),
                Err(_) => Err(Error::Damaged { path, offset: 0, reason: "not a format number".to_owned() }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_atomically(&path, format!("{FORMAT}\n").as_bytes()).map_err(Error::file("write", &path))
            }
            Err(error) => Err(Error::file("read", &path)(error)),
        }
    }
}

/// Held as long as an agent uses the folder.
#[derive(Debug)]
pub(crate) struct WorkDirLock {
    _file: File,
}

/// Replaces a file so that it is whole at any moment, also after a loss of power.
///
/// # Errors
/// Whatever the operating system refuses.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_folder(path)
}

/// Makes the names in the folder of `path` durable.
///
/// # Errors
/// Whatever the operating system refuses.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_at_a_time_and_no_unknown_format() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, lock) = Layout::open(folder.path()).unwrap();
        assert!(matches!(Layout::open(folder.path()), Err(Error::InUse(_))));
        drop(lock);
        drop(Layout::open(folder.path()).unwrap());
        fs::write(layout.work_dir().join("meta/format"), "7").unwrap();
        let error = Layout::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("format 7"), "{error}");
    }

    #[test]
    fn only_the_owner_reads_what_tasks_were_told() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&layout.meta()) & 0o077, 0);
    }
}
