//! The task's output, copied to our own while it runs.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use tepui_sdk::transport::Transport;
use tokio::time::Instant;
use tracing::debug;

use crate::sandbox::SandboxFile;

/// How long an agent that does not answer is asked for the rest of the output.
const REST_LIMIT: Duration = Duration::from_secs(10);

/// Both output files of one task.
#[derive(Debug)]
pub(super) struct Output {
    stdout: SandboxFile,
    stderr: SandboxFile,
}

impl Output {
    pub(super) fn new(transport: &Transport, agent: &str, framework_id: &str, task_id: &str) -> Self {
        let file = |name| SandboxFile::new(transport, agent, framework_id, task_id, name);
        Output { stdout: file("stdout"), stderr: file("stderr") }
    }

    /// Copies what is there.
    ///
    /// # Errors
    /// When our own output is closed. An agent that does not answer now may do so later.
    pub(super) async fn copy(&mut self) -> io::Result<Progress> {
        loop {
            let (out, err) = tokio::join!(self.stdout.read(), self.stderr.read());
            let (out, err) = match (out, err) {
                (Ok(out), Ok(err)) => (out, err),
                (out, err) => {
                    // What one of the two gave is written in any case: it will not be given again.
                    let (out, err) = (told(out), told(err));
                    write(&out, &err)?;
                    return Ok(Progress::Silent);
                }
            };
            if out.is_empty() && err.is_empty() {
                return Ok(Progress::UpToDate);
            }
            write(&out, &err)?;
        }
    }

    /// Copies the rest after the task has ended.
    ///
    /// # Errors
    /// When our own output is closed.
    pub(super) async fn copy_rest(&mut self) -> io::Result<Progress> {
        let deadline = Instant::now() + REST_LIMIT;
        loop {
            let progress = self.copy().await?;
            if progress == Progress::UpToDate || Instant::now() >= deadline {
                return Ok(progress);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// How far the copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything that was there has been written.
    UpToDate,
    /// The agent did not answer.
    Silent,
}

fn told(read: anyhow::Result<Bytes>) -> Bytes {
    read.unwrap_or_else(|error| {
        debug!(error = format!("{error:#}"), "cannot read the task's output now");
        Bytes::new()
    })
}

fn write(out: &[u8], err: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(out)?;
    stdout.flush()?;
    let mut stderr = io::stderr().lock();
    stderr.write_all(err)?;
    stderr.flush()
}
