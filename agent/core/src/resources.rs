//! What is reserved on this agent, and which volumes it has. The cluster decides, the agent remembers in which version.
//!
//! A volume is destroyed only if the cluster says so by its name: one that is merely missing from what the cluster knows (as after
//! a restore of an old backup) is orphaned, and stays.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::ids::validate_id;
use tepui_proto::role;
use tepui_proto::tepui::agent_link::{Call, call, event};
use tepui_proto::v1;

use crate::agent::{Agent, Awaiting, Turn};
use crate::checkpoint::{Kind, Resources};
use crate::{Effect, Note, VolumeName};

impl Agent {
    pub(crate) fn on_update_resources(&mut self, turn: &mut Turn<'_>, update: event::UpdateResources) {
        let (version, known) = (update.version(), self.resources.version);
        if version <= known {
            // It came again. Whether the record of it is durable or not: what was destroyed is gone.
            self.send_resources_accepted(turn, known);
            return;
        }
        let destroyed = update.destroyed.iter().filter(|one| one.version() > known);
        let destroyed: BTreeSet<VolumeName> =
            destroyed.filter_map(|one| checked(one.role(), one.persistence_id())).collect();
        let before = volumes(&self.resources.made);
        let after = volumes(&update.resources);
        let mut orphaned = volumes(&self.resources.orphaned);
        orphaned.extend(before.iter().map(|(name, volume)| (name.clone(), volume.clone())));
        orphaned.retain(|name, _| !after.contains_key(name) && !destroyed.contains(name));
        let new = |name: &&VolumeName| !before.contains_key(*name) || destroyed.contains(*name);
        let create: Vec<VolumeName> = after.keys().filter(new).cloned().collect();
        if !orphaned.is_empty() {
            let names: Vec<String> =
                orphaned.keys().map(|name| format!("{}/{}", name.role, name.id)).collect();
            turn.note(Note::VolumesOrphaned { names: names.join(", ") });
        }
        if !destroyed.is_empty() || !create.is_empty() {
            // Ahead of the record: if the agent stops in between, it is told again, and does it again. Nobody can have written
            // to a new volume until then, since a launch is only begun when its own record is durable.
            turn.push(Effect::Volumes { destroy: destroyed.into_iter().collect(), create });
        }
        turn.note(Note::Resources { version });
        self.resources =
            Resources { version, made: update.resources, orphaned: orphaned.into_values().collect() };
        let record = self.checkpoint(turn, Kind::Resources(self.resources.clone()));
        self.await_record(record, Awaiting::Resources { version });
    }

    pub(crate) fn send_resources_accepted(&self, turn: &mut Turn<'_>, version: u64) {
        let call = self.call(call::Type::ResourcesAccepted);
        self.send(turn, Call { resources_version: Some(version), ..call });
    }
}

/// Returns whether this resource is a persistent volume, whatever its name.
pub fn is_volume(resource: &v1::Resource) -> bool {
    resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some())
}

/// Returns the name of the volume that this resource is; nothing if it is none, or could not be a folder's name.
pub fn volume_of(resource: &v1::Resource) -> Option<VolumeName> {
    let id = resource.disk.as_ref()?.persistence.as_ref()?.id();
    let refined = resource.reservations.last().and_then(|last| last.role.as_deref());
    checked(refined.or(resource.role.as_deref()).unwrap_or(role::ANY), id)
}

fn checked(role: &str, id: &str) -> Option<VolumeName> {
    let safe = validate_id(id).is_ok() && role::validate(role).is_ok();
    safe.then(|| VolumeName { role: role.to_owned(), id: id.to_owned() })
}

fn volumes(resources: &[v1::Resource]) -> BTreeMap<VolumeName, v1::Resource> {
    resources.iter().filter_map(|one| Some((volume_of(one)?, one.clone()))).collect()
}
