//! Counts what everybody holds from the Registry's rows, from proposals that wait, and from what frameworks were told. The master's
//! own ledgers are not asked.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::resources::{Resources, ValueKind};
use tepui_proto::v1;

use super::world::{Hold, Payer, World};
use crate::ids::{AgentId, FrameworkId, TaskKey};
use crate::master::ProposalId;
use crate::registry::{
    Envelope, Launch, LaunchItem, Operate, Operation, TaskRecord, operate_step::Step, unallocated,
};

/// Thousandths by top-level role and kind.
pub(super) type Consumption = BTreeMap<(String, String), i64>;

/// Something that somebody has.
pub(super) struct Held {
    /// For messages.
    pub(super) what: String,
    pub(super) framework: FrameworkId,
    pub(super) role: String,
    pub(super) resources: Resources,
    /// Only offered.
    pub(super) offered: bool,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, framework, role, resources, .. } = self;
        write!(f, "{what} of {framework} in {role}: {resources}")
    }
}

/// The top-level role above a role, or itself.
pub(super) fn top(role: &str) -> &str {
    role.split('/').next().unwrap_or(role)
}

impl World {
    /// Everything held on an agent.
    pub(super) fn held_on(&self, agent: &AgentId) -> Vec<Held> {
        let mut held = self.allocated_on(agent);
        self.add_proposals(agent, &mut held);
        for stream in self.frameworks.iter().flat_map(|one| &one.streams) {
            held.extend(stream.offers.iter().filter(|(_, offer)| offer.agent == *agent).map(
                |(id, offer)| Held {
                    what: format!("offer {id}"),
                    framework: stream.peer.id.clone(),
                    role: offer.role.clone(),
                    resources: offer.resources.clone(),
                    offered: true,
                },
            ));
        }
        held
    }

    /// Proposals that wait, and the executors that they need: each of those is held once, whoever pays.
    fn add_proposals(&self, agent: &AgentId, held: &mut Vec<Held>) {
        let registry = self.harness.master.registry();
        let here = registry.executors.keys().filter(|key| key.agent == *agent);
        let mut there: BTreeSet<(FrameworkId, String)> =
            here.map(|key| (key.framework.clone(), key.executor.to_string())).collect();
        let holds: Vec<(&ProposalId, &Hold)> =
            self.holds.iter().filter(|(_, hold)| hold.agent == *agent).collect();
        for payers in [[Payer::Own, Payer::Within], [Payer::Other, Payer::Other]] {
            for (proposal, hold) in &holds {
                let mut resources = Resources::new();
                if payers[0] == Payer::Own {
                    resources = hold.resources.clone();
                }
                for (id, (needs, payer)) in hold.executors.iter().filter(|(_, (_, one))| payers.contains(one))
                {
                    let new = there.insert((hold.framework.clone(), id.clone()));
                    match payer {
                        Payer::Within if !new => resources = resources.saturating_sub(needs),
                        Payer::Own | Payer::Other if new => resources += needs,
                        _ => {}
                    }
                }
                held.push(Held {
                    what: format!("proposal {proposal}"),
                    framework: hold.framework.clone(),
                    role: hold.role.clone(),
                    resources,
                    offered: false,
                });
            }
        }
    }

    /// Tasks and executors of an agent, without those of which the master was told that they have ended.
    fn allocated_on(&self, agent: &AgentId) -> Vec<Held> {
        let registry = self.harness.master.registry();
        let ended: BTreeSet<TaskKey> = self.ended_on(agent);
        let charged = |record: &TaskRecord| {
            let dead = record.state().is_terminal() || record.unreachable_wall_ms.is_some();
            !dead && record.agent_id() == *agent && !ended.contains(&record.key())
        };
        let tasks = registry.tasks.values().filter(|record| charged(record)).map(|record| {
            let list = record.task.as_ref().map(|task| task.resources.as_slice()).unwrap_or_default();
            held(format!("task {}", record.key()), record.key().framework, list)
        });
        let here = registry.executors.iter().filter(|(key, _)| key.agent == *agent);
        let executors = here.map(|(key, record)| {
            let list = record.info.as_ref().map(|info| info.resources.as_slice()).unwrap_or_default();
            held(format!("executor {}", key.executor), key.framework.clone(), list)
        });
        tasks.chain(executors).filter(|one| !one.resources.is_empty()).collect()
    }

    /// Tasks whose end is reported and not committed. The master says which; that it is right is checked.
    fn ended_on(&self, agent: &AgentId) -> BTreeSet<TaskKey> {
        let registry = self.harness.master.registry();
        let keys: BTreeSet<TaskKey> = self.harness.master.reports.ended_on(agent).cloned().collect();
        for key in &keys {
            let Some(record) = registry.tasks.get(key).filter(|record| record.agent_id() == *agent) else {
                continue;
            };
            let name = (key.framework.to_string(), key.task.to_string());
            let own = self.agents.iter().find(|one| one.peer.id == *agent);
            let never_there = own.is_none_or(|own| record.launch_seq > own.peer.accepted_launch_seq);
            assert!(
                never_there || own.is_some_and(|own| own.ended.contains(&name)),
                "task {key} counts as ended, and nobody ended it"
            );
        }
        keys
    }

    /// What each top-level role uses of its quota: unreserved scalars that it holds, and all that is reserved for it.
    pub(super) fn consumed(&self) -> Consumption {
        let mut sums = Consumption::new();
        for (id, record) in &self.harness.master.registry().agents {
            if record.unreachable_ms.is_some() {
                continue;
            }
            let total = unallocated(record.total());
            for (identity, amount) in total.iter().filter(|(identity, _)| !identity.is_revocable()) {
                if let Some(role) = identity.reservation_role()
                    && identity.kind() == ValueKind::Scalar
                {
                    *sums.entry((top(role).to_owned(), identity.name().to_owned())).or_default() +=
                        amount.total().0;
                }
            }
            for one in self.held_on(id) {
                if !one.framework.as_str().is_empty() {
                    add_unreserved(&mut sums, &one.role, &one.resources);
                }
            }
        }
        sums
    }

    /// Notes what new proposals hold. `offered` is what the offers had from which an ACCEPT was made.
    pub(super) fn hold_new(&mut self, known: &BTreeSet<ProposalId>, role: &str, offered: &Resources) {
        let new: Vec<(ProposalId, Envelope)> =
            self.harness.queue.iter().filter(|(proposal, _)| !known.contains(proposal)).cloned().collect();
        for (proposal, envelope) in new {
            let mut executors = self.executors_of(&envelope);
            let (framework, agent, resources) = match &envelope.operation {
                Some(Operation::Launch(launch)) => {
                    (&launch.framework_id, &launch.agent_id, wanted_by(launch))
                }
                Some(Operation::Operate(operate)) => {
                    let resources = match operate.framework_id.as_str() {
                        "" => consumed_by(operate),
                        _ => offered.clone(),
                    };
                    for (_, payer) in executors.values_mut().filter(|(_, payer)| *payer == Payer::Own) {
                        *payer = Payer::Within;
                    }
                    (&operate.framework_id, &operate.agent_id, resources)
                }
                _ => continue,
            };
            let hold = Hold {
                agent: AgentId::from(agent.as_str()),
                framework: FrameworkId::from(framework.as_str()),
                role: role.to_owned(),
                resources,
                executors,
            };
            self.holds.insert(proposal, hold);
        }
    }

    /// The executors of the launches in an envelope, and whether they are there already or come with an earlier proposal.
    fn executors_of(&self, envelope: &Envelope) -> BTreeMap<String, (Resources, Payer)> {
        let registry = self.harness.master.registry();
        let mut found = BTreeMap::new();
        for item in items(envelope) {
            let Some(info) = &item.executor else { continue };
            let task = item.task.as_ref().expect("a task");
            let (agent, framework): (AgentId, FrameworkId) =
                (crate::ids::of(task.agent_id.as_ref()), crate::ids::of(task.framework_id.as_ref()));
            let id = info.executor_id.as_ref().expect("an id").value().to_owned();
            let running = registry
                .executors_on(&agent)
                .any(|(key, _)| key.framework == framework && key.executor.as_str() == id);
            let coming = self.holds.values().any(|hold| {
                hold.agent == agent && hold.framework == framework && hold.executors.contains_key(&id)
            });
            let payer = if running || coming { Payer::Other } else { Payer::Own };
            found.insert(id, (unallocated(&info.resources), payer));
        }
        found
    }

    /// What is committed or lost holds nothing any more.
    pub(super) fn settle_holds(&mut self) {
        let waiting = self.waiting();
        self.holds.retain(|proposal, _| waiting.contains(proposal) || self.doubtful.contains(proposal));
    }

    pub(super) fn waiting(&self) -> BTreeSet<ProposalId> {
        self.harness.queue.iter().map(|(proposal, _)| *proposal).collect()
    }

    /// Whether the first so many that wait bring what nobody gives: agents with what they have, operators' reservations.
    pub(super) fn brings(&self, count: usize) -> bool {
        self.harness.queue.iter().take(count).any(|(_, envelope)| match &envelope.operation {
            Some(Operation::Operate(operate)) => operate.framework_id.is_empty(),
            Some(Operation::AdmitAgent(_) | Operation::ReregisterAgent(_) | Operation::ReregisterMore(_)) => {
                true
            }
            _ => false,
        })
    }
}

/// Launches anywhere in an envelope.
fn items(envelope: &Envelope) -> Vec<LaunchItem> {
    match &envelope.operation {
        Some(Operation::Launch(launch)) => launch.tasks.clone(),
        Some(Operation::Operate(operate)) => {
            let steps = operate.steps.iter().filter_map(|one| one.step.as_ref());
            let launches = steps.filter_map(|step| match step {
                Step::Launch(launch) => Some(launch.tasks.clone()),
                Step::Convert(_) => None,
            });
            launches.flatten().collect()
        }
        _ => Vec::new(),
    }
}

fn wanted_by(launch: &Launch) -> Resources {
    let tasks = launch.tasks.iter().filter_map(|item| item.task.as_ref());
    tasks.map(|task| unallocated(&task.resources)).fold(Resources::new(), |sum, one| sum + &one)
}

fn consumed_by(operate: &Operate) -> Resources {
    let steps = operate.steps.iter().filter_map(|one| one.step.as_ref());
    let consumed = steps.filter_map(|step| match step {
        Step::Convert(convert) => Some(unallocated(&convert.consumed)),
        Step::Launch(_) => None,
    });
    consumed.fold(Resources::new(), |sum, one| sum + &one)
}

fn held(what: String, framework: FrameworkId, list: &[v1::Resource]) -> Held {
    let role = crate::registry::role_of(list).to_string();
    Held { what, framework, role, resources: unallocated(list), offered: false }
}

/// Adds the unreserved scalars that nobody takes back.
pub(super) fn add_unreserved(sums: &mut Consumption, role: &str, resources: &Resources) {
    for (identity, amount) in resources.iter() {
        let counts = identity.kind() == ValueKind::Scalar
            && identity.reservations().is_empty()
            && !identity.is_revocable();
        if counts {
            *sums.entry((top(role).to_owned(), identity.name().to_owned())).or_default() += amount.total().0;
        }
    }
}
