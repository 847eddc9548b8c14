//! What can be wrong with a host besides its network: a disk that is small and gets full, a wall clock that is wrong, files that are
//! damaged, files that cannot be opened. Decides nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::namespaces::command;

/// Size of the small disk.
const SMALL_MIB: u64 = 256;
/// What fills it.
const FILLER: &str = "filler";

/// A disk of fixed size, in memory, over a folder. Taken away again when this is dropped.
#[derive(Debug)]
pub(super) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Puts it there.
    ///
    /// # Errors
    /// When the system refuses: this needs root.
    pub(super) fn over(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let size = format!("size={SMALL_MIB}m");
        command("mount", &["-t", "tmpfs", "-o", &size, "none", &folder.display().to_string()])?;
        Ok(SmallDisk { folder: folder.to_path_buf() })
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// When something else than fullness is met.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.folder.join(FILLER))?;
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0; size];
            loop {
                match file.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("fill the small disk"),
                }
            }
        }
        Ok(())
    }

    /// Takes away what fills it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.folder.join(FILLER))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Processes that hold files of it are being killed; with the last of them it is gone.
        if let Err(error) = command("umount", &["--lazy", &self.folder.display().to_string()]) {
            tracing::error!(%error, "the small disk stays");
        }
    }
}

/// Wall clocks that can be set wrong, one for each host, by a library that is loaded before the system's.
#[derive(Debug)]
pub(super) struct Clocks {
    library: PathBuf,
    folder: PathBuf,
}

impl Clocks {
    /// Builds the library.
    ///
    /// # Errors
    /// When there is no C compiler.
    pub(super) fn build(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, include_str!("clock.c"))?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .context("start cc")?;
        let said = String::from_utf8_lossy(&built.stderr);
        anyhow::ensure!(built.status.success(), "cc: {said}");
        Ok(Clocks { library, folder: folder.to_path_buf() })
    }

    /// What the processes of a host have in their environment.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub(super) fn environment(&self, host: usize) -> anyhow::Result<Vec<(String, String)>> {
        self.set(host, Duration::ZERO, true)?;
        Ok(vec![
            ("LD_PRELOAD".to_owned(), self.library.display().to_string()),
            ("LOCAL_CHAOS_CLOCK".to_owned(), self.file(host).display().to_string()),
        ])
    }

    /// Sets a host's clock wrong by so much, ahead or behind.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub(super) fn set(&self, host: usize, by: Duration, ahead: bool) -> anyhow::Result<()> {
        let seconds = i64::try_from(by.as_secs())?;
        let seconds = if ahead { seconds } else { -seconds };
        // In place: processes have it mapped.
        let mut file =
            fs::OpenOptions::new().create(true).truncate(false).write(true).open(self.file(host))?;
        Ok(file.write_all(&seconds.to_ne_bytes())?)
    }

    fn file(&self, host: usize) -> PathBuf {
        self.folder.join(format!("offset-{host}"))
    }
}

/// All files below a folder, by their paths, as they are now.
pub(super) type Copy = BTreeMap<PathBuf, Vec<u8>>;

/// Copies all files of a folder.
///
/// # Errors
/// When one cannot be read.
pub(super) fn copy(folder: &Path) -> anyhow::Result<Copy> {
    let (mut files, mut folders) = (Copy::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let kind = fs::symlink_metadata(&path)?.file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let bytes = fs::read(&path)?;
                files.insert(path, bytes);
            }
        }
    }
    Ok(files)
}

/// Makes the files be as in the copy, and no others.
///
/// # Errors
/// When one cannot be written.
pub(super) fn restore(folder: &Path, files: &Copy) -> anyhow::Result<()> {
    for path in copy(folder)?.keys().filter(|path| !files.contains_key(*path)) {
        fs::remove_file(path)?;
    }
    for (path, bytes) in files {
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// Cuts the largest file whose path has this word in half. Returns its name.
///
/// # Errors
/// When there is none.
pub(super) fn damage(files: &Copy, word: &str) -> anyhow::Result<String> {
    let fits = files.iter().filter(|(path, _)| path.to_string_lossy().contains(word));
    let (path, bytes) = fits.max_by_key(|(_, bytes)| bytes.len()).context("a file to damage")?;
    fs::write(path, &bytes[..bytes.len() / 2])?;
    Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Lets a process open no more files than it has open. Returns how many it was allowed.
///
/// # Errors
/// When the system refuses.
pub(super) fn few_files(pid: i32) -> anyhow::Result<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let before = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).context("a limit")?;
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    allow_files(pid, u64::try_from(open)?)?;
    Ok(before)
}

/// Lets a process open so many files.
///
/// # Errors
/// When the system refuses.
pub(super) fn allow_files(pid: i32, count: u64) -> anyhow::Result<()> {
    // The second figure, up to which it may be raised again, stays as it is.
    command("prlimit", &["--pid", &pid.to_string(), &format!("--nofile={count}:")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_damaged_is_put_back_and_what_came_later_goes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        let (small, large) = (folder.path().join("log/a"), folder.path().join("log/b"));
        fs::write(&small, "12").unwrap();
        fs::write(&large, "1234").unwrap();
        let files = copy(folder.path()).unwrap();
        assert_eq!(damage(&files, "log").unwrap(), "b");
        assert_eq!(fs::read_to_string(&large).unwrap(), "12");
        fs::write(folder.path().join("new"), "x").unwrap();
        restore(folder.path(), &files).unwrap();
        assert_eq!(copy(folder.path()).unwrap(), files);
        assert!(damage(&files, "nothing of this name").is_err());
    }

    #[test]
    fn a_wrong_clock_is_wrong_for_those_of_its_host_alone() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(clocks) = Clocks::build(folder.path()) else {
            println!("skipped: no C compiler");
            return;
        };
        let environment = clocks.environment(0).unwrap();
        let now = |environment: Vec<(String, String)>| {
            let output = Command::new("date").arg("+%s").envs(environment).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse::<i64>().unwrap()
        };
        let right = now(Vec::new());
        assert!((now(environment.clone()) - right).abs() < 100);
        clocks.set(0, Duration::from_secs(1_000_000), false).unwrap();
        assert!((right - 1_000_000 - now(environment)).abs() < 100);
        assert!((now(clocks.environment(1).unwrap()) - right).abs() < 100);
    }
}
