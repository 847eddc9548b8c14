//! REGISTER: an agent comes for the first time, or comes back with its tasks.

use tepui_proto::tepui::agent_link::{Call, Event, call::Register, event};
use tepui_proto::v1::{DomainInfo, TaskState, task_status::Reason};

use super::agents::AgentSession;
use super::core::{Master, Party};
use super::effect::{Level, LocalChange};
use super::input::ConnectionId;
use super::pipeline::Pending;
use super::registration_parts;
use super::timers::Timer;
use crate::ids::{self, AgentId, FrameworkId, TaskKey};
use crate::registry::{AdmitAgent, Operation, Outcome, ReregisterAgent, Reregistered, TaskRecord};
use crate::validation;

impl Master {
    pub(super) fn on_agent_register(&mut self, connection: ConnectionId, stream_id: String, call: Call) {
        if !self.serving() {
            self.close(connection);
            return;
        }
        if let Err(reason) = self.register(connection, stream_id, call) {
            self.note(Level::Warn, "agent refused", vec![("reason", reason)]);
            self.close(connection);
        }
    }

    fn register(&mut self, connection: ConnectionId, stream_id: String, call: Call) -> Result<(), String> {
        validation::agent_call(&call).map_err(|rejection| rejection.reason)?;
        let accepted_launch_seq = call.accepted_launch_seq.unwrap_or_default();
        let told = call.register.unwrap_or_default();
        self.belongs_here(told.cluster_id(), told.epoch())?;
        self.domain_fits(told.agent_info.as_ref().and_then(|info| info.domain.as_ref()))?;
        let given: AgentId = ids::of(call.agent_id.as_ref());
        let boot = told.boot_id();
        let known = self.boots.get(boot).or_else(|| {
            let known = self.registry.agent_of_boot(boot);
            known.filter(|_| !boot.is_empty())
        });
        let id = match known {
            // It was admitted before and did not hear of it.
            Some(known) if given.as_str().is_empty() => known.clone(),
            _ => given,
        };
        let hostname = told.agent_info.as_ref().map_or("", |info| info.hostname());
        if self.must_leave(&id, hostname, told.ip(), connection) {
            return Ok(());
        }
        let fresh = id.as_str().is_empty();
        let id = if fresh { self.mint_agent_id() } else { id };
        self.connections.insert(connection, Party::Agent(id.clone()));
        let session = AgentSession::new(connection, stream_id);
        if !told.boot_id().is_empty() {
            self.boots.insert(told.boot_id().to_owned(), id.clone());
        }
        if let Some(old) = self.agents.insert(id.clone(), session) {
            // The agent itself has given up its older stream.
            self.close(old.connection);
        }
        self.propose_registration(&id, connection, fresh, accepted_launch_seq, told);
        Ok(())
    }

    /// An agent that came with ATTACH tells everything.
    pub(super) fn on_agent_tells(&mut self, id: &AgentId, call: Call) {
        let Some(session) = self.agents.get_mut(id) else { return };
        session.has_to_tell = false;
        let connection = session.connection;
        let accepted = call.accepted_launch_seq.unwrap_or_default();
        let told = call.register.unwrap_or_default();
        if !told.boot_id().is_empty() {
            self.boots.insert(told.boot_id().to_owned(), id.clone());
        }
        self.propose_registration(id, connection, false, accepted, told);
    }

    /// Whether an agent may be of this cluster, and this leader not of its past.
    pub(super) fn belongs_here(&self, cluster: &str, epoch: u64) -> Result<(), String> {
        if !cluster.is_empty() && !self.registry.continues(cluster) {
            return Err(format!("agent belongs to cluster {cluster}"));
        }
        if epoch > self.registry.epoch {
            return Err(format!("agent has seen epoch {epoch}"));
        }
        Ok(())
    }

    pub(super) fn domain_fits(&self, domain: Option<&DomainInfo>) -> Result<(), String> {
        if domain.is_some() && self.identity.domain.is_none() {
            return Err("agent has a domain, but the master has none".to_owned());
        }
        if domain.is_none() && self.config.require_agent_domain {
            return Err("agent has no domain, and the master requires one".to_owned());
        }
        Ok(())
    }

    /// Tells an agent that has no place here any more to leave; returns whether it was told.
    pub(super) fn must_leave(
        &mut self,
        id: &AgentId,
        hostname: &str,
        ip: &str,
        connection: ConnectionId,
    ) -> bool {
        if self.registry.is_gone(id) && !mutant!("gone-agent-taken-back") {
            self.shut_down(connection, "the agent was removed from the cluster");
            return true;
        }
        let down = self.registry.machine_at(hostname, ip).is_some_and(|machine| machine.down);
        if down && !mutant!("machine-down-and-agent-taken") {
            self.shut_down(connection, "the agent's machine is down for maintenance");
            return true;
        }
        false
    }

    fn propose_registration(
        &mut self,
        id: &AgentId,
        connection: ConnectionId,
        fresh: bool,
        accepted: u64,
        told: Register,
    ) {
        let operations = match self.registration(id, fresh, accepted, told) {
            Ok(operations) => operations,
            Err(reason) => {
                self.note(
                    Level::Warn,
                    "agent refused",
                    vec![("agent_id", id.to_string()), ("reason", reason)],
                );
                self.registration_failed(id, connection);
                return;
            }
        };
        let count = operations.len();
        for (number, operation) in (1..).zip(operations) {
            let last = number == count;
            self.propose(operation, Pending::Registration { agent: id.clone(), connection, last });
        }
    }

    fn registration(
        &self,
        id: &AgentId,
        fresh: bool,
        accepted: u64,
        told: Register,
    ) -> Result<Vec<Operation>, String> {
        let mut info = told.agent_info.unwrap_or_default();
        info.id = Some(id.to_proto());
        let (info, version) = (Some(info), told.version.unwrap_or_default());
        let (boot_id, ip) = (told.boot_id.unwrap_or_default(), told.ip.unwrap_or_default());
        if fresh && told.tasks.is_empty() && told.executors.is_empty() && accepted == 0 {
            return Ok(vec![Operation::AdmitAgent(AdmitAgent { info, version, boot_id, ip })]);
        }
        registration_parts::cut(ReregisterAgent {
            info,
            version,
            boot_id,
            ip,
            accepted_launch_seq: accepted,
            tasks: told.tasks,
            executors: told.executors,
            frameworks: told.frameworks,
            framework_grace_ms: self.config.framework_grace_ms,
            resources: told.resources,
            resources_version: told.resources_version.unwrap_or_default(),
            orphaned_volumes: told.orphaned_volumes,
            ..Default::default()
        })
    }

    fn mint_agent_id(&mut self) -> AgentId {
        let id = format!("{}-S{}", self.identity.master_id, self.minted_agents);
        self.minted_agents += 1;
        AgentId::from(id)
    }

    pub(super) fn shut_down(&mut self, connection: ConnectionId, message: &str) {
        let event = Event {
            r#type: Some(event::Type::Shutdown as i32),
            shutdown: Some(event::Shutdown { message: Some(message.to_owned()) }),
            ..Default::default()
        };
        self.send_on_agent_stream(connection, event);
        self.close(connection);
    }

    /// A part of a long registration is committed; the last one completes it.
    pub(super) fn registration_went_on(&mut self, id: &AgentId, connection: ConnectionId, outcome: Outcome) {
        let Outcome::Reregistered(difference) = outcome else {
            return self.registered(id, connection, outcome);
        };
        self.holdings.touch(id);
        for key in &difference.returned {
            self.tell_returned(key);
        }
        if let Some(session) = self.agents.get_mut(id).filter(|session| session.connection == connection) {
            session.difference.missing.extend(difference.missing);
            session.difference.foreign.extend(difference.foreign);
        }
    }

    pub(super) fn registered(&mut self, id: &AgentId, connection: ConnectionId, outcome: Outcome) {
        let current = self.agents.get(id).is_some_and(|session| session.connection == connection);
        if let Outcome::Refused(refusal) = &outcome {
            self.note(Level::Warn, "agent refused", vec![("reason", refusal.to_string())]);
            self.registration_failed(id, connection);
            return;
        }
        self.forget_boot(id);
        self.refresh_machine_of(id);
        // Its word may have changed what is charged, whether or not it is still there.
        self.holdings.touch(id);
        if let Outcome::Reregistered(difference) = &outcome {
            // The only time that this is said: at a later registration these tasks were never away.
            for key in &difference.returned {
                self.tell_returned(key);
            }
        }
        self.time_frameworks_on(id);
        if !current {
            // The stream is gone. If there is a newer one, its registration is on its way.
            if !self.agents.contains_key(id) {
                self.agent_is_away(id);
            }
            return;
        }
        let mut earlier = Reregistered::default();
        if let Some(session) = self.agents.get_mut(id) {
            session.registered = true;
            earlier = std::mem::take(&mut session.difference);
        }
        self.timers.cancel(&Timer::Agent(id.clone()));
        self.spare(id);
        match &outcome {
            Outcome::Reregistered(_) => self.view.counters.reregistrations += 1,
            _ => self.view.counters.registrations += 1,
        }
        self.view.connected_agents.insert(id.clone());
        self.withdraw_offers_of_agent(id);
        self.tell_allocator_agent(id);
        self.note(Level::Info, "agent registered", vec![("agent_id", id.to_string())]);
        self.changed(LocalChange::Agent(id.clone()));
        let former = self.registry.former_clusters.iter();
        let registered = event::Registered {
            agent_id: Some(id.to_proto()),
            cluster_id: Some(self.registry.cluster_id.to_string()),
            former_cluster_ids: former.map(|former| former.cluster_id.clone()).collect(),
            ping_interval_ms: Some(self.config.agent_ping_interval_ms),
            ping_timeouts: Some(self.config.agent_ping_timeouts),
            masters: self.attachments.masters.clone(),
        };
        self.send_to_agent(
            id,
            Event {
                r#type: Some(event::Type::Registered as i32),
                registered: Some(registered),
                ..Default::default()
            },
        );
        self.send_resources(id);
        self.note_orphans(id);
        self.arm_ping(connection);
        if matches!(outcome, Outcome::Reregistered(_)) {
            self.tell_agent_everything(id);
        }
        if let Outcome::Reregistered(mut difference) = outcome {
            difference.missing.extend(earlier.missing);
            difference.foreign.extend(earlier.foreign);
            self.settle_tasks(id, difference);
            self.kill_drained_tasks(id);
        }
        self.ask_inverse(id);
    }

    /// A framework that only this agent remembered, or that has not come back yet, does not stay for ever.
    fn time_frameworks_on(&mut self, id: &AgentId) {
        let frameworks: std::collections::BTreeSet<FrameworkId> =
            self.registry.tasks_on(id).into_iter().map(|key| key.framework).collect();
        for framework in frameworks {
            let live = self.frameworks.get(&framework).is_some_and(|session| session.live.is_some());
            if !live {
                self.arm_framework_deadline(&framework);
            }
        }
    }

    pub(super) fn registration_failed(&mut self, id: &AgentId, connection: ConnectionId) {
        if self.agents.get(id).is_some_and(|session| session.connection == connection) {
            self.agents.remove(id);
            self.close(connection);
            if let Some(record) = self.registry.agents.get(id)
                && self.registry.agent_connected(record)
            {
                self.agent_is_away(id);
            }
        }
    }

    /// Makes both sides agree on the tasks of an agent that is back.
    fn settle_tasks(&mut self, id: &AgentId, difference: Reregistered) {
        let mut missing: Vec<_> =
            difference.missing.iter().filter_map(|key| self.registry.tasks.get(key).cloned()).collect();
        // In the order of their launches: the agent refuses what is behind the last one that it took.
        missing.sort_by_key(|record| record.launch_seq);
        for record in missing {
            self.settle_missing(id, &record);
        }
        for key in difference.foreign {
            self.send_to_agent(id, kill_event(&key, None));
        }
        let mut gone = std::collections::BTreeSet::<FrameworkId>::new();
        for key in self.registry.tasks_on(id) {
            let Some(record) = self.registry.tasks.get(&key).cloned() else { continue };
            if self.registry.is_orphan(&key) {
                gone.insert(key.framework);
            } else if let Some(marker) = &record.kill
                && !record.state().is_terminal()
                && record.info.is_none()
            {
                self.send_to_agent(id, kill_event(&key, marker.kill_policy));
            }
        }
        let executors = self.registry.executors_on(id).map(|(key, _)| &key.framework);
        gone.extend(executors.filter(|id| !self.registry.frameworks.contains_key(*id)).cloned());
        for framework in gone {
            self.shut_framework_down(id, &framework);
        }
    }

    /// A task that the agent did not name: delivered again if it never got it, otherwise asked for.
    fn settle_missing(&mut self, id: &AgentId, record: &TaskRecord) {
        let key = record.key();
        let accepted = self.registry.agents.get(id).map_or(0, |agent| agent.accepted_launch_seq);
        let info = record.info.as_deref().cloned().or_else(|| self.large_tasks.get(&key).cloned());
        let undelivered = record.launch_seq > accepted && !self.registry.is_orphan(&key);
        match info.filter(|_| undelivered && record.unreachable_wall_ms.is_none()) {
            Some(_) if self.is_killed_with_its_group(record) => self.never_sent(&key, record.agent_id()),
            Some(_) if self.registry.agents.get(id).is_some_and(|agent| agent.draining()) => {
                self.drop_undelivered(&key, id.clone());
            }
            Some(_) if mutant!("launch-not-repeated") => {}
            Some(info) => self.send_launch(id, &key, info, record.launch_seq),
            None => {
                let reconcile = event::Reconcile {
                    framework_id: Some(key.framework.to_proto()),
                    task_id: Some(key.task.to_proto()),
                    launch_seq: Some(record.launch_seq),
                };
                self.send_to_agent(
                    id,
                    Event {
                        r#type: Some(event::Type::Reconcile as i32),
                        reconcile: Some(reconcile),
                        ..Default::default()
                    },
                );
            }
        }
    }

    fn is_killed_with_its_group(&self, record: &TaskRecord) -> bool {
        let (framework, agent) = (record.key().framework, record.agent_id());
        let mut group = self.registry.tasks_between(&framework, &agent);
        let same = |other: &TaskRecord| record.group_seq != 0 && other.group_seq == record.group_seq;
        record.kill.is_some() || group.any(|other| same(other) && other.kill.is_some())
    }

    /// The framework was told that its task is lost or unreachable: now it is told how it really is.
    fn tell_returned(&mut self, key: &TaskKey) {
        let Some(record) = self.registry.tasks.get(key).cloned() else { return };
        let state = record.state();
        // The end itself comes from the agent, with something to acknowledge.
        if state.is_terminal() || state == TaskState::TaskStaging {
            return;
        }
        let agent = Some(record.agent_id().to_proto());
        let mut status = self.verdict(key, agent, state, Reason::AgentReregistered, "agent is back");
        // How it is, as far as it is known of this state.
        let known = record.task.iter().flat_map(|task| &task.statuses).rfind(|one| one.state() == state);
        if let Some(known) = known {
            status.healthy = known.healthy;
            status.check_status = known.check_status;
            status.container_status = known.container_status.clone();
        }
        self.tell(&key.framework, status, state);
    }
}

/// An order to kill a task.
pub(super) fn kill_event(key: &TaskKey, kill_policy: Option<tepui_proto::v1::KillPolicy>) -> Event {
    Event {
        r#type: Some(event::Type::KillTask as i32),
        kill_task: Some(event::KillTask {
            framework_id: Some(key.framework.to_proto()),
            task_id: Some(key.task.to_proto()),
            kill_policy,
            max_grace_ms: None,
        }),
        ..Default::default()
    }
}
