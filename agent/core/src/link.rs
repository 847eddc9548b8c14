//! The link to the leading master: registration, liveness, and which events are taken at all.
//!
//! ```text
//! Down ──LinkUp──► Registering ──REGISTERED──► Up          ATTACH or REGISTER; TELL_ALL ─► TELL
//!   ▲                  │ no answer               │ silence, stale epoch, foreign cluster, LinkDown
//!   └──────────────────┴─────────────────────────┘
//! ```
//! An agent that was told to leave does not register again. Refuses events of an epoch below the highest seen, of another format, of another cluster, and any on a link that is down.

use tepui_proto::tepui::agent_link::{Call, Event, call, event};

use crate::agent::{Agent, Turn};
use crate::checkpoint::Kind;
use crate::checkpoint::Registered;
use crate::timers::Timer;
use crate::{Effect, ExecutorKey, LINK_FORMAT, Note, told};

/// What applies until the master names its own values.
const DEFAULT_PING_INTERVAL_MS: u64 = 5_000;
const DEFAULT_PING_TIMEOUTS: u32 = 5;

pub(crate) struct Link {
    pub(crate) state: LinkState,
    /// A master has known this run of the agent: saying how it stands may be enough.
    known: bool,
    /// The next registration must tell everything.
    pub(crate) tells_all: bool,
    /// How long the master may be silent.
    silence_ms: u64,
}

impl Link {
    /// Whether a master has known this run of the agent.
    pub(crate) fn was_known(&self) -> bool {
        self.known
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Down,
    Registering,
    Up,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            state: LinkState::Down,
            known: false,
            tells_all: false,
            silence_ms: DEFAULT_PING_INTERVAL_MS * u64::from(DEFAULT_PING_TIMEOUTS),
        }
    }
}

impl Agent {
    pub(crate) fn on_link_up(&mut self, turn: &mut Turn<'_>) {
        if !self.ready {
            turn.odd("a link came up before the agent's tasks were recovered");
            return;
        }
        self.on_link_down();
        if self.leaving.is_some() {
            // It would be offered, and lost as soon as its tasks have ended.
            return;
        }
        self.link.state = LinkState::Registering;
        self.timers.set(Timer::Link, turn.now.mono_ms.saturating_add(self.config.register_timeout_ms));
        let call = if self.may_attach() {
            Call { attach: Some(self.attach()), ..self.call(call::Type::Attach) }
        } else {
            Call { register: Some(self.register()), ..self.call(call::Type::Register) }
        };
        turn.push(Effect::Send(Box::new(call)));
    }

    pub(crate) fn on_link_down(&mut self) {
        self.link.state = LinkState::Down;
        self.timers.cancel(&Timer::Link);
        for (key, task) in &mut self.tasks {
            task.outbox.interrupt();
            self.timers.cancel(&Timer::Retry(key.clone()));
        }
        for key in std::mem::take(&mut self.answers).into_keys() {
            self.timers.cancel(&Timer::AnswerRetry(key));
        }
    }

    pub(crate) fn on_silence(&mut self, turn: &mut Turn<'_>) {
        match self.link.state {
            LinkState::Down => {}
            LinkState::Registering => self.give_up_link(turn, "registration was not answered"),
            LinkState::Up => self.give_up_link(turn, "master is silent"),
        }
    }

    pub(crate) fn on_event(&mut self, turn: &mut Turn<'_>, event: Event) {
        if self.link.state == LinkState::Down {
            return;
        }
        if event.format() != LINK_FORMAT {
            let reason =
                format!("event of format {}, this build speaks format {LINK_FORMAT}", event.format());
            self.give_up_link(turn, reason);
            return;
        }
        if event.epoch() < self.epoch && !mutant!("agent-obeys-old-masters") {
            turn.note(Note::StaleEpoch { event: event.epoch(), seen: self.epoch });
            self.give_up_link(turn, "master of a past epoch");
            return;
        }
        match event.r#type() {
            event::Type::Registered => self.on_registered(turn, &event),
            event::Type::TellAll => self.on_tell_all(turn),
            event::Type::Shutdown => {
                self.raise_epoch(turn, event.epoch());
                self.on_shutdown(turn, event.shutdown.and_then(|shutdown| shutdown.message));
            }
            kind if self.link.state != LinkState::Up => {
                turn.odd(format!("{} before REGISTERED", kind.as_str_name()));
            }
            kind => {
                self.raise_epoch(turn, event.epoch());
                self.expect_next_event(turn);
                self.on_order(turn, kind, event);
            }
        }
    }

    fn on_order(&mut self, turn: &mut Turn<'_>, kind: event::Type, event: Event) {
        use event::Type;
        match kind {
            Type::Ping => self.send(turn, self.call(call::Type::Pong)),
            Type::RunTask => self.on_run_task(turn, event.run_task.unwrap_or_default()),
            Type::KillTask => self.on_kill_task(turn, event.kill_task.unwrap_or_default()),
            Type::Acknowledge => self.on_acknowledge(turn, event.acknowledge.unwrap_or_default()),
            Type::ShutdownFramework => {
                self.on_shutdown_framework(turn, event.shutdown_framework.as_ref());
                for executor in event.charged_executors {
                    let named = ExecutorKey::from_ids(event.shutdown_framework.as_ref(), Some(&executor));
                    if let Some(key) = named {
                        self.tell_of_no_executor(turn, &key);
                    }
                }
            }
            Type::ShutdownExecutor => {
                self.on_shutdown_executor(turn, event.shutdown_executor.unwrap_or_default())
            }
            Type::Reconcile => self.on_reconcile(turn, event.reconcile.unwrap_or_default()),
            Type::UpdateFramework => {
                self.on_update_framework(turn, event.update_framework.unwrap_or_default())
            }
            Type::UpdateResources => {
                self.on_update_resources(turn, event.update_resources.unwrap_or_default())
            }
            Type::UpdateDrain => self.on_update_drain(turn, event.update_drain.unwrap_or_default()),
            Type::UpdateOperations => {
                self.on_update_operations(turn, event.update_operations.unwrap_or_default())
            }
            Type::Message => self.on_framework_message(turn, event.message.unwrap_or_default()),
            Type::UpdateMasters => {
                self.follow_masters(turn, event.update_masters.unwrap_or_default().masters);
            }
            // These are taken care of before; an unknown order is of a newer master and can only be left undone.
            Type::Registered | Type::TellAll | Type::Shutdown | Type::Unknown => {
                turn.odd("event of an unknown type")
            }
        }
    }

    fn on_registered(&mut self, turn: &mut Turn<'_>, event: &Event) {
        let registered = event.registered.clone().unwrap_or_default();
        let agent_id = registered.agent_id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
        let cluster_id = registered.cluster_id().to_owned();
        if agent_id.is_empty() {
            self.give_up_link(turn, "registration without an agent id");
            return;
        }
        // The epoch of a cluster founded anew is far above whatever the former one reached, so that this way leads nowhere back.
        let continued = registered.former_cluster_ids.contains(&self.cluster_id);
        if !self.cluster_id.is_empty() && cluster_id != self.cluster_id && !continued {
            let reason =
                format!("master is of cluster {cluster_id}, this agent belongs to {}", self.cluster_id);
            self.give_up_link(turn, reason);
            return;
        }
        if !self.agent_id.is_empty() && agent_id != self.agent_id {
            let reason = format!("master calls this agent {agent_id}, it is {}", self.agent_id);
            self.give_up_link(turn, reason);
            return;
        }
        self.raise_epoch(turn, event.epoch());
        if self.agent_id != agent_id || self.cluster_id != cluster_id {
            if continued {
                turn.note(Note::ClusterContinued { from: self.cluster_id.clone(), to: cluster_id.clone() });
            }
            self.agent_id.clone_from(&agent_id);
            self.cluster_id.clone_from(&cluster_id);
            let record = Registered { agent_id: agent_id.clone(), cluster_id };
            self.checkpoint(turn, Kind::Registered(record));
        }
        let interval_ms =
            registered.ping_interval_ms.filter(|ms| *ms > 0).unwrap_or(DEFAULT_PING_INTERVAL_MS);
        let timeouts = registered.ping_timeouts.filter(|count| *count > 0).unwrap_or(DEFAULT_PING_TIMEOUTS);
        self.link = Link {
            state: LinkState::Up,
            known: true,
            tells_all: false,
            silence_ms: interval_ms.saturating_mul(u64::from(timeouts)),
        };
        self.expect_next_event(turn);
        turn.note(Note::Registered { agent_id, epoch: self.epoch });
        self.follow_masters(turn, registered.masters);
        let keys: Vec<_> = self.tasks.keys().cloned().collect();
        for key in keys {
            self.send_next_update(turn, &key);
        }
        self.send_unsent_ends(turn);
    }

    fn raise_epoch(&mut self, turn: &mut Turn<'_>, epoch: u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.checkpoint(turn, Kind::Epoch(epoch));
        }
    }

    fn expect_next_event(&mut self, turn: &Turn<'_>) {
        self.timers.set(Timer::Link, turn.now.mono_ms.saturating_add(self.link.silence_ms));
    }

    fn give_up_link(&mut self, turn: &mut Turn<'_>, reason: impl Into<String>) {
        self.on_link_down();
        turn.push(Effect::Reconnect { reason: reason.into() });
    }

    /// Returns a call with what every call carries.
    pub(crate) fn call(&self, kind: call::Type) -> Call {
        Call {
            format: Some(LINK_FORMAT),
            r#type: Some(kind.into()),
            agent_id: self.wire_agent_id(),
            accepted_launch_seq: Some(self.accepted_launch_seq),
            ..Default::default()
        }
    }

    /// Sends if there is a registration; otherwise the next registration tells the master what it needs to know.
    pub(crate) fn send(&self, turn: &mut Turn<'_>, call: Call) {
        if self.link.state == LinkState::Up {
            turn.push(Effect::Send(Box::new(call)));
        }
    }

    pub(crate) fn send_accepted(&self, turn: &mut Turn<'_>) {
        self.send(turn, self.call(call::Type::Accepted));
    }

    pub(crate) fn register(&self) -> call::Register {
        let mut agent_info = self.config.agent_info.clone();
        agent_info.id = self.wire_agent_id();
        call::Register {
            boot_id: Some(self.config.boot_id.clone()),
            agent_info: Some(agent_info),
            tasks: told::tasks(self.tasks.values(), self.durable_record),
            version: Some(self.config.version.clone()),
            frameworks: self.frameworks.values().cloned().collect(),
            executors: self.executors.values().map(told::executor).collect(),
            cluster_id: Some(self.cluster_id.clone()),
            epoch: Some(self.epoch),
            ip: Some(self.config.ip.clone()),
            resources: self.resources.made.clone(),
            resources_version: Some(self.resources.version),
            orphaned_volumes: self.resources.orphaned.clone(),
        }
    }

    pub(crate) fn wire_agent_id(&self) -> Option<tepui_proto::v1::AgentId> {
        let value = Some(&self.agent_id).filter(|id| !id.is_empty())?;
        Some(tepui_proto::v1::AgentId { value: Some(value.clone()) })
    }
}
