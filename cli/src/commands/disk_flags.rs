//! What a master asks of the disk under its log, as flags.

use std::path::PathBuf;
use std::time::Duration;

use tepui_scheduler::Config;

use crate::args::parse_duration;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The disk of the log")]
pub(super) struct DiskArgs {
    /// With less room than this a master gives the leadership away and does not seek it, bytes; 0 looks at no room at all [1073741824].
    #[arg(long, value_name = "BYTES")]
    disk_low: Option<u64>,
    /// With less room than this the leading master takes no writes, bytes; a quarter of it is held in reserve [268435456].
    #[arg(long, value_name = "BYTES")]
    disk_full: Option<u64>,
    /// A second in which one of a hundred syncs takes longer than this is a slow one; 0secs for never [100ms].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    slow_sync: Option<Duration>,
    /// So long everything must be slow before a master gives the leadership away for it, once a minute at most [10secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    slow_sync_for: Option<Duration>,
    /// A file that tells the disk to misbehave: lines `delay MILLISECONDS`, `fail`, `free BYTES`. For tests.
    #[arg(long, hide = true, value_name = "FILE")]
    disk_faults: Option<PathBuf>,
}

impl DiskArgs {
    pub(super) fn apply(&self, config: &mut Config) {
        let disk = &mut config.disk;
        disk.low_bytes = self.disk_low.unwrap_or(disk.low_bytes);
        disk.full_bytes = self.disk_full.unwrap_or(disk.full_bytes);
        disk.slow_sync = self.slow_sync.unwrap_or(disk.slow_sync);
        disk.slow_for = self.slow_sync_for.unwrap_or(disk.slow_for);
        config.disk_faults.clone_from(&self.disk_faults);
    }
}
