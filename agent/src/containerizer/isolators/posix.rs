//! A sandbox folder and nothing else: works for any user on any host, and keeps no command from using more than its share.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use tepui_agent_core::Launch;

use super::Isolator;
use crate::layout::Layout;
use crate::supervise::records::Spec;

pub(super) struct Posix;

impl Isolator for Posix {
    fn prepare(&self, layout: &Layout, launch: &Launch, spec: &mut Spec) -> io::Result<()> {
        let runs = layout.runs(&launch.agent_id, &launch.task.framework_id, &launch.executor_id);
        let sandbox = runs.join(&launch.container_id);
        fs::create_dir_all(&sandbox)?;
        point_latest(&runs, &launch.container_id)?;
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
