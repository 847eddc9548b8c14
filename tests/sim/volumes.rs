//! The volumes on the agents' hosts: who uses them, what was written to them, and whether the cluster's word about them is kept.

use std::collections::{BTreeMap, BTreeSet};

use tepui_agent_core::{VolumeName, volume_of};
use tepui_proto::resources::Resources;
use tepui_proto::v1;
use tepui_scheduler_core::registry::unallocated;
use tepui_scheduler_core::{conversion, ids};

use super::truth::Volume;
use super::world::World;

/// What is in a volume: the lives of the volume in which a task wrote to it.
pub(crate) type Contents = BTreeSet<u64>;

/// A volume by its name on one agent.
fn named(agent_id: &str, name: &VolumeName) -> Volume {
    (agent_id.to_owned(), name.role.clone(), name.id.clone())
}

impl World {
    /// Carries out what the agent wants of its host's volumes.
    pub(crate) fn change_volumes(
        &mut self,
        agent: usize,
        destroy: Vec<VolumeName>,
        create: Vec<VolumeName>,
    ) -> Result<(), String> {
        let agent_id = self.agents[agent].agent_id().to_owned();
        for name in destroy {
            let found = &self.agents[agent];
            if let Some((task, _)) = found
                .processes
                .iter()
                .find(|(_, process)| process.ended.is_none() && process.volumes.contains(&name))
            {
                return Err(format!("agent {agent} destroys volume {name:?}, which task {task} uses"));
            }
            let volume = named(&agent_id, &name);
            let contents = found.volumes.get(&name).cloned().unwrap_or_default();
            if let Some(life) = self.truth.life_of(&volume)
                && contents.contains(&life)
            {
                return Err(format!("agent {agent} destroys volume {name:?}, which the Registry has"));
            }
            self.agents[agent].volumes.remove(&name);
        }
        for name in create {
            self.agents[agent].volumes.entry(name).or_default();
        }
        Ok(())
    }

    /// A task finds its volumes as the cluster promised them, and writes to them.
    pub(crate) fn use_volumes(
        &mut self,
        agent: usize,
        task: &(String, String),
        resources: &[v1::Resource],
    ) -> Result<Vec<VolumeName>, String> {
        let agent_id = self.agents[agent].agent_id().to_owned();
        let used: Vec<VolumeName> = resources.iter().filter_map(volume_of).collect();
        let given: BTreeMap<Volume, u64> = self.truth.given_to(task).into_iter().collect();
        for name in &used {
            let volume = named(&agent_id, name);
            let Some(life) = given.get(&volume).copied() else {
                return Err(format!("task {task:?} has volume {name:?}, which the log did not give it"));
            };
            let Some(contents) = self.agents[agent].volumes.get_mut(name) else {
                return Err(format!("task {task:?} starts without its volume {name:?}"));
            };
            // Who creates a volume where an orphan of its name is takes that over.
            let orphans = self.truth.fleet.dropped.contains(&agent_id);
            if let Some(other) = contents.iter().find(|other| **other != life && !orphans) {
                return Err(format!(
                    "task {task:?} finds in volume {name:?}, life {life}, what was written in life {other}"
                ));
            }
            if contents.insert(life) && self.truth.written.contains(&(volume.clone(), life)) {
                return Err(format!("task {task:?} finds volume {name:?} empty, which was written to"));
            }
            self.truth.written.insert((volume, life));
        }
        Ok(used)
    }

    /// Whether an agent's checkpoint and its host say what the Registry says of reservations and volumes; otherwise in words why not.
    pub(crate) fn agent_agrees(&self, agent: usize) -> Result<(), String> {
        let state = self.agents[agent].state();
        let id = ids::AgentId::from(state.agent_id.as_str());
        let registry = self.registry();
        let Some(record) = registry.agents.get(&id) else {
            return Err(format!("agent {agent} is {id}, which the Registry does not know"));
        };
        let made = conversion::made(&unallocated(record.total()));
        let held = Resources::from_proto(&state.resources.made).map_err(|error| error.to_string())?;
        if state.resources.version != record.resources_version || held != made {
            return Err(format!(
                "agent {agent} has {held} in version {}, the Registry {made} in version {}",
                state.resources.version, record.resources_version
            ));
        }
        let orphans =
            |list: &[v1::Resource]| list.iter().filter_map(volume_of).collect::<BTreeSet<VolumeName>>();
        let orphaned = orphans(&state.resources.orphaned);
        // The Registry knows those that the agent named when it came; others may have become orphans since.
        if !self.truth.fleet.dropped.contains(&state.agent_id) && !orphaned.is_empty() {
            return Err(format!("agent {agent} has orphans {orphaned:?}, but was never forgotten"));
        }
        let mut wanted: BTreeSet<VolumeName> = state.resources.made.iter().filter_map(volume_of).collect();
        wanted.extend(orphaned);
        let found: BTreeSet<VolumeName> = self.agents[agent].volumes.keys().cloned().collect();
        if wanted != found {
            return Err(format!("agent {agent} has volumes {found:?}, the Registry {wanted:?}"));
        }
        if !record.destroyed.is_empty() {
            return Err(format!("agent {agent} has not confirmed that {:?} is gone", record.destroyed));
        }
        Ok(())
    }
}
