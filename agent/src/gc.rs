//! Removes sandboxes of tasks that ended long ago. Owns the age at which they go; never touches one of a task that the agent
//! knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::config::Timers;
use crate::layout::Layout;
use crate::runtime::Handle;

/// Looks at all sandboxes again and again until `stop`.
pub(crate) async fn run(layout: Layout, handle: Handle, timers: Timers, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(timers.gc_interval) => {}
            () = stop.cancelled() => return,
        }
        let known = handle.look(|agent| {
            agent.tasks().map(|task| task.container_id.to_owned()).collect::<BTreeSet<String>>()
        });
        let Some(known) = known.await else { return };
        let (folder, delay) = (layout.sandboxes(), timers.gc_delay);
        let swept = tokio::task::spawn_blocking(move || sweep(&folder, &known, delay)).await;
        if let Ok(removed @ 1..) = swept {
            tracing::info!(removed, "removed old sandboxes");
        }
    }
}

/// Removes sandboxes that nobody knows and that were last changed before `delay`. Returns how many.
fn sweep(sandboxes: &Path, known: &BTreeSet<String>, delay: Duration) -> usize {
    let mut removed = 0;
    for run in runs(sandboxes) {
        let name = run.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_folder = fs::symlink_metadata(&run).is_ok_and(|metadata| metadata.is_dir());
        if !is_folder || known.contains(name) || age(&run).is_none_or(|age| age < delay) {
            continue;
        }
        match fs::remove_dir_all(&run) {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(path = %run.display(), %error, "failed to remove a sandbox"),
        }
    }
    removed
}

/// Returns the entries of all `runs` folders.
fn runs(sandboxes: &Path) -> Vec<PathBuf> {
    let mut level = entries(sandboxes);
    for fixed in ["frameworks", "executors"] {
        level = level.iter().flat_map(|path| entries(&path.join(fixed))).collect();
    }
    level.iter().flat_map(|path| entries(&path.join("runs"))).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// Returns how long ago anything at the top of a sandbox changed; `None` if the clock or the disk does not tell.
fn age(run: &Path) -> Option<Duration> {
    let changed = |path: &Path| fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok();
    let newest = entries(run).iter().filter_map(|path| changed(path)).chain(changed(run)).max()?;
    SystemTime::now().duration_since(newest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_and_unknown_sandboxes_go() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("a/frameworks/f/executors/t/runs");
        for name in ["old", "known"] {
            fs::create_dir_all(runs.join(name)).unwrap();
            fs::write(runs.join(name).join("stdout"), "x").unwrap();
        }
        std::os::unix::fs::symlink("old", runs.join("latest")).unwrap();
        let known = BTreeSet::from(["known".to_owned()]);
        assert_eq!(sweep(folder.path(), &known, Duration::from_secs(3600)), 0);
        assert_eq!(sweep(folder.path(), &known, Duration::ZERO), 1);
        assert!(runs.join("known/stdout").exists() && !runs.join("old").exists());
    }
}
