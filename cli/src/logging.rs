//! Where the program's own log goes.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

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
    pub(crate) fn start(&self, default: &str) -> anyhow::Result<SetVerbosity> {
        let text = self.log.as_deref().unwrap_or(default);
        let filter = EnvFilter::try_new(text).with_context(|| format!("read the log filter {text:?}"))?;
        let builder = tracing_subscriber::fmt();
        let text = text.to_owned();
        let (started, set): (_, SetVerbosity) = match &self.log_file {
            Some(path) => {
                let file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .with_context(|| format!("open the log file {}", path.display()))?;
                let builder = builder.with_ansi(false).with_writer(Mutex::new(file));
                let builder = builder.with_env_filter(filter).with_filter_reloading();
                let handle = builder.reload_handle();
                let set = move |level| drop(handle.reload(at_level(&text, level)));
                (builder.try_init(), Arc::new(set))
            }
            None => {
                let is_colored = std::io::stderr().is_terminal() && !crate::output::no_color();
                let builder = builder.with_ansi(is_colored).with_writer(std::io::stderr);
                let builder = builder.with_env_filter(filter).with_filter_reloading();
                let handle = builder.reload_handle();
                let set = move |level| drop(handle.reload(at_level(&text, level)));
                (builder.try_init(), Arc::new(set))
            }
        };
        // A test that runs several commands in one process has a log already.
        let _ = started;
        Ok(set)
    }
}

/// Changes what is logged while the process runs: 0 is what it was started with, 1 is more of our own parts, 2 and above all of
/// them.
pub type SetVerbosity = Arc<dyn Fn(u32) + Send + Sync>;

fn at_level(text: &str, level: u32) -> EnvFilter {
    let ours = match level {
        0 => return EnvFilter::new(text),
        1 => "tepui=debug",
        _ => "tepui=trace",
    };
    // Parts have names that begin like this; a part that has a level of its own keeps it.
    EnvFilter::new(format!("{text},{ours}"))
}
