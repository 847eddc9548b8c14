//! Model frameworks: they launch a number of tasks, keep the list of them across crashes, acknowledge, reconcile after each
//! subscription, and check that what they are told makes sense.

use std::collections::BTreeMap;

use tepui_proto::v1;
use tepui_proto::v1::framework_info::capability::Type as Can;
use tepui_proto::v1::scheduler::{Call, Event as Told, call, event};

use tepui_scheduler_core::testing as make;

use super::Settings;
use super::agenda::{MS, SECOND};
use super::event::{Event, ToClient, ToMaster};
use super::keepers::KnownOperation;
use super::network::Place;
use super::world::World;

pub(crate) const SUBSCRIBE: call::Type = call::Type::Subscribe;

/// Tasks of instances that were replaced begin like this.
pub(crate) const OLD: &str = "old";
/// The one role of all that are no keepers.
pub(crate) const PLAIN: &str = "plain";

/// What a framework knows of one of its tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) agent: String,
    pub(crate) state: Option<v1::TaskState>,
    /// A terminal state that came from an agent: nothing may contradict it.
    pub(crate) last_word: Option<v1::TaskState>,
    /// Uuids of updates, in the order in which they first came.
    uuids: Vec<bytes::Bytes>,
    /// The master told how it is now, as Mesos does when its agent is back: updates from before that follow.
    ahead: bool,
    /// Told that its agent was marked gone.
    gone: bool,
    /// Time of the last sign of life, for giving up on it.
    asked_at: u64,
    /// It runs until it is killed.
    endless: bool,
}

impl Known {
    pub(crate) fn new(agent: &str, asked_at: u64, endless: bool) -> Self {
        Known { agent: agent.to_owned(), asked_at, endless, ..Known::default() }
    }
}

/// One framework; what stands here survives its crashes, but for the stream.
pub(crate) struct SimFramework {
    pub(crate) up: bool,
    pub(crate) life: u64,
    pub(crate) id: Option<String>,
    pub(crate) stream: Option<u64>,
    /// The stream of an instance that was replaced and does not know it.
    pub(crate) old_stream: Option<u64>,
    pub(crate) subscribed: bool,
    pub(crate) removed: bool,
    pub(crate) tasks: BTreeMap<String, Known>,
    wanted: usize,
    partition_aware: bool,
    /// Reserves, and keeps volumes.
    keeper: bool,
    /// How often it has changed its description.
    described: u64,
    pub(crate) operations: BTreeMap<String, KnownOperation>,
}

impl SimFramework {
    pub(crate) fn new(index: usize, settings: &Settings) -> Self {
        SimFramework {
            up: false,
            life: 0,
            id: None,
            stream: None,
            old_stream: None,
            subscribed: false,
            removed: false,
            tasks: BTreeMap::new(),
            wanted: settings.tasks_per_framework,
            partition_aware: index.is_multiple_of(2),
            keeper: false,
            described: 0,
            operations: BTreeMap::new(),
        }
    }

    pub(crate) fn keeper(index: usize, settings: &Settings) -> Self {
        SimFramework { keeper: true, ..SimFramework::new(index, settings) }
    }

    /// Tasks whose end it has not heard of.
    pub(crate) fn open(&self) -> usize {
        self.tasks.values().filter(|task| !task.state.is_some_and(is_terminal)).count()
    }

    pub(crate) fn done(&self) -> bool {
        let told = self.operations.values().all(|operation| operation.end.is_some());
        self.removed || (self.tasks.len() >= self.wanted && self.open() == 0 && told)
    }

    /// How it describes itself.
    fn info(&self, framework: usize) -> v1::FrameworkInfo {
        let mut capabilities = Vec::new();
        if self.partition_aware {
            capabilities.push(Can::PartitionAware);
        }
        let mut roles = Vec::new();
        if self.keeper {
            capabilities.extend([Can::MultiRole, Can::ReservationRefinement]);
            capabilities.push(Can::SharedResources);
            roles.push(super::keepers::ROLE.to_owned());
        } else {
            capabilities.push(Can::MultiRole);
            roles.push(PLAIN.to_owned());
        }
        let declared = |kind: Can| v1::framework_info::Capability { r#type: Some(kind as i32) };
        v1::FrameworkInfo {
            hostname: Some(format!("h{}", self.described)),
            user: Some("nobody".to_owned()),
            name: Some(format!("framework{framework}")),
            id: self.id.clone().map(framework_id),
            failover_timeout: Some(3_600.0),
            checkpoint: Some(true),
            roles,
            capabilities: capabilities.into_iter().map(declared).collect(),
            ..v1::FrameworkInfo::default()
        }
    }

    pub(crate) fn call(&self, kind: call::Type) -> Call {
        Call { framework_id: self.id.clone().map(framework_id), r#type: Some(kind as i32), ..Call::default() }
    }
}

pub(crate) fn framework_id(id: String) -> v1::FrameworkId {
    v1::FrameworkId { value: Some(id) }
}

fn is_terminal(state: v1::TaskState) -> bool {
    state.is_terminal() || matches!(state, v1::TaskState::TaskUnreachable | v1::TaskState::TaskUnknown)
}

/// How far along a state is, for the order of updates.
fn rank(state: v1::TaskState) -> u8 {
    match state {
        v1::TaskState::TaskStaging => 0,
        v1::TaskState::TaskStarting => 1,
        v1::TaskState::TaskRunning => 2,
        v1::TaskState::TaskKilling => 3,
        _terminal => 4,
    }
}

impl World {
    pub(crate) fn restart_framework(&mut self, framework: usize, life: u64) -> Result<(), String> {
        let found = &mut self.frameworks[framework];
        if found.up || found.life != life {
            return Ok(());
        }
        found.up = true;
        found.life += 1;
        found.stream = None;
        found.subscribed = false;
        let life = found.life;
        self.note(|| format!("framework {framework} starts"));
        self.after(MS, Event::FrameworkSearch { framework, life });
        self.after(5 * SECOND, Event::FrameworkStep { framework, life });
        Ok(())
    }

    pub(crate) fn crash_framework(&mut self, framework: usize) -> bool {
        if !self.frameworks[framework].up {
            return false;
        }
        self.note(|| format!("framework {framework} crashes"));
        let life = self.frameworks[framework].life;
        self.end_streams_of_client(Place::Framework(framework), life);
        let found = &mut self.frameworks[framework];
        found.up = false;
        found.stream = None;
        found.subscribed = false;
        let delay = self.chance.between(200, 20_000) * MS;
        self.after(delay, Event::RestartFramework { framework, life });
        true
    }

    pub(crate) fn framework_search(&mut self, framework: usize, life: u64) -> Result<(), String> {
        let found = &self.frameworks[framework];
        if !found.up || found.life != life || found.stream.is_some() || found.removed {
            return Ok(());
        }
        let place = Place::Framework(framework);
        let Some(node) = self.serving_node().filter(|node| self.network.reaches(place, Place::Master(*node)))
        else {
            let delay = self.chance.between(20, 400) * MS;
            self.after(delay, Event::FrameworkSearch { framework, life });
            return Ok(());
        };
        let info = found.info(framework);
        let mut call = found.call(SUBSCRIBE);
        call.subscribe = Some(call::Subscribe { framework_info: Some(info), ..call::Subscribe::default() });
        let first = ToMaster::Framework { call: Box::new(call), token: None };
        let stream = self.open_stream(place, life, node, first);
        self.frameworks[framework].stream = Some(stream);
        self.frameworks[framework].subscribed = false;
        Ok(())
    }

    pub(crate) fn framework_lost_stream(
        &mut self,
        framework: usize,
        life: u64,
        stream: u64,
    ) -> Result<(), String> {
        let found = &mut self.frameworks[framework];
        if !found.up || found.life != life || found.stream != Some(stream) {
            return Ok(());
        }
        found.stream = None;
        found.subscribed = false;
        let delay = self.chance.between(5, 100) * MS;
        self.after(delay, Event::FrameworkSearch { framework, life });
        Ok(())
    }

    pub(crate) fn framework_sends(&mut self, framework: usize, call: Call) {
        if let Some(stream) = self.frameworks[framework].stream {
            self.send_to_master(stream, ToMaster::Framework { call: Box::new(call), token: None });
        }
    }

    /// Every now and then a framework asks about tasks that it has heard nothing of.
    pub(crate) fn framework_step(&mut self, framework: usize, life: u64) -> Result<(), String> {
        if !self.frameworks[framework].up || self.frameworks[framework].life != life {
            return Ok(());
        }
        self.after(10 * SECOND, Event::FrameworkStep { framework, life });
        if self.frameworks[framework].subscribed {
            self.reconcile(framework);
            self.reconcile_operations(framework);
            if self.chance.percent(if self.faulty { 20 } else { 60 }) {
                let call = self.frameworks[framework].call(call::Type::Revive);
                self.framework_sends(framework, call);
            } else if self.faulty && self.chance.percent(5) {
                let call = self.frameworks[framework].call(call::Type::Suppress);
                self.framework_sends(framework, call);
            } else if self.chance.percent(15) {
                self.describe_anew(framework);
            }
            if self.chance.percent(15) {
                self.kill_some_task(framework);
            }
            self.kill_endless_tasks(framework);
        }
        Ok(())
    }

    /// UPDATE_FRAMEWORK.
    fn describe_anew(&mut self, framework: usize) {
        self.frameworks[framework].described += 1;
        let found = &self.frameworks[framework];
        let mut call = found.call(call::Type::UpdateFramework);
        let framework_info = Some(found.info(framework));
        call.update_framework = Some(call::UpdateFramework { framework_info, ..Default::default() });
        self.framework_sends(framework, call);
    }

    fn reconcile(&mut self, framework: usize) {
        let found = &self.frameworks[framework];
        let open = found.tasks.iter().filter(|(_, task)| !task.state.is_some_and(is_terminal));
        let tasks: Vec<call::reconcile::Task> = open
            .map(|(id, task)| call::reconcile::Task {
                task_id: Some(v1::TaskId { value: Some(id.clone()) }),
                agent_id: Some(v1::AgentId { value: Some(task.agent.clone()) }),
            })
            .collect();
        if !tasks.is_empty() {
            let mut call = found.call(call::Type::Reconcile);
            call.reconcile = Some(call::Reconcile { tasks });
            self.framework_sends(framework, call);
        }
    }

    /// Asks for the end of tasks that do not end by themselves; once that is in the log, the rest is the cluster's affair.
    fn kill_endless_tasks(&mut self, framework: usize) {
        let found = &self.frameworks[framework];
        let Some(id) = &found.id else { return };
        let promised = |task: &String| self.truth.killed.contains(&(id.clone(), task.clone()));
        let open =
            found.tasks.iter().filter(|(_, task)| task.endless && !task.state.is_some_and(is_terminal));
        let open: Vec<String> = open.map(|(task, _)| task.clone()).filter(|task| !promised(task)).collect();
        for task in open {
            if self.faulty && self.chance.percent(50) {
                continue;
            }
            let mut call = self.frameworks[framework].call(call::Type::Kill);
            call.kill =
                Some(call::Kill { task_id: Some(v1::TaskId { value: Some(task) }), ..call::Kill::default() });
            self.framework_sends(framework, call);
        }
    }

    fn kill_some_task(&mut self, framework: usize) {
        let found = &self.frameworks[framework];
        let open: Vec<&String> = found
            .tasks
            .iter()
            .filter(|(_, task)| !task.state.is_some_and(is_terminal))
            .map(|(id, _)| id)
            .collect();
        if open.is_empty() {
            return;
        }
        let task = open[self.chance.index(open.len())].clone();
        let mut call = self.frameworks[framework].call(call::Type::Kill);
        call.kill =
            Some(call::Kill { task_id: Some(v1::TaskId { value: Some(task) }), ..call::Kill::default() });
        self.framework_sends(framework, call);
    }

    pub(crate) fn framework_hears(
        &mut self,
        framework: usize,
        life: u64,
        stream: u64,
        message: ToClient,
    ) -> Result<(), String> {
        let found = &self.frameworks[framework];
        if !found.up || found.life != life || found.stream != Some(stream) {
            return Ok(());
        }
        let told = match message {
            ToClient::Framework(told) => *told,
            ToClient::Refused => {
                self.break_stream(stream, true, true);
                return self.framework_lost_stream(framework, life, stream);
            }
            ToClient::Agent(_) | ToClient::End => return Ok(()),
        };
        match told.r#type() {
            event::Type::Subscribed => self.on_subscribed(framework, &told),
            event::Type::Offers => self.on_offers(framework, told),
            event::Type::Update => self.on_update(framework, life, stream, told),
            event::Type::InverseOffers => self.on_inverse_offers(framework, told),
            event::Type::UpdateOperationStatus => self.on_operation(framework, life, stream, told),
            event::Type::Error => {
                let text = told.error.and_then(|error| error.message).unwrap_or_default();
                self.note(|| format!("framework {framework} is told: {text}"));
                if text.contains("removed") || text.contains("completed") {
                    return Err(format!(
                        "framework {framework} was removed, although it was never away for long: {text}"
                    ));
                }
                Ok(())
            }
            _other => Ok(()),
        }
    }

    fn on_subscribed(&mut self, framework: usize, told: &Told) -> Result<(), String> {
        let id = told.subscribed.as_ref().and_then(|subscribed| subscribed.framework_id.clone());
        let id = id.and_then(|id| id.value).unwrap_or_default();
        let found = &mut self.frameworks[framework];
        if id.is_empty() || found.id.as_ref().is_some_and(|known| *known != id) {
            return Err(format!("framework {framework} with id {:?} was told the id {id:?}", found.id));
        }
        found.id = Some(id);
        found.subscribed = true;
        self.reconcile(framework);
        Ok(())
    }

    fn on_offers(&mut self, framework: usize, told: Told) -> Result<(), String> {
        let offers = told.offers.map(|offers| offers.offers).unwrap_or_default();
        for offer in offers {
            self.checks.offered(framework, &offer)?;
            if self.chance.percent(30) {
                self.old_instance_calls(framework, &offer);
            }
            let want =
                self.frameworks[framework].wanted.saturating_sub(self.frameworks[framework].tasks.len());
            let offer_id = offer.id.clone().unwrap_or_default();
            if self.frameworks[framework].keeper {
                if !self.keeper_uses(framework, &offer, want) {
                    let mut call = self.frameworks[framework].call(call::Type::Decline);
                    let filters = Some(v1::Filters { refuse_seconds: Some(1.0) });
                    call.decline = Some(call::Decline { offer_ids: vec![offer_id], filters });
                    self.framework_sends(framework, call);
                }
            } else if want == 0 || self.chance.percent(20) {
                let mut call = self.frameworks[framework].call(call::Type::Decline);
                let refuse = [0.0, 1.0, 5.0][self.chance.index(3)];
                let filters =
                    Some(v1::Filters { refuse_seconds: Some(if want == 0 { 30.0 } else { refuse }) });
                call.decline = Some(call::Decline { offer_ids: vec![offer_id], filters });
                self.framework_sends(framework, call);
            } else {
                self.accept(framework, &offer, want);
            }
        }
        Ok(())
    }

    /// The instance that was replaced wants the same offer, and other things that it must not have any more.
    fn old_instance_calls(&mut self, framework: usize, offer: &v1::Offer) {
        let found = &self.frameworks[framework];
        let (Some(stream), Some(current)) = (found.old_stream, found.stream) else { return };
        let Some(node) = self.network.streams.get(&current).map(|stream| stream.master) else { return };
        let mut call = found.call(call::Type::Accept);
        match self.chance.index(3) {
            0 => call.set_type(call::Type::Teardown),
            1 => call.set_type(call::Type::Suppress),
            _ => {
                let id = format!("{OLD}{}", self.chance.between(0, 1_000_000));
                let info = v1::TaskInfo {
                    name: Some(id.clone()),
                    task_id: Some(v1::TaskId { value: Some(id) }),
                    agent_id: offer.agent_id.clone(),
                    resources: super::agents::resources(0.5, 64.0),
                    command: Some(super::tasks::command(100, 0)),
                    ..v1::TaskInfo::default()
                };
                call.accept = Some(call::Accept {
                    offer_ids: offer.id.clone().into_iter().collect(),
                    operations: vec![make::launch(vec![info])],
                    filters: None,
                });
            }
        }
        self.report.count("call of an old instance");
        let (life, delay) = (self.nodes[node].life, self.chance.between(50, 300));
        self.after(delay, Event::Stray { node, life, stream, call: Box::new(call) });
    }

    fn accept(&mut self, framework: usize, offer: &v1::Offer, want: usize) {
        let room = offer
            .resources
            .iter()
            .filter(|resource| resource.name.as_deref() == Some("cpus"))
            .filter_map(|resource| resource.scalar.as_ref().and_then(|scalar| scalar.value))
            .sum::<f64>();
        // Some tasks run under an executor, which needs something for itself.
        let executor = self.chance.percent(35).then(|| format!("e{}", self.chance.index(2)));
        let room = if executor.is_some() { room - 0.1 } else { room };
        let room = (room / 0.5).floor().max(0.0) as usize;
        let count = 1 + self.chance.index(want.min(4));
        let agent = offer.agent_id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
        let mut infos = Vec::new();
        for _ in 0..count.min(room) {
            let needs = super::agents::resources(0.5, 64.0);
            infos.push(self.new_task(framework, &agent, needs));
        }
        let executor = executor.map(|id| super::executors::executor_info(&id));
        for info in infos.iter_mut().filter(|_| executor.is_some()) {
            info.command = None;
            info.executor.clone_from(&executor);
        }
        let operation = if executor.is_some() && infos.len() > 1 {
            self.report.groups += 1;
            let name = super::executors::group_name(infos.len());
            infos.iter_mut().for_each(|info| info.name = Some(name.clone()));
            make::launch_group(infos)
        } else {
            make::launch(infos)
        };
        let mut call = self.frameworks[framework].call(call::Type::Accept);
        call.accept = Some(call::Accept {
            offer_ids: vec![offer.id.clone().unwrap_or_default()],
            operations: vec![operation],
            filters: Some(v1::Filters { refuse_seconds: Some(1.0) }),
        });
        self.framework_sends(framework, call);
    }

    fn on_update(&mut self, framework: usize, life: u64, stream: u64, told: Told) -> Result<(), String> {
        let Some(status) = told.update.and_then(|update| update.status) else { return Ok(()) };
        let id = status.task_id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
        let state = status.state();
        self.note(|| {
            format!(
                "framework {framework} hears {id} {} {:?} {:?}",
                state.as_str_name(),
                status.source(),
                status.reason()
            )
        });
        let Some(known) = self.frameworks[framework].tasks.get_mut(&id) else {
            return Err(format!("framework {framework} hears of task {id}, which it never launched"));
        };
        judge(known, &status).map_err(|what| format!("framework {framework}, task {id}: {what}"))?;
        known.asked_at = self.now / MS;
        if status.uuid.as_ref().is_some_and(|uuid| !uuid.is_empty()) {
            // Sometimes the acknowledgement is late, sometimes it never happens; the update then comes again.
            if !self.faulty || !self.chance.percent(5) {
                let delay = if self.chance.percent(10) { self.chance.between(1, 3_000) * MS } else { 0 };
                let status = Box::new(status);
                self.after(delay, Event::Acknowledge { framework, life, stream, status });
            }
        }
        Ok(())
    }

    pub(crate) fn acknowledge(
        &mut self,
        framework: usize,
        life: u64,
        stream: u64,
        status: &v1::TaskStatus,
    ) -> Result<(), String> {
        let found = &self.frameworks[framework];
        if !found.up || found.life != life || found.stream != Some(stream) {
            return Ok(());
        }
        let mut call = found.call(call::Type::Acknowledge);
        call.acknowledge = Some(call::Acknowledge {
            agent_id: status.agent_id.clone(),
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone(),
        });
        self.framework_sends(framework, call);
        Ok(())
    }
}

/// Whether an update may come after what is known.
fn judge(known: &mut Known, status: &v1::TaskStatus) -> Result<(), String> {
    let state = status.state();
    let from_agent = status.uuid.as_ref().filter(|uuid| !uuid.is_empty());
    if known.gone && from_agent.is_some() {
        return Err(format!("{} from an agent that is gone", state.as_str_name()));
    }
    if status.reason() == v1::task_status::Reason::AgentRemovedByOperator && from_agent.is_none() {
        if known.gone {
            return Err("its agent was reported gone twice".to_owned());
        }
        known.gone = true;
    }
    if from_agent.is_none() {
        known.ahead |= status.reason() == v1::task_status::Reason::AgentReregistered;
    }
    if let Some(uuid) = from_agent {
        match known.uuids.iter().position(|seen| seen == uuid) {
            Some(place) if place + 1 == known.uuids.len() => {}
            Some(_) => {
                return Err(format!("an update of {} came again after a newer one", state.as_str_name()));
            }
            None => {
                if let Some(word) = known.last_word {
                    return Err(format!(
                        "{} after the last word {}",
                        state.as_str_name(),
                        word.as_str_name()
                    ));
                }
                let late = std::mem::take(&mut known.ahead);
                if !late && known.state.is_some_and(|before| rank(before) < 4 && rank(before) > rank(state)) {
                    return Err(format!("{} after {:?}", state.as_str_name(), known.state));
                }
                known.uuids.push(uuid.clone());
            }
        }
        if state.is_terminal() {
            known.last_word = Some(state);
        }
    } else if let Some(word) = known.last_word
        && rank(state) < 4
    {
        return Err(format!("{} after the last word {}", state.as_str_name(), word.as_str_name()));
    }
    if known.last_word.is_none_or(|word| word == state) {
        known.state = Some(state);
    }
    Ok(())
}
