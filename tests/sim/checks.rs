//! What must always hold, and what must hold once faults have stopped. Knows the whole cluster; decides nothing in it.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use tepui_proto::tepui::agent_link;
use tepui_proto::v1;
use tepui_scheduler_core as core;
use tepui_scheduler_core::ids::AgentId;
use tepui_scheduler_core::registry::{Change, StateHash, unallocated};

use super::agenda::Micros;
use super::agents::thousandths;
use super::drivers::{NAME, number_in};
use super::graces::Graces;
use super::log::Entry;
use super::quotas::Quotas;
use super::world::World;

/// Entries between comparisons of whole registries.
const COMPARE_ENTRIES: usize = 200;
/// Inputs between full checks of everything.
pub(crate) const FULL_CHECK: u64 = 100;
/// What replicas that are late are compared with is kept this long, in entries.
const KEPT_ENTRIES: usize = 4_000;

/// A broken invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    pub seed: u64,
    /// Simulated time.
    pub at_ms: u64,
    pub what: String,
    /// What happened before, oldest first.
    pub history: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(formatter, "{line}")?;
        }
        write!(formatter, "seed {} at {} ms: {}", self.seed, self.at_ms, self.what)
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) submitted: bool,
    /// Highest generation of the driver in any registry.
    pub(crate) generation: u64,
    /// The disks' queues.
    pub(crate) disk_at: Vec<Micros>,
    /// Whoever was elected for each term.
    pub(crate) leaders: BTreeMap<u64, usize>,
    /// Every entry that was committed anywhere, in order.
    pub(crate) committed: Vec<Rc<Entry>>,
    quotas: Quotas,
    graces: Graces,
    /// What the replica that was first made of each entry.
    outcomes: BTreeMap<usize, (core::Outcome, Vec<Change>)>,
    /// Its Registry after so many entries.
    registries: BTreeMap<usize, core::Registry>,
    /// Value of the driver's register after this many entries, at the replica that was first.
    position: (usize, u64),
    /// Values that a driver was told are written, with the generation that wrote them.
    acknowledged: BTreeMap<u64, u64>,
    epochs: BTreeMap<(usize, u64), u64>,
}

impl Checks {
    /// A compare-and-set was answered OK: nobody else may ever be told so about the same value.
    pub(crate) fn acknowledged_write(&mut self, generation: u64, value: u64) -> Result<(), String> {
        match self.acknowledged.insert(value, generation) {
            Some(other) if other != generation => {
                Err(format!("position {value} was acknowledged to generation {other} and to {generation}"))
            }
            _once => Ok(()),
        }
    }

    /// Offers name agents and a framework that fits.
    pub(crate) fn offered(&mut self, framework: usize, offer: &v1::Offer) -> Result<(), String> {
        let cpus = thousandths(&offer.resources);
        if cpus > 4_000 || offer.agent_id.is_none() || offer.id.is_none() {
            return Err(format!("framework {framework} got an impossible offer: {offer:?}"));
        }
        Ok(())
    }

    /// Tells whether the agent has obeyed a newer master in this life; orders of an older one must end the link.
    pub(crate) fn epoch_at_agent(
        &mut self,
        agent: usize,
        life: u64,
        event: &agent_link::Event,
    ) -> Result<bool, String> {
        let epoch = event.epoch.unwrap_or_default();
        if epoch == 0 {
            return Err(format!("agent {agent} got an order without an epoch: {event:?}"));
        }
        let highest = self.epochs.entry((agent, life)).or_default();
        let stale = epoch < *highest;
        *highest = (*highest).max(epoch);
        Ok(stale)
    }
}

fn cpus(resources: &[v1::Resource]) -> f64 {
    resources
        .iter()
        .filter(|resource| resource.name.as_deref() == Some("cpus"))
        .filter_map(|resource| resource.scalar.as_ref().and_then(|scalar| scalar.value))
        .sum()
}

impl World {
    /// A replica has applied `entries` entries.
    pub(crate) fn check_applied(
        &mut self,
        node: usize,
        entries: usize,
        envelope: &core::Envelope,
        outcome: &core::Outcome,
        changes: &[Change],
    ) -> Result<(), String> {
        let registry = &self.nodes[node].registry;
        if entries > self.checks.position.0 {
            self.truth.take(envelope, outcome)?;
            self.checks.quotas.take(registry, envelope)?;
            self.checks.graces.take(registry, envelope, outcome)?;
            if registry.epoch == envelope.epoch && registry.cluster_ms < envelope.cluster_ms {
                let (now, then) = (registry.cluster_ms, envelope.cluster_ms);
                return Err(format!("it is {now} ms after an entry of {then} ms"));
            }
            let value = registry.register(NAME, "position").map_or(0, |register| number_in(&register.value));
            let before = self.checks.position.1;
            if value != before && value != before + 1 {
                return Err(format!("the position went from {before} to {value} with entry {entries}"));
            }
            self.checks.position = (entries, value);
            let generation = registry.driver(NAME).map_or(0, |driver| driver.generation);
            let wrote = registry.register(NAME, "position").map_or(0, |register| register.generation);
            if value != before && wrote != generation {
                return Err(format!("generation {wrote} wrote position {value}, the newest is {generation}"));
            }
            if generation < self.checks.generation {
                return Err(format!("the generation fell from {} to {generation}", self.checks.generation));
            }
            self.checks.generation = generation;
            self.checks.outcomes.insert(entries, (outcome.clone(), changes.to_vec()));
            self.checks.outcomes.remove(&entries.saturating_sub(KEPT_ENTRIES));
            for change in changes {
                if let Change::Agent(id) = change {
                    self.check_capacity(node, id)?;
                }
            }
        } else if let Some((known, touched)) = self.checks.outcomes.get(&entries)
            && (known != outcome || touched != changes)
        {
            return Err(format!(
                "master {node} made {outcome:?} {changes:?} of entry {entries}, another one {known:?} {touched:?}"
            ));
        }
        Ok(())
    }

    /// What is committed at one replica is committed at all.
    pub(crate) fn check_committed(
        &mut self,
        node: usize,
        index: usize,
        entry: &Rc<Entry>,
    ) -> Result<(), String> {
        let known = &mut self.checks.committed;
        match known.get(index) {
            Some(one) if Rc::ptr_eq(one, entry) => Ok(()),
            Some(one) => Err(format!(
                "entry {index} is of term {} at master {node}, one of term {} was committed there",
                entry.term, one.term
            )),
            None if index == known.len() => {
                known.push(Rc::clone(entry));
                Ok(())
            }
            None => Err(format!("master {node} commits entry {index} behind {}", known.len())),
        }
    }

    /// Replicas are equal, and so are the hashes of their states, however they came about.
    pub(crate) fn compare(&mut self, node: usize, entries: usize) -> Result<(), String> {
        if !entries.is_multiple_of(COMPARE_ENTRIES) {
            return Ok(());
        }
        let found = &mut self.nodes[node];
        found.hash.advance(&found.registry);
        let registry = &self.nodes[node].registry;
        let digest = self.nodes[node].hash.digest();
        if digest != StateHash::of(registry).digest() {
            return Err(format!("master {node} keeps a wrong hash of its state after {entries} entries"));
        }
        let known = self.checks.registries.entry(entries).or_insert_with(|| registry.clone());
        if known != registry {
            return Err(format!("master {node} differs from another one after {entries} entries"));
        }
        self.checks.registries.remove(&entries.saturating_sub(KEPT_ENTRIES));
        Ok(())
    }

    /// Everything that can be checked at any time.
    pub(crate) fn check_all(&self) -> Result<(), String> {
        for (number, node) in self.nodes.iter().enumerate() {
            if node.up {
                node.core.check_invariants();
            }
            if node.up && node.applied >= self.checks.position.0 {
                for id in node.registry.agents.keys() {
                    self.check_capacity(number, id)?;
                }
            }
        }
        self.agents.iter().for_each(super::agents::SimAgent::check_invariants);
        Ok(())
    }

    /// No agent has more charged than it has.
    fn check_capacity(&self, node: usize, id: &AgentId) -> Result<(), String> {
        let registry = &self.nodes[node].registry;
        let Some(agent) = registry.agents.get(id) else { return Ok(()) };
        let everything = unallocated(agent.total());
        if let Some(charges) = registry.charges.get(id)
            && !everything.covers(&charges.total)
        {
            return Err(format!("agent {id} has {everything}, {} is charged", charges.total));
        }
        // Counted anew, by nothing but the tasks.
        let total = cpus(agent.total());
        let keys = registry.tasks_by_agent.get(id).into_iter().flatten();
        let charged: f64 = keys
            .filter_map(|key| registry.tasks.get(key))
            .filter(|task| !task.state().is_terminal() && task.unreachable_wall_ms.is_none())
            .filter_map(|task| task.task.as_ref())
            .map(|task| cpus(&task.resources))
            .sum();
        if charged > total + 0.0001 {
            return Err(format!("agent {id} has {total} CPUs, {charged} are charged"));
        }
        Ok(())
    }

    /// Everything is back and every framework knows the end of each of its tasks.
    pub(crate) fn settled(&self) -> bool {
        self.checks.submitted
            && self.serving_node().is_some()
            && self.replacement.is_none()
            && self.masters_settled()
            && (0..self.agents.len()).all(|agent| self.agent_registered(agent))
            && self.frameworks.iter().all(super::frameworks::SimFramework::done)
            && self.driver_runs()
            && self.fleet_settled().is_ok()
            && self.resources_settled().is_ok()
    }

    /// All that vote are there and have everything.
    fn masters_settled(&self) -> bool {
        let length = self.checks.committed.len();
        self.voters().into_iter().all(|node| self.nodes[node].up && self.nodes[node].applied == length)
    }

    /// Nobody waits for an operation, and agents hold what the Registry says.
    fn resources_settled(&self) -> Result<(), String> {
        let registry = self.registry();
        if let Some((key, _)) = registry.operations.iter().next() {
            return Err(format!("operation {key:?} is not acknowledged"));
        }
        // Every update was acknowledged: of tasks that have ended nothing is left but history.
        let ended = |task: &core::registry::TaskRecord| {
            task.state().is_terminal() && task.unreachable_wall_ms.is_none()
        };
        if let Some((key, _)) = registry.tasks.iter().find(|(_, task)| ended(task)) {
            return Err(format!("the end of task {key} is not acknowledged"));
        }
        (0..self.agents.len()).try_for_each(|agent| self.agent_agrees(agent))?;
        let reserved =
            |record: &core::registry::AgentRecord| core::conversion::made(&unallocated(record.total()));
        // One that left while it was leaving anyway comes back under another id; nobody can empty what it had.
        let mut here = registry.agents.iter().filter(|(_, record)| record.unreachable_ms.is_none());
        match here.find(|(_, record)| self.tidy && !reserved(record).is_empty()) {
            Some((id, record)) => Err(format!("{} is reserved on agent {id} still", reserved(record))),
            None => Ok(()),
        }
    }

    /// The newest generation is alive and may write.
    fn driver_runs(&self) -> bool {
        let newest = self.checks.generation;
        self.drivers
            .iter()
            .any(|driver| driver.alive && driver.generation == newest && driver.paused_until <= self.now)
    }

    /// What is missing, in words.
    pub(crate) fn unsettled(&self) -> String {
        let mut missing = Vec::new();
        if self.serving_node().is_none() {
            missing.push("no leading master".to_owned());
        }
        if !self.masters_settled() {
            let masters: Vec<_> = self.nodes.iter().map(|node| (node.up, node.applied)).collect();
            missing.push(format!("{:?} vote, masters are at {masters:?}", self.voters()));
        }
        if let Some(replacement) = &self.replacement {
            missing.push(format!("{replacement:?} is not finished"));
        }
        for agent in 0..self.agents.len() {
            if !self.agent_registered(agent) {
                missing.push(format!("agent {agent} is not registered"));
            }
        }
        for (index, framework) in self.frameworks.iter().enumerate() {
            if !framework.done() {
                let open: Vec<String> = framework
                    .tasks
                    .iter()
                    .filter(|(_, task)| task.last_word.is_none())
                    .map(|(id, task)| format!("{id} on {} {:?}", task.agent, task.state))
                    .collect();
                missing.push(format!(
                    "framework {index} (subscribed {}) has launched {} tasks and waits for {}: {}",
                    framework.subscribed,
                    framework.tasks.len(),
                    framework.open(),
                    open.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
                ));
            }
        }
        if let Err(what) = self.fleet_settled() {
            missing.push(what);
        }
        if let Err(what) = self.resources_settled() {
            missing.push(what);
        }
        if !self.driver_runs() {
            missing.push(format!("no driver of generation {} runs", self.checks.generation));
        }
        missing.join("; ")
    }

    /// What must hold at the end of a run.
    pub(crate) fn check_end(&mut self) -> Result<(), String> {
        if !self.settled() {
            return Err(format!("the agenda is empty: {}", self.unsettled()));
        }
        let position = self.checks.position.1;
        let acknowledged = self.checks.acknowledged.keys().next_back().copied().unwrap_or_default();
        if acknowledged > position {
            return Err(format!("position {acknowledged} was acknowledged, the register holds {position}"));
        }
        self.check_operations()?;
        for node in self.voters() {
            if self.nodes[node].registry != *self.registry() {
                return Err(format!("master {node} differs from the others at the end"));
            }
        }
        // Whoever saw a task run to its end was told the truth about it, unless it was given up as lost before.
        for framework in &self.frameworks {
            let Some(id) = &framework.id else { continue };
            for (task, known) in &framework.tasks {
                let Some(status) = self.ledger.ends.get(&(id.clone(), task.clone())) else { continue };
                let truth =
                    if *status == 0 { v1::TaskState::TaskFinished } else { v1::TaskState::TaskFailed };
                if let Some(word) = known.last_word
                    && matches!(word, v1::TaskState::TaskFinished | v1::TaskState::TaskFailed)
                    && word != truth
                {
                    return Err(format!(
                        "task {task} ended with status {status} and was reported {}",
                        word.as_str_name()
                    ));
                }
            }
        }
        Ok(())
    }
}
