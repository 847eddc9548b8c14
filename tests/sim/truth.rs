//! What the log decided, read from each entry once: how operations ended, and which life of a volume a task was given. Everybody's
//! word is judged by it. Knows nothing of the cluster but its entries.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::v1::{self, resource::reservation_info::Type as ReservationType};
use tepui_scheduler_core as core;
use tepui_scheduler_core::registry::{Convert, Launch, operate_step};
use tepui_scheduler_core::{Operation, Outcome, conversion};

use super::fleet::FleetTruth;
use super::tasks::Name;

/// Agent id, role, persistence id.
pub(crate) type Volume = (String, String, String);

#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Named operations whose end was committed, by framework and id: whether they were carried out.
    pub(crate) operations: BTreeMap<Name, bool>,
    /// Tasks whose framework was promised that they will be ended.
    pub(crate) killed: BTreeSet<Name>,
    /// Conversions that were carried out.
    pub(crate) conversions: u64,
    /// How often a volume of this name was created.
    lives: BTreeMap<Volume, u64>,
    /// Those that were not destroyed since.
    living: BTreeSet<Volume>,
    /// Volumes that a task was launched with, and which life of theirs.
    given: BTreeMap<Name, Vec<(Volume, u64)>>,
    /// Lives that a task has written to.
    pub(crate) written: BTreeSet<(Volume, u64)>,
    /// Numbers of reservations by the operator that were carried out.
    pub(crate) by_operator: BTreeSet<u64>,
    pub(crate) fleet: FleetTruth,
}

impl Truth {
    /// Takes an entry in.
    ///
    /// # Errors
    /// Something was decided that may not be.
    pub(crate) fn take(&mut self, envelope: &core::Envelope, outcome: &Outcome) -> Result<(), String> {
        if let Some(operation) = &envelope.operation {
            self.fleet.take(operation, outcome)?;
        }
        match (&envelope.operation, outcome) {
            (Some(Operation::Launch(launch)), Outcome::Launched(results)) => {
                self.take_launch(launch, &mut results.iter().map(Result::is_ok))?;
            }
            (Some(Operation::Operate(operate)), Outcome::Operated { conversions, launches }) => {
                let mut conversions = conversions.iter().map(Result::is_ok);
                let mut launches = launches.iter().map(Result::is_ok);
                for step in operate.steps.iter().filter_map(|step| step.step.as_ref()) {
                    match step {
                        operate_step::Step::Convert(convert) => {
                            let done = conversions.next().unwrap_or_default();
                            self.take_conversion(&operate.agent_id, convert, done);
                        }
                        operate_step::Step::Launch(launch) => self.take_launch(launch, &mut launches)?,
                    }
                }
            }
            (Some(Operation::MarkKill(mark)), Outcome::Done) => {
                self.killed.insert((mark.framework_id.clone(), mark.task_id.clone()));
            }
            (Some(Operation::LaunchDriver(launch)), Outcome::Launched(results))
                if results.iter().all(Result::is_ok) =>
            {
                self.fleet.launched(&launch.agent_id, &launch.name)?;
            }
            _ => {}
        }
        let left = std::mem::take(&mut self.fleet.left);
        self.living.retain(|(agent, _, _)| !left.contains(agent));
        Ok(())
    }

    fn take_conversion(&mut self, agent: &str, convert: &Convert, done: bool) {
        if let Some(record) = &convert.operation {
            let key = record.key();
            let name = (key.framework.as_str().to_owned(), key.operation.to_string());
            self.operations.entry(name).or_insert(done);
        }
        if !done {
            return;
        }
        self.conversions += 1;
        let names = |list: &[v1::Resource]| -> BTreeSet<Volume> {
            list.iter()
                .filter_map(conversion::volume_name)
                .map(|(role, id)| (agent.to_owned(), role, id))
                .collect()
        };
        let (before, after) = (names(&convert.consumed), names(&convert.converted));
        for gone in before.difference(&after) {
            self.living.remove(gone);
        }
        for made in after.difference(&before) {
            *self.lives.entry(made.clone()).or_default() += 1;
            self.living.insert(made.clone());
        }
        self.by_operator.extend(convert.converted.iter().filter_map(number_of));
    }

    fn take_launch(
        &mut self,
        launch: &Launch,
        results: &mut dyn Iterator<Item = bool>,
    ) -> Result<(), String> {
        let mut before: Option<(u32, bool)> = None;
        for item in &launch.tasks {
            let done = results.next().unwrap_or_default();
            if item.group != 0 && before == Some((item.group, !done)) {
                return Err(format!("a part of a group was launched on agent {}", launch.agent_id));
            }
            before = Some((item.group, done));
            if !done {
                continue;
            }
            let Some(task) = &item.task else { continue };
            if task.task_id.as_ref().is_some_and(|id| id.value().starts_with(super::frameworks::OLD)) {
                return Err("a task of an instance that was replaced was launched".to_owned());
            }
            self.fleet.launched(&launch.agent_id, task.task_id.as_ref().map_or("", v1::TaskId::value))?;
            let volumes = task.resources.iter().filter_map(conversion::volume_name);
            let volumes = volumes.map(|(role, id)| (launch.agent_id.clone(), role, id));
            let given: Vec<(Volume, u64)> = volumes
                .map(|volume| {
                    let life = self.lives.get(&volume).copied().unwrap_or_default();
                    (volume, life)
                })
                .collect();
            if !given.is_empty() {
                let task = task.task_id.as_ref().map_or("", v1::TaskId::value).to_owned();
                self.given.insert((launch.framework_id.clone(), task), given);
            }
        }
        Ok(())
    }

    /// The volumes that a task was launched with.
    pub(crate) fn given_to(&self, task: &Name) -> Vec<(Volume, u64)> {
        self.given.get(task).cloned().unwrap_or_default()
    }

    /// The life of a volume that nobody has destroyed.
    pub(crate) fn life_of(&self, volume: &Volume) -> Option<u64> {
        self.living.contains(volume).then(|| self.lives[volume])
    }
}

/// The label that numbers a reservation of the operator.
pub(crate) fn numbered(mut list: Vec<v1::Resource>, number: u64) -> Vec<v1::Resource> {
    let label = v1::Label { key: Some("number".to_owned()), value: Some(number.to_string()) };
    for reservation in list.iter_mut().flat_map(|one| &mut one.reservations) {
        reservation.labels = Some(v1::Labels { labels: vec![label.clone()] });
    }
    list
}

fn number_of(resource: &v1::Resource) -> Option<u64> {
    let last = resource.reservations.last().filter(|last| last.r#type() == ReservationType::Dynamic)?;
    last.labels.as_ref()?.labels.first()?.value.as_ref()?.parse().ok()
}
