//! Where the program's own log goes.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// What servers log unless told otherwise. The replication library warns about every heartbeat that is a little late, which is
/// no news on a busy host.
pub const SERVER_LOG: &str = "info,openraft=error";

/// Flags about the log.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// What to log: a level, or levels by part, such as `info,tepui_scheduler=debug`.
    #[arg(long, env = "TEPUI_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Write the log to this file, appending, instead of standard error.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

impl LogArgs {
    /// Begins to log; `default` applies when no filter is given.
    ///
    /// # Errors
    /// When the filter makes no sense or the file cannot be opened.
    pub(crate) fn start(&self, default: &str) -> anyhow::Result<()> {
        let text = self.log.as_deref().unwrap_or(default);
        let filter = EnvFilter::try_new(text).with_context(|| format!("read the log filter {text:?}"))?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter);
        let started = match &self.log_file {
            Some(path) => {
                let file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .with_context(|| format!("open the log file {}", path.display()))?;
                builder.with_ansi(false).with_writer(Mutex::new(file)).try_init()
            }
            None => {
                let is_colored = std::io::stderr().is_terminal() && !crate::output::no_color();
                builder.with_ansi(is_colored).with_writer(std::io::stderr).try_init()
            }
        };
        // A test that runs several commands in one process has a log already.
        let _ = started;
        Ok(())
    }
}
