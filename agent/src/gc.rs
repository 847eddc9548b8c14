//! Removes sandboxes of tasks that ended long ago, and the folders above them that nothing is left in. Owns the age at which
//! they go; never touches one of a task that the agent knows.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;
use tokio_util::sync::CancellationToken;

use crate::config::Timers;
use crate::layout::Layout;
use crate::runtime::{Count, Handle, Observed};

/// Looks at all sandboxes again and again until `stop`.
pub(crate) async fn run(
    layout: Layout,
    handle: Handle,
    timers: Timers,
    observed: Arc<Observed>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(timers.gc_interval) => {}
            () = stop.cancelled() => return,
        }
        let known = handle.look(|agent| {
            let tasks = agent.tasks().map(|task| task.container_id);
            let executors = agent.executors().map(|executor| executor.container_id);
            tasks.chain(executors).map(str::to_owned).collect::<BTreeSet<String>>()
        });
        let Some(known) = known.await else { return };
        let (layout, delay) = (layout.clone(), timers.gc_delay);
        let swept = tokio::task::spawn_blocking(move || sweep(&layout, &known, delay)).await;
        let Ok(Swept { removed, stuck }) = swept else { continue };
        observed.add(Count::SandboxesRemoved, removed);
        observed.add(Count::SandboxesStuck, stuck);
        if removed > 0 {
            tracing::info!(removed, "removed old sandboxes");
        }
    }
}

/// Lets the age of a sandbox begin now. Called at the end of its task, which may have written nothing at its top for longer
/// than sandboxes are kept.
pub(crate) fn restart_age(sandbox: &Path) {
    // The task may have put anything in the place of its folder: opening a pipe would wait, a link leads elsewhere.
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let folder = OpenOptions::new().read(true).custom_flags(flags.bits()).open(sandbox);
    // A sandbox whose time cannot be set goes too early; that is no reason to lose the end of its task.
    let _too_early = folder.and_then(|folder: File| folder.set_modified(SystemTime::now()));
}

/// How many sandboxes a sweep removed, and how many it could not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) removed: u64,
    pub(crate) stuck: u64,
}

/// Removes sandboxes that nobody knows and that were last changed before `delay`.
pub(crate) fn sweep(layout: &Layout, known: &BTreeSet<String>, delay: Duration) -> Swept {
    let mut swept = Swept::default();
    let all_runs = all_runs(&layout.sandboxes());
    for run in all_runs.iter().flat_map(|runs| entries(runs)) {
        let name = run.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_folder = fs::symlink_metadata(&run).is_ok_and(|metadata| metadata.is_dir());
        if !is_folder || known.contains(name) || age(&run).is_none_or(|age| age < delay) {
            continue;
        }
        match fs::remove_dir_all(&run) {
            Ok(()) => swept.removed += 1,
            Err(error) => {
                swept.stuck += 1;
                tracing::warn!(path = %run.display(), %error, "failed to remove a sandbox");
            }
        }
    }
    // Of all executors, so that what an interrupted sweep left goes as well.
    for runs in all_runs {
        let _alone = layout.prune_parents();
        prune(&runs);
    }
    swept
}

/// Removes a `runs` folder and those above it, up to the framework's, as far as nothing is in them.
fn prune(runs: &Path) {
    let latest = runs.join("latest");
    if fs::metadata(&latest).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let _none = fs::remove_file(&latest);
    }
    // runs, the executor's, executors, the framework's.
    for folder in runs.ancestors().take(4) {
        let _not_empty = fs::remove_dir(folder);
    }
}

/// Returns the `runs` folders of all executors.
fn all_runs(sandboxes: &Path) -> Vec<PathBuf> {
    let mut level = entries(sandboxes);
    for fixed in ["frameworks", "executors"] {
        level = level.iter().flat_map(|path| entries(&path.join(fixed))).collect();
    }
    level.iter().map(|path| path.join("runs")).collect()
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

    const HOUR: Duration = Duration::from_secs(3600);

    fn layout() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        (folder, layout)
    }

    fn sandbox(layout: &Layout, executor: &str, container: &str) -> PathBuf {
        let runs = layout.runs("a", "f", executor);
        fs::create_dir_all(runs.join(container)).unwrap();
        fs::write(runs.join(container).join("stdout"), "x").unwrap();
        let _former = fs::remove_file(runs.join("latest"));
        std::os::unix::fs::symlink(container, runs.join("latest")).unwrap();
        runs.join(container)
    }

    fn set_age(path: &Path, age: Duration) {
        File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn only_old_and_unknown_sandboxes_go() {
        let (_folder, layout) = layout();
        let (old, kept) = (sandbox(&layout, "t", "old"), sandbox(&layout, "t", "known"));
        let known = BTreeSet::from(["known".to_owned()]);
        assert_eq!(sweep(&layout, &known, HOUR).removed, 0);
        assert_eq!(sweep(&layout, &known, Duration::ZERO), Swept { removed: 1, stuck: 0 });
        assert!(kept.join("stdout").exists() && !old.exists());
        assert!(kept.with_file_name("latest").exists(), "it leads to one that stays");
    }

    #[test]
    fn a_sandbox_is_kept_from_the_end_of_its_task() {
        let (_folder, layout) = layout();
        let run = sandbox(&layout, "t", "c");
        for path in [run.join("stdout"), run.clone()] {
            set_age(&path, 2 * HOUR);
        }
        restart_age(&run);
        assert_eq!(sweep(&layout, &BTreeSet::new(), HOUR).removed, 0);
        set_age(&run, 2 * HOUR);
        assert_eq!(sweep(&layout, &BTreeSet::new(), HOUR).removed, 1);
    }

    #[test]
    fn folders_go_with_the_last_sandbox_in_them() {
        let (_folder, layout) = layout();
        let (_, other) = (sandbox(&layout, "t", "c"), sandbox(&layout, "other", "known"));
        let framework = layout.sandboxes().join("a/frameworks/f");
        sweep(&layout, &BTreeSet::from(["known".to_owned()]), Duration::ZERO);
        assert!(!framework.join("executors/t").exists() && other.exists());
        sweep(&layout, &BTreeSet::new(), Duration::ZERO);
        assert!(!framework.exists() && layout.sandboxes().join("a/frameworks").exists());
    }
}
