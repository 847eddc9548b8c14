//! Frameworks end: by TEARDOWN, by their failover timeout, or with their driver.

use tepui_proto::tepui::agent_link::{Event, event};

use super::core::Master;
use super::effect::{Level, LocalChange, Reply};
use super::input::RequestId;
use super::outcomes::RETRY_MS;
use super::pipeline::Pending;
use super::timers::Timer;
use crate::ids::{AgentId, FrameworkId};
use crate::registry::{Operation, Outcome, RemoveFramework};

impl Master {
    /// Proposes the end of a framework. From now on it gets nothing more; a `request` is answered when it has ended. What it was
    /// offered stays with it until then: if it does not end after all, nobody has told it otherwise.
    pub(super) fn propose_framework_removal(
        &mut self,
        id: &FrameworkId,
        reason: &str,
        request: Option<RequestId>,
    ) {
        self.frameworks.entry(id.clone()).or_default().removing = true;
        self.tell_allocator_framework(id);
        let remove = RemoveFramework { framework_id: id.as_str().to_owned(), reason: reason.to_owned() };
        let pending = Pending::FrameworkRemoval { framework: id.clone(), request };
        self.propose(Operation::RemoveFramework(remove), pending);
    }

    pub(super) fn framework_removed(
        &mut self,
        id: &FrameworkId,
        request: Option<RequestId>,
        outcome: &Outcome,
    ) {
        if let Outcome::Refused(refusal) = outcome
            && self.registry.frameworks.contains_key(id)
        {
            self.removal_failed(id, request, &refusal.to_string());
            return;
        }
        if let Some(connection) = self.live(id) {
            self.part_from(id);
            self.close(connection);
        }
        self.frameworks.remove(id);
        self.timers.cancel(&Timer::Framework(id.clone()));
        self.offers.forget_counts(id);
        self.allocator.remove_framework(id);
        for agent in self.agents_running(id) {
            self.shut_framework_down(&agent, id);
            self.holdings.touch(&agent);
        }
        self.touch_all_holding(id);
        self.refresh_inverse_of(id);
        self.note(Level::Info, "framework removed", vec![("framework_id", id.to_string())]);
        self.changed(LocalChange::Framework(id.clone()));
        if let Some(request) = request {
            self.reply(request, Reply::Ok);
        }
    }

    pub(super) fn removal_failed(&mut self, id: &FrameworkId, request: Option<RequestId>, reason: &str) {
        if let Some(session) = self.frameworks.get_mut(id) {
            session.removing = false;
        }
        self.tell_allocator_framework(id);
        // Whoever is away past the deadline, or without one, is tried again.
        let at_ms = self.now.cluster_ms + RETRY_MS;
        self.timers.arm(at_ms, Timer::Framework(id.clone()));
        self.timers.arm(at_ms, Timer::Retry);
        if let Some(request) = request {
            self.reject(request, 503, format!("framework {id} was not removed: {reason}"));
        }
    }

    /// Agents on which the framework held something.
    fn touch_all_holding(&mut self, id: &FrameworkId) {
        let agents: Vec<AgentId> = self.holdings.agents_of(id);
        for agent in agents {
            self.holdings.touch(&agent);
        }
    }

    /// Tells an agent to end everything of a framework. It is told what is charged to it too: an executor that it does not
    /// have would never end.
    pub(super) fn shut_framework_down(&mut self, agent: &AgentId, id: &FrameworkId) {
        let charged = self.registry.executors_on(agent).map(|(key, _)| key);
        let charged = charged.filter(|key| key.framework == *id).map(|key| key.executor.to_proto()).collect();
        let order = Event {
            r#type: Some(event::Type::ShutdownFramework as i32),
            shutdown_framework: Some(id.to_proto()),
            charged_executors: charged,
            ..Default::default()
        };
        self.send_to_agent(agent, order);
    }
}
