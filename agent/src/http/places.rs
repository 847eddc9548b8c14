//! What a virtual path means: a file or folder on this host, and what it must be inside of. Owns how paths are understood; whether
//! there is something, and whether it is really inside, is found out when it is opened.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tepui_agent_core::Agent;
use tepui_proto::v1::Resource;

use super::Inner;
use super::error::Refusal;
use super::files::{LOG, blocking};
use super::within::{Place, ShownVolume};
use crate::layout::Layout;
use crate::volumes;

/// Segments of a sandbox below the folder of all sandboxes: agent, `frameworks`, its id, `executors`, its id, `runs`, container.
const SANDBOX_SEGMENTS: usize = 7;
const LATEST: &str = "latest";

/// Finds what a virtual path means.
///
/// # Errors
/// 400 for an empty one, 404 for one that means nothing.
pub(super) async fn find(app: &Arc<Inner>, path: &str) -> Result<Place, Refusal> {
    if path.is_empty() {
        return Err(Refusal::bad_request("expecting 'path' not to be empty"));
    }
    if path.trim_end_matches('/') == LOG {
        let log = app.facts.log_file.as_ref();
        let log = log.ok_or_else(|| Refusal::not_found("this agent does not log to a file"))?;
        return Ok(Place { root: log.clone(), wanted: log.clone(), volumes: Vec::new() });
    }
    let agent_id =
        app.handle.look(|agent| agent.agent_id().to_owned()).await.ok_or_else(Refusal::unavailable)?;
    let root = app.facts.layout.sandboxes();
    let wanted = match path.strip_prefix("/frameworks/") {
        // Joined with an empty name it would be the folder of all agents.
        Some(_) if agent_id.is_empty() => return Err(Refusal::not_found(format!("no such file: {path}"))),
        Some(rest) => root.join(agent_id).join("frameworks").join(rest.trim_start_matches('/')),
        None if path.starts_with('/') => PathBuf::from(path),
        // Nothing depends on where the agent was started.
        None => return Err(Refusal::not_found(format!("no such file: {path}"))),
    };
    let volumes = match sandbox_of(&root, &wanted) {
        Some(sandbox) => shown_in(app, sandbox).await?,
        None => Vec::new(),
    };
    Ok(Place { root, wanted, volumes })
}

/// Returns the sandbox that something is inside of, in the words of its path; nothing for a sandbox itself.
fn sandbox_of(root: &Path, wanted: &Path) -> Option<PathBuf> {
    let mut rest = wanted.strip_prefix(root).ok()?.components();
    let mut sandbox = root.to_owned();
    for _ in 0..SANDBOX_SEGMENTS {
        let Component::Normal(part) = rest.next()? else { return None };
        sandbox.push(part);
    }
    rest.next().map(|_| sandbox)
}

/// Returns the volumes that the agent shows in a sandbox.
pub(super) async fn shown_in(app: &Arc<Inner>, sandbox: PathBuf) -> Result<Vec<ShownVolume>, Refusal> {
    let named = sandbox.clone();
    let container_id = blocking(move || {
        let newest = if named.ends_with(LATEST) { fs::read_link(&named).ok() } else { Some(named) };
        Ok(newest.and_then(|path| Some(path.file_name()?.to_str()?.to_owned())))
    });
    let Some(container_id) = container_id.await? else { return Ok(Vec::new()) };
    let layout = app.facts.layout.clone();
    let shown = app.handle.look(move |agent| volumes_of(&layout, agent, &container_id, &sandbox)).await;
    shown.ok_or_else(Refusal::unavailable)
}

fn volumes_of(layout: &Layout, agent: &Agent, container_id: &str, sandbox: &Path) -> Vec<ShownVolume> {
    let mut shown = Vec::new();
    let mut add = |resources: &[Resource]| {
        // What could not be shown is not there.
        let mounts = resources.iter().filter_map(|one| volumes::mount(one).ok().flatten());
        shown.extend(mounts.map(|mount| ShownVolume {
            link: sandbox.join(mount.place),
            folder: layout.volume(&mount.name),
        }));
    };
    agent.executors().filter(|one| one.container_id == container_id).for_each(|one| add(&one.info.resources));
    let ended = agent.completed_executors().filter(|one| one.container_id == container_id);
    ended.for_each(|one| add(&one.info.resources));
    agent.tasks().filter(|one| one.container_id == container_id).for_each(|one| add(&one.info.resources));
    let done = agent.completed_tasks().filter(|one| one.container_id == container_id);
    done.for_each(|one| add(&one.info.resources));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_found_by_its_path_alone() {
        let root = Path::new("/w/slaves");
        let run = "/w/slaves/a/frameworks/f/executors/e/runs/c";
        let of = |path: &str| sandbox_of(root, Path::new(path));
        assert_eq!(of(&format!("{run}/data/x")), Some(PathBuf::from(run)));
        assert_eq!(of(run), None);
        assert_eq!(of("/w/slaves/a/frameworks/f/executors/../executors/e/runs/c/x"), None);
        assert_eq!(of("/w/meta/a/frameworks/f/executors/e/runs/c/x"), None);
    }
}
