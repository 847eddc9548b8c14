//! Model frameworks that keep state: they reserve, create volumes and use them in one ACCEPT, grow, shrink and destroy them, and want to
//! know what became of each operation that they named.

use bytes::Bytes;
use tepui_proto::v1::offer::{Operation, operation};
use tepui_proto::v1::scheduler::{Event as Told, call};
use tepui_proto::v1::{self, OperationState, Resource};
use tepui_scheduler_core::conversion::{self, without_volume};
use tepui_scheduler_core::ids::AgentId;
use tepui_scheduler_core::testing as make;

use super::agenda::MS;
use super::event::Event;
use super::frameworks::Known;
use super::world::World;

/// The one role of all keepers.
pub(crate) const ROLE: &str = "keepers";
/// CPUs of an agent beyond which nothing more is reserved.
const RESERVED_CPUS: f64 = 1.5;
/// Volumes share few names, so that a name comes again after its end, and sometimes before.
const VOLUME_NAMES: usize = 6;

/// Longer than any run.
const ENDLESS_MS: u64 = 1_000_000_000;

/// What a keeper knows of one of its operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownOperation {
    agent: String,
    /// How it ended, as it was told. UNKNOWN: nobody ever heard of it.
    pub(crate) end: Option<OperationState>,
    /// What was to be acknowledged.
    uuid: Option<Bytes>,
}

/// What an offer has for a keeper.
struct Parts {
    cpus: f64,
    mem: f64,
    disk: f64,
    reserved: Vec<Resource>,
    volumes: Vec<Resource>,
}

pub(crate) fn amount(resource: &Resource) -> f64 {
    resource.scalar.as_ref().and_then(|scalar| scalar.value).unwrap_or_default()
}

fn sized(resource: &Resource, amount: f64) -> Resource {
    Resource { scalar: Some(v1::value::Scalar { value: Some(amount) }), ..resource.clone() }
}

fn parts(offer: &v1::Offer) -> Parts {
    let mut parts = Parts { cpus: 0.0, mem: 0.0, disk: 0.0, reserved: Vec::new(), volumes: Vec::new() };
    for one in &offer.resources {
        if conversion::volume_name(one).is_some() {
            parts.volumes.push(one.clone());
        } else if !one.reservations.is_empty() {
            parts.reserved.push(one.clone());
        } else {
            match one.name() {
                "cpus" => parts.cpus += amount(one),
                "mem" => parts.mem += amount(one),
                "disk" => parts.disk += amount(one),
                _other => {}
            }
        }
    }
    parts
}

impl World {
    /// CPUs of an agent that are reserved, as the leading master would tell.
    pub(crate) fn reserved_cpus(&self, agent: &str) -> f64 {
        let Some(node) = self.serving_node() else { return f64::MAX };
        let agents = &self.nodes[node].registry.agents;
        let total = agents.get(&AgentId::from(agent)).map(|record| record.total()).unwrap_or_default();
        let reserved = total.iter().filter(|one| one.name() == "cpus" && !one.reservations.is_empty());
        reserved.map(amount).sum()
    }

    /// Whether there is room for another reservation on an agent.
    pub(crate) fn may_reserve(&self, agent: &str) -> bool {
        self.reserved_cpus(agent) < RESERVED_CPUS
    }

    /// Uses an offer in some way; whether it did.
    pub(crate) fn keeper_uses(&mut self, framework: usize, offer: &v1::Offer, want: usize) -> bool {
        let found = parts(offer);
        if !self.faulty && self.tidy {
            let operations = Self::tidy_up(&found);
            let any = !operations.is_empty();
            if any {
                self.keeper_accepts(framework, offer, operations);
            }
            if any || want == 0 {
                return any;
            }
        }
        if want == 0 {
            return false;
        }
        let agent = offer.agent_id.as_ref().map_or("", v1::AgentId::value).to_owned();
        let mut operations = Vec::new();
        match self.chance.index(8) {
            0..=2 if self.may_reserve(&agent) && found.cpus >= 0.5 && found.mem >= 64.0 => {
                let size = self.chance.between(5, 20) as u32 * 10;
                self.pipeline(framework, &found, &agent, size, &mut operations);
            }
            3 | 4 if !found.volumes.is_empty() => {
                let volume = found.volumes[self.chance.index(found.volumes.len())].clone();
                let mut needs = found.needs();
                needs.push(volume);
                operations.push(self.launch_of(framework, &agent, needs));
            }
            5 if !found.volumes.is_empty() => {
                let volume = found.volumes[self.chance.index(found.volumes.len())].clone();
                operations.push(make::destroy(vec![volume.clone()]));
                if self.chance.percent(50) {
                    operations.push(make::unreserve(vec![without_volume(&volume)]));
                } else if self.chance.percent(50) {
                    // The same name again, in one call.
                    operations.push(make::create(vec![volume.clone()]));
                    let mut needs = found.needs();
                    needs.push(volume);
                    operations.push(self.launch_of(framework, &agent, needs));
                }
            }
            6 if !found.reserved.is_empty() => {
                let one = found.reserved[self.chance.index(found.reserved.len())].clone();
                operations.push(make::unreserve(vec![one]));
            }
            7 if !found.volumes.is_empty() => {
                let volume = found.volumes[self.chance.index(found.volumes.len())].clone();
                let same = |one: &&Resource| one.name() == "disk" && one.reservations == volume.reservations;
                match found.reserved.iter().find(same) {
                    Some(disk) => operations.push(make::grow(volume, sized(disk, amount(disk).min(10.0)))),
                    None => operations.push(make::shrink(volume, 5.0)),
                }
            }
            _other => return false,
        }
        self.keeper_accepts(framework, offer, operations);
        true
    }

    /// RESERVE, and mostly CREATE and LAUNCH behind it.
    fn pipeline(
        &mut self,
        framework: usize,
        found: &Parts,
        agent: &str,
        size: u32,
        operations: &mut Vec<Operation>,
    ) {
        let mut needs = make::reserved("cpus:0.5;mem:64", &[ROLE]);
        let mut wanted = needs.clone();
        let disk = found.disk >= f64::from(size);
        if disk {
            wanted.extend(make::reserved(&format!("disk:{size}"), &[ROLE]));
        }
        operations.push(make::reserve(wanted));
        if disk && self.chance.percent(80) {
            let name = format!("v{}", self.chance.index(VOLUME_NAMES));
            let mut volume = make::volume(size, ROLE, &name);
            if self.chance.percent(40) {
                self.report.count("shared volume");
                volume = make::shared(volume);
            }
            operations.push(make::create(vec![volume.clone()]));
            if volume.shared.is_some() && found.cpus >= 1.0 && found.mem >= 128.0 {
                // Another task beside the one that follows, with resources that nobody has reserved.
                let mut others = make::resources("cpus:0.5;mem:64");
                others.push(volume.clone());
                operations.push(self.launch_of(framework, agent, others));
            }
            needs.push(volume);
        }
        if self.chance.percent(70) {
            operations.push(self.launch_of(framework, agent, needs));
        }
    }

    /// Gives everything back.
    fn tidy_up(found: &Parts) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut reserved = found.reserved.clone();
        if !found.volumes.is_empty() {
            operations.push(make::destroy(found.volumes.clone()));
            reserved.extend(found.volumes.iter().map(without_volume));
        }
        operations.extend(reserved.into_iter().map(|one| make::unreserve(vec![one])));
        operations
    }

    fn launch_of(&mut self, framework: usize, agent: &str, needs: Vec<Resource>) -> Operation {
        let info = self.new_task(framework, agent, needs);
        make::launch(vec![info])
    }

    /// Names some of the operations, and accepts.
    fn keeper_accepts(&mut self, framework: usize, offer: &v1::Offer, operations: Vec<Operation>) {
        let agent = offer.agent_id.as_ref().map_or("", v1::AgentId::value).to_owned();
        let mut named = Vec::new();
        for operation in operations {
            let launches = operation.r#type() == operation::Type::Launch;
            if launches || self.chance.percent(30) {
                named.push(operation);
                continue;
            }
            let known = &mut self.frameworks[framework].operations;
            let id = format!("o{}", known.len());
            known.insert(id.clone(), KnownOperation { agent: agent.clone(), ..KnownOperation::default() });
            named.push(make::named(&id, operation));
        }
        let refuse = if self.chance.percent(50) { 0.0 } else { 1.0 };
        let mut call = self.frameworks[framework].call(call::Type::Accept);
        call.accept = Some(call::Accept {
            offer_ids: vec![offer.id.clone().unwrap_or_default()],
            operations: named,
            filters: Some(v1::Filters { refuse_seconds: Some(refuse) }),
        });
        self.framework_sends(framework, call);
    }

    /// Asks what became of operations, sometimes of all that anybody knows.
    pub(crate) fn reconcile_operations(&mut self, framework: usize) {
        let found = &self.frameworks[framework];
        let open = found.operations.iter().filter(|(_, operation)| operation.end.is_none());
        let open: Vec<call::reconcile_operations::Operation> = open
            .map(|(id, operation)| call::reconcile_operations::Operation {
                operation_id: Some(v1::OperationId { value: Some(id.clone()) }),
                agent_id: Some(v1::AgentId { value: Some(operation.agent.clone()) }),
                ..Default::default()
            })
            .collect();
        let all = self.chance.percent(10);
        if open.is_empty() && !all {
            return;
        }
        let mut call = self.frameworks[framework].call(call::Type::ReconcileOperations);
        let operations = if all { Vec::new() } else { open };
        call.reconcile_operations = Some(call::ReconcileOperations { operations });
        self.framework_sends(framework, call);
    }

    pub(crate) fn on_operation(
        &mut self,
        framework: usize,
        life: u64,
        stream: u64,
        told: Told,
    ) -> Result<(), String> {
        let Some(status) = told.update_operation_status.and_then(|update| update.status) else {
            return Ok(());
        };
        let id = status.operation_id.as_ref().map_or("", v1::OperationId::value).to_owned();
        let state = status.state();
        self.note(|| {
            format!("framework {framework} hears {id} {} {}", state.as_str_name(), status.message())
        });
        let name = (self.frameworks[framework].id.clone().unwrap_or_default(), id.clone());
        let truth = self.truth.operations.get(&name).copied();
        let Some(known) = self.frameworks[framework].operations.get(&id).cloned() else {
            return Err(format!("framework {framework} hears of operation {id}, which it never named"));
        };
        let lost = self.truth.fleet.dropped.contains(&known.agent);
        let Some(known) = self.frameworks[framework].operations.get_mut(&id) else { return Ok(()) };
        judge(known, &status, truth, lost)
            .map_err(|what| format!("framework {framework}, operation {id}: {what}"))?;
        if status.uuid.is_some() && !self.chance.percent(10) {
            let delay = if self.chance.percent(10) { self.chance.between(1, 3_000) * MS } else { 0 };
            let status = Box::new(status);
            self.after(delay, Event::AcknowledgeOperation { framework, life, stream, status });
        }
        Ok(())
    }

    pub(crate) fn acknowledge_operation(
        &mut self,
        framework: usize,
        life: u64,
        stream: u64,
        status: &v1::OperationStatus,
    ) -> Result<(), String> {
        let found = &self.frameworks[framework];
        if !found.up || found.life != life || found.stream != Some(stream) {
            return Ok(());
        }
        let mut call = found.call(call::Type::AcknowledgeOperationStatus);
        call.acknowledge_operation_status = Some(call::AcknowledgeOperationStatus {
            agent_id: status.agent_id.clone(),
            uuid: status.uuid.as_ref().and_then(|uuid| uuid.value.clone()),
            operation_id: status.operation_id.clone(),
            ..Default::default()
        });
        self.framework_sends(framework, call);
        Ok(())
    }

    /// At the end: whoever named an operation that was decided knows how.
    pub(crate) fn check_operations(&self) -> Result<(), String> {
        for (index, framework) in self.frameworks.iter().enumerate() {
            let Some(id) = &framework.id else { continue };
            for (operation, known) in &framework.operations {
                let decided = self.truth.operations.get(&(id.clone(), operation.clone()));
                let right = match decided {
                    Some(true) => known.end == Some(OperationState::OperationFinished),
                    Some(false) => known.end == Some(OperationState::OperationDropped),
                    None => known.end != Some(OperationState::OperationFinished),
                };
                if !right && !self.truth.fleet.dropped.contains(&known.agent) {
                    return Err(format!(
                        "operation {operation} of framework {index} was decided {decided:?}, and it knows {:?}",
                        known.end
                    ));
                }
            }
        }
        Ok(())
    }

    /// Adds a task to the list of what a framework waits for.
    pub(crate) fn new_task(&mut self, framework: usize, agent: &str, needs: Vec<Resource>) -> v1::TaskInfo {
        let long = self.chance.percent(10);
        let endless = self.chance.percent(6);
        let ms = self.chance.between(1, if long { 60_000 } else { 4_000 });
        let ms = if endless { ENDLESS_MS } else { ms };
        let code = if self.chance.percent(10) { 3 } else { 0 };
        let asked_at = self.now / MS;
        let found = &mut self.frameworks[framework];
        let id = format!("t{}", found.tasks.len());
        found.tasks.insert(id.clone(), Known::new(agent, asked_at, endless));
        v1::TaskInfo {
            name: Some(id.clone()),
            task_id: Some(v1::TaskId { value: Some(id) }),
            agent_id: Some(v1::AgentId { value: Some(agent.to_owned()) }),
            resources: needs,
            command: Some(super::tasks::command(ms, code)),
            labels: Some(super::tasks::labels(ms, code)),
            ..v1::TaskInfo::default()
        }
    }
}

impl Parts {
    /// CPU and memory for one task: reserved ones if there are enough.
    fn needs(&self) -> Vec<Resource> {
        let part = |name: &str, wanted: f64| {
            let enough = |one: &&Resource| one.name() == name && amount(one) >= wanted;
            let reserved = self.reserved.iter().find(enough).map(|one| sized(one, wanted));
            reserved.unwrap_or_else(|| make::resources(&format!("{name}:{wanted}")).remove(0))
        };
        vec![part("cpus", 0.5), part("mem", 64.0)]
    }
}

/// Whether a status of an operation may come after what is known, and is true. `lost`: its agent is no more.
fn judge(
    known: &mut KnownOperation,
    status: &v1::OperationStatus,
    truth: Option<bool>,
    lost: bool,
) -> Result<(), String> {
    use OperationState as State;
    let state = status.state();
    let uuid = status.uuid.as_ref().and_then(|uuid| uuid.value.clone());
    let name = state.as_str_name();
    match state {
        State::OperationPending | State::OperationRecovering => return Ok(()),
        State::OperationFinished if truth != Some(true) => {
            return Err(format!("{name}, but the log says {truth:?}"));
        }
        State::OperationDropped | State::OperationError if truth == Some(true) => {
            return Err(format!("{name}, but it was carried out"));
        }
        // All of them are said of operations that never were.
        State::OperationUnknown | State::OperationUnreachable | State::OperationGoneByOperator => {
            if truth.is_some() && known.end.is_none() && !lost {
                return Err(format!("{name}, but the log says {truth:?}, which nobody was told"));
            }
            known.end.get_or_insert(state);
            return Ok(());
        }
        State::OperationFinished | State::OperationDropped | State::OperationError => {}
        _other => return Err(format!("{name} is no state of this master")),
    }
    if let Some(end) = known.end
        && end != state
    {
        return Err(format!("{name} after {}", end.as_str_name()));
    }
    match (&known.uuid, uuid) {
        (Some(before), Some(now)) if *before != now => {
            return Err(format!("{name} has to be acknowledged twice, with {before:?} and {now:?}"));
        }
        (None, Some(now)) => known.uuid = Some(now),
        _same_or_none => {}
    }
    known.end = Some(state);
    Ok(())
}
