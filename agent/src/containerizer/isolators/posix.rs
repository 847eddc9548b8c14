//! A sandbox folder and nothing else: works for any user on any host, and keeps no command from using more than its share.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::Isolator;
use crate::containerizer::start::Start;
use crate::layout::Layout;
use crate::supervise::records::Spec;

pub(super) struct Posix;

impl Isolator for Posix {
    fn prepare(&self, layout: &Layout, start: &Start, spec: &mut Spec) -> io::Result<()> {
        let runs = layout.runs(&start.agent_id, &start.framework_id, &start.executor_id);
        let sandbox = runs.join(&start.container_id);
        // The sweep must not take a folder on the way away before there is something in it, nor the link that is new.
        let _kept = layout.keep_parents();
        fs::create_dir_all(&sandbox)?;
        point_latest(&runs, &start.container_id)?;
        spec.sandbox = sandbox.display().to_string();
        Ok(())
    }
}

/// Replaces the link to the newest sandbox; there is one at any moment once there was one.
fn point_latest(runs: &Path, container_id: &str) -> io::Result<()> {
    let draft = runs.join(format!(".latest-{container_id}"));
    symlink(container_id, &draft)?;
    fs::rename(draft, runs.join("latest"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tepui_agent_core::{Launch, TaskKey};

    use super::*;
    use crate::gc;

    #[test]
    fn a_sandbox_is_laid_out_whatever_the_sweep_removes_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        let runs = layout.runs("a", "f", "t");
        let laid_out = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let known = (0..1000).map(|number| number.to_string()).collect::<BTreeSet<_>>();
                while !laid_out.load(Ordering::Relaxed) {
                    gc::sweep(&layout, &known, Duration::ZERO);
                }
            });
            let failed = (0..1000).find_map(|number| {
                let container_id = number.to_string();
                let launch = Launch {
                    task: TaskKey::new("f", "t"),
                    container_id: container_id.clone(),
                    executor_id: "t".to_owned(),
                    agent_id: "a".to_owned(),
                    framework: Default::default(),
                    info: Default::default(),
                    grace_ms: 0,
                };
                let mut spec = Spec {
                    container_id,
                    sandbox: String::new(),
                    program: String::new(),
                    name: None,
                    arguments: Vec::new(),
                    environment: Vec::new(),
                    grace_ms: 0,
                    ends_with_agent: false,
                };
                let prepared = Posix.prepare(&layout, &Start::from(launch), &mut spec);
                let failed = match prepared.and_then(|()| fs::metadata(runs.join("latest"))) {
                    Ok(_) => None,
                    Err(error) => Some((number, error)),
                };
                // Whatever is left is the sweep's to remove.
                let _gone = fs::remove_dir(&spec.sandbox);
                failed
            });
            laid_out.store(true, Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
    }
}
