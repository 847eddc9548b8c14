//! The numbers of the disk under this master: how long its syncs take, how much room there is, how large log and snapshot are.
//! Read when they are asked for.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tepui_raft_store::Storage;

type Seconds = Gauge<f64, AtomicU64>;

/// See the module head.
#[derive(Default)]
pub(crate) struct StorageMetrics {
    syncs: Counter,
    sync_p50: Seconds,
    sync_p99: Seconds,
    commit_stall: Seconds,
    snapshot_age: Seconds,
    snapshot_bytes: Gauge,
    log_bytes: Gauge,
    free_bytes: Gauge,
    level: Gauge,
    slow: Gauge,
}

impl StorageMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut seconds = |name, help, gauge: &Seconds| registry.register(name, help, gauge.clone());
        seconds(
            "log_sync_p50_seconds",
            "median time of a commit of the log in the last 10 s; 0 without commits",
            &self.sync_p50,
        );
        seconds("log_sync_p99_seconds", "99th percentile of the same", &self.sync_p99);
        seconds(
            "commit_stall_seconds",
            "for how long no entry was committed although some wait",
            &self.commit_stall,
        );
        seconds("snapshot_age_seconds", "age of the newest snapshot; 0 without one", &self.snapshot_age);
        registry.register("log_syncs", "commits of the log", self.syncs.clone());
        let mut number = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        number("snapshot_bytes", "size of the newest snapshot", &self.snapshot_bytes);
        number("log_bytes", "size of the log's file", &self.log_bytes);
        number("disk_free_bytes", "room on the disk of the log", &self.free_bytes);
        number("disk_level", "0 enough room, 1 low, 2 full, 3 exhausted", &self.level);
        number("disk_slow", "1 while the disk counts as slow", &self.slow);
    }

    pub(crate) fn look(&self, storage: &Storage) {
        self.syncs.inc_by(storage.syncs.saturating_sub(self.syncs.get()));
        let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
        self.sync_p50.set(seconds(storage.sync_p50));
        self.sync_p99.set(seconds(storage.sync_p99));
        self.commit_stall.set(storage.commit_stall.as_secs_f64());
        self.snapshot_age.set(seconds(storage.snapshot_age));
        let bytes = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or_default()).unwrap_or(i64::MAX);
        self.snapshot_bytes.set(bytes(storage.snapshot_bytes));
        self.log_bytes.set(bytes(Some(storage.log_bytes)));
        self.free_bytes.set(bytes(storage.free_bytes));
        self.level.set(storage.level as i64);
        self.slow.set(i64::from(storage.slow));
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use tepui_raft_store::DiskLevel;

    use super::*;

    #[test]
    fn what_is_known_is_shown() {
        let metrics = StorageMetrics::default();
        let mut registry = Registry::with_prefix("tepui_master");
        metrics.register(&mut registry);
        let storage = Storage {
            syncs: 7,
            sync_p99: Some(Duration::from_millis(250)),
            commit_stall: Duration::from_secs(3),
            log_bytes: 4096,
            free_bytes: Some(99),
            level: DiskLevel::Full,
            slow: true,
            ..Storage::default()
        };
        metrics.look(&storage);
        metrics.look(&storage);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "tepui_master_log_syncs_total 7",
            "tepui_master_log_sync_p50_seconds 0.0",
            "tepui_master_log_sync_p99_seconds 0.25",
            "tepui_master_commit_stall_seconds 3.0",
            "tepui_master_snapshot_age_seconds 0.0",
            "tepui_master_log_bytes 4096",
            "tepui_master_disk_free_bytes 99",
            "tepui_master_disk_level 2",
            "tepui_master_disk_slow 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        }
    }
}
