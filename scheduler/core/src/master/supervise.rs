//! Lends the supervisor of drivers what it may see, and does what it asks for.

use std::collections::BTreeMap;

use tepui_proto::resources::Resources;
use tepui_proto::tepui::agent_link::{Event, event};
use tepui_proto::v1;

use super::core::Master;
use super::drivers::{Context, Request, Supervisor, Tag};
use super::effect::Effect;
use super::pipeline::{Pending, PendingLaunch, PendingTask};
use crate::allocator::Demand;
use crate::ids::{AgentId, TaskKey};
use crate::registry::{self, LaunchDriver, Operation, role_of};

impl Master {
    /// Calls the supervisor, then performs its requests in order.
    pub(super) fn supervise<R>(&mut self, call: impl FnOnce(&mut Supervisor, &mut Context<'_>) -> R) -> R {
        let mut requests = Vec::new();
        let mut context = Context {
            now: self.now,
            registry: &self.registry,
            config: &self.config,
            mint: &mut self.mint,
            requests: &mut requests,
        };
        let result = call(&mut self.supervisor, &mut context);
        for request in requests {
            self.perform(request);
        }
        result
    }

    fn perform(&mut self, request: Request) {
        match request {
            Request::Propose { operation, tag } => self.propose_for_supervisor(operation, tag),
            Request::Reply { request, reply } => self.reply(request, reply),
            Request::CloseFramework { framework_id, message } => {
                if let Some(connection) = self.live(&framework_id) {
                    self.part_from(&framework_id);
                    self.refuse_stream(connection, message);
                    self.framework_is_away(&framework_id);
                }
            }
            Request::RemoveFramework { framework_id, reason } => {
                let removing = self.frameworks.get(&framework_id).is_some_and(|session| session.removing);
                if self.registry.frameworks.contains_key(&framework_id) && !removing {
                    self.propose_framework_removal(&framework_id, &reason, None);
                }
            }
            Request::MakeRoom { demand } => self.make_room(&demand),
            Request::KillTask { task, kill_policy } => self.kill_task(&task, kill_policy),
            Request::Acknowledge { agent_id, task, uuid } => {
                // What is dropped now is acknowledged when the agent repeats it.
                let _ = self.acknowledge(&agent_id, &task, uuid);
            }
            Request::Note(note) => self.out.push(Effect::Log(note)),
        }
    }

    /// Takes back the offers of the first agent on which they stand in the way of a driver.
    fn make_room(&mut self, demand: &Demand) {
        let mut offered: BTreeMap<AgentId, Resources> = BTreeMap::new();
        for (_, offer) in self.offers.all() {
            *offered.entry(offer.agent.clone()).or_default() += &offer.resources;
        }
        let agent = offered.iter().find(|(agent, more)| self.allocator.would_meet(demand, agent, more));
        if let Some((agent, _)) = agent {
            self.withdraw_offers_of_agent(agent);
        }
    }

    fn propose_for_supervisor(&mut self, operation: Operation, tag: Tag) {
        let pending = match &operation {
            Operation::LaunchDriver(launch) => match pending_launch(launch, tag.clone()) {
                Some(pending) => Pending::Launch(pending),
                None => Pending::Supervisor(tag),
            },
            _ => Pending::Supervisor(tag),
        };
        if let Pending::Launch(launch) = &pending {
            self.holdings.touch(&launch.agent.clone());
        }
        self.propose(operation, pending);
    }
}

fn pending_launch(launch: &LaunchDriver, tag: Tag) -> Option<PendingLaunch> {
    let item = launch.item.as_ref()?;
    let info: v1::TaskInfo = item.info.clone()?;
    let key = TaskKey::new(crate::ids::DRIVERS_FRAMEWORK, item.task.as_ref()?.task_id.as_ref()?.value());
    let resources = &item.task.as_ref()?.resources;
    Some(PendingLaunch {
        framework: key.framework.clone(),
        agent: launch.agent_id.as_str().into(),
        role: role_of(resources),
        amounts: registry::unallocated(resources),
        brings: Default::default(),
        tasks: vec![PendingTask { key, info, killed: false, group: 0 }],
        operations: Vec::new(),
        request: None,
        tag: Some(tag),
    })
}

/// An acknowledgement as agents get it.
pub(super) fn acknowledge_event(task: &TaskKey, uuid: bytes::Bytes) -> Event {
    Event {
        r#type: Some(event::Type::Acknowledge as i32),
        acknowledge: Some(event::Acknowledge {
            framework_id: Some(task.framework.to_proto()),
            task_id: Some(task.task.to_proto()),
            uuid: Some(uuid),
        }),
        ..Default::default()
    }
}
