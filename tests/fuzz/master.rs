//! Calls that can be decoded, made of a leading master: it may refuse them, but answers each exactly once, and its books stay right. What it
//! checks after every input, the harness and the core's own invariants say.

use std::sync::Arc;

use tepui_proto::MediaType::Protobuf;
use tepui_proto::tepui::agent_link;
use tepui_proto::v1::{self, scheduler};
use tepui_proto::wire;
use tepui_scheduler_core::master::{Input, Reply};
use tepui_scheduler_core::testing::{AgentPeer, FrameworkPeer, Harness, framework_info};

use super::random::Chance;
use super::schema::Schema;
use super::tree::grow;
use super::{Target, render};

/// Inputs to one master before the next begins.
const LIFE: u32 = 300;

pub(super) struct Calls {
    schema: Arc<Schema>,
    world: Option<World>,
}

struct World {
    harness: Harness,
    agents: Vec<AgentPeer>,
    peer: FrameworkPeer,
    offers: Vec<v1::Offer>,
    tasks: Vec<String>,
    age: u32,
}

impl Calls {
    pub(super) fn new(schema: Arc<Schema>) -> Calls {
        Calls { schema, world: None }
    }
}

impl Target for Calls {
    fn name(&self) -> &str {
        "master"
    }

    fn fresh(&mut self, seed: u64) -> Vec<u8> {
        seed.to_be_bytes().to_vec()
    }

    fn takes_damage(&self) -> bool {
        false
    }

    fn feed(&mut self, input: &[u8]) -> Result<String, String> {
        let mut chance = Chance::from_bytes(input);
        // A world that panicked is not used again.
        let mut world = self.world.take().filter(|world| world.age < LIFE).unwrap_or_else(World::new);
        world.age += 1;
        let answer = match chance.below(10) {
            0 => world.subscription(&self.schema, &mut chance),
            1..=3 => world.report(&self.schema, &mut chance),
            4 => {
                world.harness.advance(*chance.pick(&[1, 20, 100, 1_000, 5_000]));
                "time".to_owned()
            }
            _ => world.call(&self.schema, &mut chance),
        };
        world.look();
        self.world = Some(world);
        Ok(answer)
    }
}

impl World {
    fn new() -> World {
        let mut harness = Harness::new();
        let agents =
            vec![harness.agent("cpus:4;mem:1024;ports:[1-100]"), harness.agent("cpus:8;mem:2048;disk:10")];
        let peer = harness.framework_with(framework_info("f"));
        World { harness, agents, peer, offers: Vec::new(), tasks: Vec::new(), age: 0 }
    }

    /// Takes what the framework was told, and subscribes again if it was sent away.
    fn look(&mut self) {
        for event in self.harness.events(&self.peer) {
            self.offers.extend(event.offers.into_iter().flat_map(|offers| offers.offers));
        }
        self.offers.truncate(8);
        for agent in &mut self.agents {
            for order in self.harness.orders(agent) {
                let task = order.run_task.and_then(|run| run.task).and_then(|task| task.task_id);
                self.tasks.extend(task.and_then(|id| id.value));
            }
            if self.harness.is_closed(agent.connection) {
                self.harness.send_register(agent);
            }
        }
        self.tasks.truncate(16);
        if self.harness.is_closed(self.peer.connection) {
            self.peer = self.harness.framework_with(framework_info("f"));
            self.offers.clear();
        }
    }

    fn subscription(&mut self, schema: &Schema, chance: &mut Chance) -> String {
        let tree = grow(schema, "mesos.v1.FrameworkInfo", chance);
        let bytes = render::protobuf(schema, &tree, chance);
        let Ok(mut info) = wire::decode::<v1::FrameworkInfo>(Protobuf, &bytes) else {
            return "no framework".to_owned();
        };
        if chance.percent(50) {
            info.id = self.peer.info.id.clone();
        }
        let other = self.harness.subscribe(info, None);
        if chance.percent(70) {
            self.harness.break_stream(other.connection);
        }
        format!("subscribed {}", self.harness.is_closed(other.connection))
    }

    fn call(&mut self, schema: &Schema, chance: &mut Chance) -> String {
        let tree = grow(schema, "mesos.v1.scheduler.Call", chance);
        let bytes = render::protobuf(schema, &tree, chance);
        let Ok(mut call) = wire::decode::<scheduler::Call>(Protobuf, &bytes) else {
            return "no call".to_owned();
        };
        self.make_sense(&mut call, chance);
        call.framework_id = Some(self.peer.id.to_proto());
        let kind = call.r#type();
        if kind == scheduler::call::Type::Subscribe {
            return "subscribe".to_owned();
        }
        let request = self.harness.next_id();
        let stream_id = Some(self.peer.stream_id.clone()).filter(|_| !chance.percent(2));
        self.harness.input(Input::Call { request, stream_id, call, principal: None });
        match self.harness.reply(request) {
            Some(Reply::Rejected { status, reason }) => format!("{} {status} {reason}", kind.as_str_name()),
            Some(Reply::Warned(text)) => format!("{} warned {text}", kind.as_str_name()),
            Some(_) => kind.as_str_name().to_owned(),
            None => panic!("no reply to {}", kind.as_str_name()),
        }
    }

    /// Names things that exist, so that more is reached than the first check.
    fn make_sense(&mut self, call: &mut scheduler::Call, chance: &mut Chance) {
        if chance.percent(20) {
            return;
        }
        let offers: Vec<v1::Offer> =
            self.offers.drain(..self.offers.len().min(1 + chance.below(2))).collect();
        let agent = offers.first().and_then(|offer| offer.agent_id.clone());
        let agent = agent.or_else(|| Some(chance.pick(&self.agents).id.to_proto()));
        let ids: Vec<v1::OfferId> = offers.iter().filter_map(|offer| offer.id.clone()).collect();
        let task = self.tasks.get(chance.below(self.tasks.len() + 1)).cloned();
        let task = task.map(|value| v1::TaskId { value: Some(value) });
        if let Some(accept) = &mut call.accept {
            accept.offer_ids = ids;
            for operation in &mut accept.operations {
                let launched = operation.launch.iter_mut().flat_map(|launch| &mut launch.task_infos);
                for info in launched {
                    info.agent_id.clone_from(&agent);
                    if chance.percent(80) {
                        info.resources = tepui_scheduler_core::testing::resources("cpus:0.5;mem:32");
                    }
                    if chance.percent(60) {
                        info.executor = None;
                        info.container = None;
                        (info.health_check, info.check, info.kill_policy) = (None, None, None);
                        info.command =
                            Some(v1::CommandInfo { value: Some("true".to_owned()), ..Default::default() });
                    }
                }
            }
        } else if let Some(decline) = &mut call.decline {
            decline.offer_ids = ids;
        }
        if let (Some(kill), true) = (&mut call.kill, task.is_some()) {
            kill.task_id.clone_from(&task);
            if chance.percent(50) {
                kill.agent_id = None;
            }
        }
        if let (Some(acknowledge), true) = (&mut call.acknowledge, task.is_some()) {
            acknowledge.task_id.clone_from(&task);
            acknowledge.agent_id = agent;
            acknowledge.uuid = Some(vec![1; 16].into());
        }
    }

    fn report(&mut self, schema: &Schema, chance: &mut Chance) -> String {
        let tree = grow(schema, "tepui.agent_link.Call", chance);
        let bytes = render::protobuf(schema, &tree, chance);
        let Ok(mut call) = wire::decode::<agent_link::Call>(Protobuf, &bytes) else {
            return "no report".to_owned();
        };
        let task = self.tasks.get(chance.below(self.tasks.len() + 1)).cloned();
        if let (Some(update), Some(task), true) = (&mut call.update, task, chance.percent(80)) {
            update.framework_id = Some(self.peer.id.to_proto());
            if let Some(status) = &mut update.status {
                status.task_id = Some(v1::TaskId { value: Some(task) });
                status.uuid = Some(vec![1; 16].into());
            }
        }
        let kind = call.r#type();
        let which = chance.below(self.agents.len());
        format!("{} {}", kind.as_str_name(), self.harness.agent_call(&self.agents[which], call))
    }
}
