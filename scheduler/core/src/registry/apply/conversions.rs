//! Reservations and volumes: the resources of an agent are made into others, and the framework's wish for a report is kept.
//!
//! ```text
//! own ──RESERVE──► reserved ──CREATE──► volume        every arrow is a conversion, and goes both ways;
//!                                                     no conversion changes the sum of what the agent itself has
//! ```

use std::sync::Arc;

use tepui_proto::resources::Resources;
use tepui_proto::tepui::agent_link::DestroyedVolume;
use tepui_proto::v1::OperationState;

use super::Step;
use crate::conversion;
use crate::ids::{AgentId, FrameworkId};
use crate::registry::amounts;
use crate::registry::operation::{
    Convert, ObservedOperationAcknowledgement, ObservedResources, Operate, operate_step,
};
use crate::registry::outcome::{Outcome, Refusal};
use crate::registry::records::{AgentRecord, OperationRecord};
use crate::registry::tables::OperationKey;

/// Most entries that the resources of one agent may fall into.
pub const MAX_AGENT_RESOURCES: usize = 4_096;
/// Most destroyed volumes that wait for their agent's word.
pub const MAX_DESTROYED_VOLUMES: usize = 4_096;
/// Most operations of one framework that wait to be acknowledged.
pub const MAX_OPERATIONS: usize = 10_000;

impl Step<'_> {
    pub(super) fn operate(&mut self, operate: &Operate) -> Result<Outcome, Refusal> {
        let framework = FrameworkId::from(operate.framework_id.as_str());
        let agent = AgentId::from(operate.agent_id.as_str());
        let (mut conversions, mut launches) = (Vec::new(), Vec::new());
        if operate.steps.iter().any(|one| one.step.is_none()) {
            return Err(Refusal::Malformed);
        }
        for step in operate.steps.iter().filter_map(|one| one.step.as_ref()) {
            match step {
                operate_step::Step::Convert(convert) => {
                    let result = self.convert(&framework, &agent, convert);
                    self.remember_operation(&framework, convert, result);
                    conversions.push(result);
                }
                operate_step::Step::Launch(launch) => {
                    let ours =
                        launch.framework_id == operate.framework_id && launch.agent_id == operate.agent_id;
                    match ours.then(|| self.launch(launch)) {
                        Some(Ok(Outcome::Launched(results))) => launches.extend(results),
                        Some(Err(refusal)) => launches.extend(vec![Err(refusal); launch.tasks.len()]),
                        _ => launches.extend(vec![Err(Refusal::Malformed); launch.tasks.len()]),
                    }
                }
            }
        }
        Ok(Outcome::Operated { conversions, launches })
    }

    fn convert(
        &mut self,
        framework: &FrameworkId,
        agent_id: &AgentId,
        convert: &Convert,
    ) -> Result<(), Refusal> {
        self.check_operation(framework, convert)?;
        let agent = self.agent(agent_id)?;
        if !self.tables.agent_connected(&agent) {
            return Err(Refusal::AgentNotConnected);
        }
        let consumed = read(&convert.consumed)?;
        let converted = read(&convert.converted)?;
        let bases = conversion::bases(&consumed).zip(conversion::bases(&converted));
        if consumed.is_empty() || bases.is_none_or(|(before, after)| before != after) {
            return Err(Refusal::Malformed);
        }
        let total = amounts::unallocated(agent.total());
        let used = self.tables.charges.get(agent_id).map(|charges| charges.total.clone()).unwrap_or_default();
        let free = if mutant!("used-volume-destroyed") { total.clone() } else { total.less(&used) };
        if !free.contains(&consumed) {
            return Err(Refusal::InsufficientResources);
        }
        if consumed.shared().iter().any(|(identity, _)| used.iter().any(|(other, _)| other == identity)) {
            return Err(Refusal::VolumeInUse);
        }
        let total = total.saturating_sub(&consumed) + &converted;
        let volumes = conversion::volumes(&total);
        if volumes.values().any(|copies| *copies > 1) {
            return Err(Refusal::VolumeExists);
        }
        let mut record = AgentRecord::clone(&agent);
        record.resources_version += 1;
        record.converted = total.to_proto();
        record
            .orphaned
            .retain(|one| conversion::volume_name(one).is_some_and(|name| !volumes.contains_key(&name)));
        for (role, id) in conversion::volumes(&consumed).into_keys() {
            if !volumes.contains_key(&(role.clone(), id.clone())) {
                record.destroyed.push(DestroyedVolume {
                    version: Some(record.resources_version),
                    role: Some(role),
                    persistence_id: Some(id),
                });
            }
        }
        if record.converted.len() > MAX_AGENT_RESOURCES || record.destroyed.len() > MAX_DESTROYED_VOLUMES {
            return Err(Refusal::TooMany);
        }
        self.put_agent(agent_id.clone(), record);
        Ok(())
    }

    /// Whether a report can be kept for the framework.
    fn check_operation(&self, framework: &FrameworkId, convert: &Convert) -> Result<(), Refusal> {
        if !framework.as_str().is_empty() && !self.tables.frameworks.contains_key(framework) {
            return Err(match self.tables.completed(framework) {
                Some(_) => Refusal::CompletedFramework,
                None => Refusal::UnknownFramework,
            });
        }
        let Some(record) = &convert.operation else { return Ok(()) };
        let whole = record.status.is_some() && record.info.is_some();
        if !whole || framework.as_str().is_empty() || record.key().framework != *framework {
            return Err(Refusal::Malformed);
        }
        if self.tables.operations.contains_key(&record.key()) {
            return Err(Refusal::OperationExists);
        }
        if self.tables.operations_of(framework).count() >= MAX_OPERATIONS {
            return Err(Refusal::TooMany);
        }
        Ok(())
    }

    /// Keeps what became of an operation until its framework acknowledges it. One that cannot be kept is not.
    fn remember_operation(
        &mut self,
        framework: &FrameworkId,
        convert: &Convert,
        result: Result<(), Refusal>,
    ) {
        let Some(record) = &convert.operation else { return };
        if self.check_operation(framework, convert).is_err() {
            return;
        }
        let mut record = OperationRecord::clone(record);
        if let (Some(status), Err(refusal)) = (&mut record.status, result) {
            status.state = Some(OperationState::OperationDropped as i32);
            status.message = Some(refusal.to_string());
            status.converted_resources.clear();
        }
        self.tables.operations.insert(record.key(), Arc::new(record));
    }

    pub(super) fn observe_operation_acknowledgement(&mut self, word: &ObservedOperationAcknowledgement) {
        let key = OperationKey::new(word.framework_id.as_str(), word.operation_id.as_str());
        if self.tables.operations.get(&key).is_some_and(|record| record.status_uuid() == word.uuid) {
            self.tables.operations.remove(&key);
        }
    }

    /// The agent has done everything up to this version.
    pub(super) fn observe_resources(&mut self, word: &ObservedResources) {
        let id = AgentId::from(word.agent_id.as_str());
        let Some(agent) = self.tables.agents.get_mut(&id) else { return };
        if agent.destroyed.iter().any(|one| one.version() <= word.version) {
            // Invisible from outside, so no change is reported.
            Arc::make_mut(agent).destroyed.retain(|one| one.version() > word.version);
        }
    }

    pub(super) fn forget_operations_of(&mut self, framework: &FrameworkId) {
        let keys: Vec<OperationKey> =
            self.tables.operations_of(framework).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.tables.operations.remove(&key);
        }
    }

    pub(super) fn forget_operations_on(&mut self, agent: &AgentId) {
        let on = |record: &OperationRecord| record.agent_id == agent.as_str();
        let keys: Vec<OperationKey> = self
            .tables
            .operations
            .iter()
            .filter(|(_, record)| on(record))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.tables.operations.remove(&key);
        }
    }

    /// What reservations and volumes an agent has that comes (back) with its own resources: the Registry's word counts, and what
    /// the agent holds beyond that is kept as orphaned. Where the Registry has no word at all, since it forgot the agent, the agent's
    /// own counts: its tasks may be using what was made.
    pub(super) fn settle_resources(
        &self,
        old: Option<&AgentRecord>,
        new: &mut AgentRecord,
        word: &AgentResources<'_>,
    ) {
        let told = conversion::made(&amounts::unallocated(word.resources));
        let remembered = AgentRecord {
            converted: if fits_an_agent(&told) { told.to_proto() } else { Vec::new() },
            resources_version: word.version,
            ..AgentRecord::default()
        };
        let old = old.unwrap_or(&remembered);
        let made = conversion::made(&amounts::unallocated(old.total())).to_proto();
        let own =
            amounts::unallocated(new.info.as_ref().map(|info| info.resources.as_slice()).unwrap_or_default());
        let own = conversion::bases(&own).unwrap_or(own);
        let (total, lost) = conversion::apply_made(&own, &made);
        let made = conversion::made(&total);
        new.converted = total.to_proto();
        new.destroyed.clone_from(&old.destroyed);
        let known = conversion::volumes(&made);
        let destroyed = |name: &conversion::VolumeName| {
            old.destroyed.iter().any(|one| {
                one.version() > word.version && one.role() == name.0 && one.persistence_id() == name.1
            })
        };
        let held = [old.orphaned.as_slice(), word.orphaned, &told.to_proto(), &lost].concat();
        let mut seen = std::collections::BTreeSet::new();
        for one in held {
            let Some(name) = conversion::volume_name(&one) else { continue };
            if !known.contains_key(&name) && !destroyed(&name) && seen.insert(name) {
                new.orphaned.push(one);
            }
        }
        new.orphaned.truncate(MAX_AGENT_RESOURCES);
        new.resources_version = old.resources_version;
        let foreign = word.version == old.resources_version && amounts::unallocated(word.resources) != made;
        if foreign || word.version > old.resources_version {
            // Whatever the agent has by that number is not this.
            new.resources_version = word.version.saturating_add(1);
        }
        if new.resources_version == 0 {
            new.converted.clear();
        }
    }
}

/// Whether this can be what operations made on one agent: no volume twice, and not more than is kept.
fn fits_an_agent(made: &Resources) -> bool {
    made.to_proto().len() <= MAX_AGENT_RESOURCES
        && conversion::volumes(made).values().all(|copies| *copies == 1)
}

/// What an agent says of its reservations and volumes.
pub(super) struct AgentResources<'a> {
    pub(super) version: u64,
    pub(super) resources: &'a [tepui_proto::v1::Resource],
    pub(super) orphaned: &'a [tepui_proto::v1::Resource],
}

fn read(list: &[tepui_proto::v1::Resource]) -> Result<Resources, Refusal> {
    let read = Resources::from_proto(list).map_err(|_| Refusal::Malformed)?;
    let plain = read.iter().all(|(identity, _)| identity.allocation_role().is_none());
    if plain { Ok(read) } else { Err(Refusal::Malformed) }
}
