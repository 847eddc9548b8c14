//! Child processes, and finding processes by what stands in their environment.
//! Signals only processes that it started itself or that carry a cluster's marker.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A child process. Dropping it leaves it running: whoever wants it dead calls `kill`.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts an executable in a process group of its own (so that a Ctrl-C at the terminal reaches only the parent), its output in `log`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(
        executable: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        log: File,
    ) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;
        let child = Command::new(executable)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", executable.display()))?;
        Ok(Process { child })
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Whether it has ended, by itself or by somebody else; reaps it then.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`, and reaps it.
    pub fn kill(&mut self) {
        // It may have exited already; reaping tells.
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// SIGTERM, and waits for the exit.
    ///
    /// # Errors
    /// When it still runs after `within`; it is killed then.
    pub async fn stop(&mut self, within: Duration) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).context("send SIGTERM")?;
        let deadline = Instant::now() + within;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.kill();
                anyhow::bail!("still running {within:?} after SIGTERM");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// SIGSTOP.
pub(super) fn pause(pid: i32) {
    let _gone = kill(Pid::from_raw(pid), Signal::SIGSTOP);
}

/// SIGCONT.
pub(super) fn resume(pid: i32) {
    let _gone = kill(Pid::from_raw(pid), Signal::SIGCONT);
}

/// Process ids whose environment has one of these variables with exactly this value.
pub fn find(markers: &[(&str, &Path)]) -> Vec<i32> {
    let wanted: Vec<Vec<u8>> =
        markers.iter().map(|(name, path)| format!("{name}={}", path.display()).into_bytes()).collect();
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()))
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| wanted.iter().any(|wanted| wanted == variable))
        })
        .collect()
}

/// Kills all such processes, until none is found any more (a dying parent may start one last child).
pub(super) fn sweep(markers: &[(&str, &Path)]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let pids = find(markers);
        if pids.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in pids {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
