//! Calls of agents other than REGISTER.

use tepui_proto::tepui::agent_link::{Call, Event, call::Type, event};
use tepui_proto::v1;
use tepui_proto::v1::scheduler;

use super::core::Master;
use super::effect::Reply;
use super::input::RequestId;
use crate::ids::{self, AgentId, FrameworkId};
use crate::registry::TaskRecord;
use crate::validation;

impl Master {
    pub(super) fn on_agent_call(&mut self, request: RequestId, stream_id: Option<&str>, call: Call) {
        if !self.serving() {
            self.reject(request, 503, "this master does not lead");
            return;
        }
        match self.admit_agent_call(stream_id, &call) {
            Err((status, reason)) => self.reject(request, status, reason),
            Ok(id) => {
                self.reply(request, Reply::Accepted);
                if let Some(session) = self.agents.get_mut(&id) {
                    session.heard();
                }
                self.spare(&id);
                if let Some(launch_seq) = call.accepted_launch_seq {
                    self.note_accepted(&id, launch_seq);
                }
                self.dispatch_agent_call(&id, call);
            }
        }
    }

    /// A 400 makes the agent register again.
    fn admit_agent_call(&self, stream_id: Option<&str>, call: &Call) -> Result<AgentId, (u16, String)> {
        validation::agent_call(call).map_err(|rejection| (rejection.status, rejection.reason))?;
        if matches!(call.r#type(), Type::Register | Type::Attach) {
            let kind = call.r#type().as_str_name();
            return Err((400, format!("{kind} opens a stream of its own")));
        }
        let id: AgentId = ids::of(call.agent_id.as_ref());
        let Some(session) = self.agents.get(&id) else {
            return Err((400, format!("agent {id} is not registered with this master")));
        };
        if stream_id != Some(session.stream_id.as_str()) {
            return Err((400, format!("stream id is not that of agent {id}'s stream")));
        }
        if call.r#type() == Type::Tell {
            let expected = session.has_to_tell.then_some(id);
            return expected.ok_or_else(|| (400, "TELL answers TELL_ALL, which was not sent".to_owned()));
        }
        if !session.registered {
            return Err((503, format!("the registration of agent {id} is not committed yet")));
        }
        Ok(id)
    }

    fn dispatch_agent_call(&mut self, id: &AgentId, call: Call) {
        match call.r#type() {
            Type::Update => {
                let update = call.update.unwrap_or_default();
                let latest = update.latest_state.and_then(|state| v1::TaskState::try_from(state).ok());
                let framework = ids::of(update.framework_id.as_ref());
                if let Some(status) = update.status {
                    self.on_status(id, &framework, status, latest);
                }
            }
            Type::ExecutorExited => {
                let exited = call.executor_exited.unwrap_or_default();
                let framework = ids::of(exited.framework_id.as_ref());
                let accepted = call.accepted_launch_seq.unwrap_or_default();
                let status = exited.status.unwrap_or_default();
                self.executor_exited(id, &framework, exited.executor_id, status, accepted);
            }
            Type::Message => {
                let message = call.message.unwrap_or_default();
                let framework: FrameworkId = ids::of(message.framework_id.as_ref());
                if let Some(connection) = self.live(&framework) {
                    let event = scheduler::Event {
                        r#type: Some(scheduler::event::Type::Message as i32),
                        message: Some(scheduler::event::Message {
                            agent_id: Some(id.to_proto()),
                            executor_id: message.executor_id,
                            data: message.data,
                        }),
                        ..Default::default()
                    };
                    self.send_to_framework(connection, event);
                }
            }
            Type::Unregister => self.propose_agent_removal(id, "the agent left"),
            Type::ResourcesAccepted => {
                self.on_resources_accepted(id, call.resources_version.unwrap_or_default())
            }
            Type::Tell => self.on_agent_tells(id, call),
            Type::Pong | Type::Accepted | Type::Register | Type::Attach | Type::Unknown => {}
        }
    }

    /// MESSAGE of a framework: best effort.
    pub(super) fn on_framework_message(&mut self, id: &FrameworkId, message: scheduler::call::Message) {
        let agent: AgentId = ids::of(message.agent_id.as_ref());
        self.warn_of_absence("message", id, &agent, message.executor_id.as_ref());
        self.send_to_agent(
            &agent,
            Event {
                r#type: Some(event::Type::Message as i32),
                message: Some(event::Message {
                    framework_id: Some(id.to_proto()),
                    executor_id: message.executor_id,
                    data: message.data,
                }),
                ..Default::default()
            },
        );
    }

    /// Says that nobody will get what is sent. It is sent all the same: the agent knows best who runs there.
    fn warn_of_absence(
        &mut self,
        call: &str,
        framework: &FrameworkId,
        agent: &AgentId,
        executor: Option<&v1::ExecutorId>,
    ) {
        if self.agents.get(agent).is_none_or(|session| session.registered().is_none()) {
            self.warn(format!("'{call}.agent_id' names '{agent}', which is not registered now: ignored"));
            return;
        }
        let wanted = executor.map_or("", v1::ExecutorId::value);
        // A task without an executor is run by one of its own name.
        let is_it = |record: &TaskRecord| match &record.executor {
            Some(executor) => executor.executor_id.as_ref().map_or("", v1::ExecutorId::value) == wanted,
            None => record.key().task.as_str() == wanted,
        };
        if !self.registry.tasks_between(framework, agent).any(|record| is_it(record)) {
            self.warn(format!(
                "'{call}.executor_id' names '{wanted}', of which nothing is known on '{agent}'"
            ));
        }
    }

    /// SHUTDOWN of a framework: one executor on one agent; an unknown agent is ignored.
    pub(super) fn on_shutdown_executor(&mut self, id: &FrameworkId, shutdown: scheduler::call::Shutdown) {
        let agent: AgentId = ids::of(shutdown.agent_id.as_ref());
        self.warn_of_absence("shutdown", id, &agent, shutdown.executor_id.as_ref());
        self.send_to_agent(
            &agent,
            Event {
                r#type: Some(event::Type::ShutdownExecutor as i32),
                shutdown_executor: Some(event::ShutdownExecutor {
                    framework_id: Some(id.to_proto()),
                    executor_id: shutdown.executor_id,
                }),
                ..Default::default()
            },
        );
    }
}
