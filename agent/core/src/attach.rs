//! Coming back to a new leader with little to say: how the agent stands, and the whole list only where the master asks for it. Owns
//! when that is enough, and what is remembered of the masters' addresses.

use bytes::Bytes;
use tepui_proto::standing::{AgentFacts, Standing, TaskFacts};
use tepui_proto::tepui::agent_link::{Call, call};

use crate::agent::{Agent, Turn};
use crate::checkpoint::{Kind, Masters};
use crate::link::LinkState;
use crate::timers::Timer;
use crate::{Effect, Note};

/// Masters that are remembered; no cluster has as many.
const MASTERS_MAX: usize = 64;
const ADDRESS_BYTES_MAX: usize = 300;

impl Agent {
    /// Whether a master that knows this agent may be content with a digest. What a registration tells beyond it has to be told.
    pub(crate) fn may_attach(&self) -> bool {
        self.link.was_known() && !self.link.tells_all && self.resources.orphaned.is_empty()
    }

    pub(crate) fn attach(&self) -> call::Attach {
        call::Attach {
            cluster_id: Some(self.cluster_id.clone()),
            epoch: Some(self.epoch),
            standing: Some(self.standing()),
        }
    }

    /// The digest of everything that a registration would tell now.
    fn standing(&self) -> Bytes {
        let mut info = self.config.agent_info.clone();
        info.id = self.wire_agent_id();
        let mut standing = Standing::new(AgentFacts {
            boot_id: &self.config.boot_id,
            version: &self.config.version,
            ip: &self.config.ip,
            info: &info,
            resources_version: self.resources.version,
        });
        let durable = self.durable_record;
        for (key, task) in self.tasks.iter().filter(|(_, task)| task.record <= durable) {
            standing.task(TaskFacts {
                framework: &key.framework_id,
                task: &key.task_id,
                launch_seq: task.launch_seq,
                state: task.outbox.durable_state(durable),
                uuid: task.outbox.latest_durable(durable).map(|status| status.uuid()).unwrap_or_default(),
            });
        }
        for key in self.executors.keys() {
            standing.executor(&key.framework_id, &key.executor_id);
        }
        standing.digest()
    }

    /// The master knows something else of this agent: it is told everything, on the same stream.
    pub(crate) fn on_tell_all(&mut self, turn: &mut Turn<'_>) {
        if self.link.state != LinkState::Registering {
            turn.odd("TELL_ALL outside a registration");
            return;
        }
        // The epoch is not taken over yet: of which cluster the master is, only REGISTERED says.
        self.link.tells_all = true;
        self.timers.set(Timer::Link, turn.now.mono_ms.saturating_add(self.config.register_timeout_ms));
        let call = Call { register: Some(self.register()), ..self.call(call::Type::Tell) };
        turn.push(Effect::Send(Box::new(call)));
    }

    /// The masters are there; an empty list says nothing.
    pub(crate) fn follow_masters(&mut self, turn: &mut Turn<'_>, mut masters: Vec<String>) {
        masters.retain(|address| !address.is_empty() && address.len() <= ADDRESS_BYTES_MAX);
        masters.truncate(MASTERS_MAX);
        if masters.is_empty() || masters == self.masters {
            return;
        }
        self.masters.clone_from(&masters);
        self.checkpoint(turn, Kind::Masters(Masters { addresses: masters.clone() }));
        turn.note(Note::Masters { addresses: masters.join(",") });
        turn.push(Effect::FollowMasters(masters));
    }
}
