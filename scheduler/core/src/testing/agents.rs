//! An agent as a test plays it.

use bytes::Bytes;
use tepui_proto::standing::{AgentFacts, Standing, TaskFacts};
use tepui_proto::tepui::agent_link::{AgentExecutor, AgentTask, Call, Event, call, event};
use tepui_proto::v1::{self, TaskState};

use super::builders::agent_info;
use super::harness::Harness;
use crate::ids::{AgentId, FrameworkId};
use crate::master::{ConnectionId, Input, Reply};

/// One run of an agent, with its stream and what it has taken.
#[derive(Clone, Debug)]
pub struct AgentPeer {
    pub id: AgentId,
    pub connection: ConnectionId,
    pub stream_id: String,
    pub boot_id: String,
    pub info: v1::AgentInfo,
    pub accepted_launch_seq: u64,
    pub tasks: Vec<AgentTask>,
    pub frameworks: Vec<v1::FrameworkInfo>,
    /// Reservations and volumes as last told, and what it holds beyond them.
    pub resources: Vec<v1::Resource>,
    pub resources_version: u64,
    pub orphaned: Vec<v1::Resource>,
    pub executors: Vec<AgentExecutor>,
}

/// What every agent of a test says of its build and its host.
const VERSION: &str = "0.1.0";
const IP: &str = "10.0.0.9";

impl AgentPeer {
    /// Returns the digest of what it has.
    pub fn standing(&self) -> Bytes {
        let mut info = self.info.clone();
        info.id = Some(self.id.to_proto());
        let mut standing = Standing::new(AgentFacts {
            boot_id: &self.boot_id,
            version: VERSION,
            ip: IP,
            info: &info,
            resources_version: self.resources_version,
        });
        let mut tasks: Vec<&AgentTask> = self.tasks.iter().collect();
        tasks.sort_by_key(|own| (framework_of(own.framework_id.as_ref()), id_of(own)));
        for own in tasks {
            standing.task(TaskFacts {
                framework: framework_of(own.framework_id.as_ref()),
                task: id_of(own),
                launch_seq: own.launch_seq(),
                state: own.state(),
                uuid: own.latest_status.as_ref().map(|status| status.uuid()).unwrap_or_default(),
            });
        }
        let name = |one: &AgentExecutor| {
            let id = one.executor.as_ref().and_then(|info| info.executor_id.as_ref());
            (framework_of(one.framework_id.as_ref()).to_owned(), id.map_or("", |id| id.value()).to_owned())
        };
        let mut executors: Vec<_> = self.executors.iter().map(name).collect();
        executors.sort();
        for (framework, executor) in executors {
            standing.executor(&framework, &executor);
        }
        standing.digest()
    }

    fn word(&self) -> call::Register {
        call::Register {
            boot_id: Some(self.boot_id.clone()),
            agent_info: Some(self.info.clone()),
            tasks: self.tasks.clone(),
            version: Some(VERSION.to_owned()),
            frameworks: self.frameworks.clone(),
            executors: self.executors.clone(),
            ip: Some(IP.to_owned()),
            resources: self.resources.clone(),
            resources_version: Some(self.resources_version),
            orphaned_volumes: self.orphaned.clone(),
            ..Default::default()
        }
    }
}

impl Harness {
    /// Registers a new agent and takes the answer.
    pub fn agent(&mut self, text: &str) -> AgentPeer {
        let number = self.next_id();
        let mut peer = AgentPeer {
            id: AgentId::from(""),
            connection: 0,
            stream_id: String::new(),
            boot_id: format!("boot-{number}"),
            info: agent_info(&format!("host-{number}"), text),
            accepted_launch_seq: 0,
            tasks: Vec::new(),
            frameworks: Vec::new(),
            resources: Vec::new(),
            resources_version: 0,
            orphaned: Vec::new(),
            executors: Vec::new(),
        };
        self.register(&mut peer);
        peer
    }

    /// Registers an agent (again) and takes the answer.
    pub fn register(&mut self, peer: &mut AgentPeer) {
        self.send_register(peer);
        let event = self.order(peer);
        assert_eq!(event.r#type(), event::Type::Registered, "{event:?}");
        peer.id = AgentId::from(&event.registered.unwrap().agent_id.unwrap());
    }

    /// Opens a stream with REGISTER and looks at nothing.
    pub fn send_register(&mut self, peer: &mut AgentPeer) {
        peer.connection = self.next_id();
        peer.stream_id = format!("agent-stream-{}", peer.connection);
        let call = Call {
            r#type: Some(call::Type::Register as i32),
            register: Some(peer.word()),
            ..self.agent_call_of(peer)
        };
        self.to_agents.entry(peer.connection).or_default();
        self.input(Input::AgentRegister {
            connection: peer.connection,
            stream_id: peer.stream_id.clone(),
            call,
        });
    }

    /// Opens a stream with ATTACH and this digest, and looks at nothing.
    pub fn attach(&mut self, peer: &mut AgentPeer, standing: Bytes) {
        peer.connection = self.next_id();
        peer.stream_id = format!("agent-stream-{}", peer.connection);
        let attach = call::Attach { standing: Some(standing), ..Default::default() };
        let call = Call {
            r#type: Some(call::Type::Attach as i32),
            attach: Some(attach),
            ..self.agent_call_of(peer)
        };
        self.to_agents.entry(peer.connection).or_default();
        self.input(Input::AgentAttach {
            connection: peer.connection,
            stream_id: peer.stream_id.clone(),
            call,
        });
    }

    /// Answers TELL_ALL; returns the status.
    pub fn tell(&mut self, peer: &AgentPeer) -> u16 {
        let kind = Some(call::Type::Tell as i32);
        self.agent_call(peer, Call { r#type: kind, register: Some(peer.word()), ..Default::default() })
    }

    fn agent_call_of(&self, peer: &AgentPeer) -> Call {
        Call {
            format: Some(1),
            agent_id: (!peer.id.as_str().is_empty()).then(|| peer.id.to_proto()),
            accepted_launch_seq: Some(peer.accepted_launch_seq),
            ..Default::default()
        }
    }

    /// Makes a call on the agent's stream; returns its status.
    pub fn agent_call(&mut self, peer: &AgentPeer, call: Call) -> u16 {
        let request = self.next_id();
        let call = Call {
            r#type: call.r#type,
            update: call.update,
            executor_exited: call.executor_exited,
            message: call.message,
            register: call.register,
            resources_version: call.resources_version,
            ..self.agent_call_of(peer)
        };
        self.input(Input::AgentCall { request, stream_id: Some(peer.stream_id.clone()), call });
        match self.reply(request) {
            Some(Reply::Accepted | Reply::Warned(_)) => 202,
            Some(Reply::Rejected { status, .. }) => status,
            other => panic!("no plain reply: {other:?}"),
        }
    }

    /// Takes the next order.
    pub fn order(&mut self, peer: &AgentPeer) -> Event {
        self.try_order(peer).expect("an order for the agent")
    }

    pub fn try_order(&mut self, peer: &AgentPeer) -> Option<Event> {
        self.to_agents.get_mut(&peer.connection)?.pop_front()
    }

    /// Takes all orders that are there, without pings.
    pub fn orders(&mut self, peer: &AgentPeer) -> Vec<Event> {
        let mut orders = Vec::new();
        while let Some(order) = self.try_order(peer) {
            if order.r#type() != event::Type::Ping {
                orders.push(order);
            }
        }
        orders
    }

    /// Takes the types of all orders that are there, without pings.
    pub fn order_types(&mut self, peer: &AgentPeer) -> Vec<event::Type> {
        self.orders(peer).iter().map(Event::r#type).collect()
    }

    /// Takes the next order, which must be a RUN_TASK, and accepts it.
    pub fn take_launch(&mut self, peer: &mut AgentPeer) -> event::RunTask {
        let order = self.order(peer);
        assert_eq!(order.r#type(), event::Type::RunTask, "{order:?}");
        let run = order.run_task.unwrap();
        let framework = run.framework.clone().unwrap();
        assert!(run.launch_seq() > peer.accepted_launch_seq, "launches arrive in order");
        let group = run.task_group.clone().unwrap_or_default().tasks;
        for (launch_seq, task) in (run.launch_seq()..).zip(run.task.clone().into_iter().chain(group)) {
            peer.accepted_launch_seq = launch_seq;
            if let Some(executor) = &task.executor {
                let id =
                    |one: &AgentExecutor| one.executor.as_ref().and_then(|info| info.executor_id.clone());
                let new = AgentExecutor {
                    framework_id: framework.id.clone(),
                    executor: Some(crate::registry::without_data(executor)),
                    container_id: None,
                };
                if !peer.executors.iter().any(|one| id(one) == id(&new)) {
                    peer.executors.push(new);
                }
            }
            peer.tasks.push(AgentTask {
                framework_id: framework.id.clone(),
                task: Some(task),
                launch_seq: Some(launch_seq),
                state: Some(TaskState::TaskStaging as i32),
                ..Default::default()
            });
        }
        if !peer.frameworks.contains(&framework) {
            peer.frameworks.push(framework);
        }
        run
    }

    /// Takes the next order, which must be an UPDATE_RESOURCES, and confirms it.
    pub fn take_resources(&mut self, peer: &mut AgentPeer) -> event::UpdateResources {
        let order = self.order(peer);
        assert_eq!(order.r#type(), event::Type::UpdateResources, "{order:?}");
        let update = order.update_resources.unwrap();
        peer.resources.clone_from(&update.resources);
        peer.resources_version = update.version();
        let call = Call {
            r#type: Some(call::Type::ResourcesAccepted as i32),
            resources_version: update.version,
            ..Default::default()
        };
        assert_eq!(self.agent_call(peer, call), 202);
        update
    }

    /// Reports the state of a task that the agent has; the uuid asks for an acknowledgement.
    pub fn report(&mut self, peer: &mut AgentPeer, task: &str, state: TaskState, uuid: Bytes) -> u16 {
        let own = peer.tasks.iter_mut().find(|own| id_of(own) == task).expect("a task of the agent");
        let status = v1::TaskStatus {
            task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
            state: Some(state as i32),
            source: Some(v1::task_status::Source::Executor as i32),
            uuid: (!uuid.is_empty()).then_some(uuid),
            ..Default::default()
        };
        own.state = Some(state as i32);
        own.latest_status = Some(status.clone());
        let framework = own.framework_id.clone();
        self.report_status(peer, framework, status, state)
    }

    /// Reports any status.
    pub fn report_status(
        &mut self,
        peer: &AgentPeer,
        framework_id: Option<v1::FrameworkId>,
        status: v1::TaskStatus,
        latest: TaskState,
    ) -> u16 {
        let update = call::Update { framework_id, status: Some(status), latest_state: Some(latest as i32) };
        self.agent_call(
            peer,
            Call { r#type: Some(call::Type::Update as i32), update: Some(update), ..Default::default() },
        )
    }

    /// The agent forgets a task.
    pub fn forget(&mut self, peer: &mut AgentPeer, task: &str) {
        peer.tasks.retain(|own| id_of(own) != task);
    }

    /// An executor ended with this wait status.
    pub fn executor_exits(
        &mut self,
        peer: &mut AgentPeer,
        framework: &FrameworkId,
        executor: &str,
        status: i32,
    ) {
        peer.executors.retain(|one| {
            let id = one.executor.as_ref().and_then(|info| info.executor_id.as_ref());
            id.is_none_or(|id| id.value() != executor)
        });
        let exited = call::ExecutorExited {
            framework_id: Some(framework.to_proto()),
            executor_id: Some(v1::ExecutorId { value: Some(executor.to_owned()) }),
            status: Some(status),
        };
        let kind = Some(call::Type::ExecutorExited as i32);
        self.agent_call(peer, Call { r#type: kind, executor_exited: Some(exited), ..Default::default() });
    }

    /// Answers all pings that are there.
    pub fn pong(&mut self, peer: &AgentPeer) {
        self.agent_call(peer, Call { r#type: Some(call::Type::Pong as i32), ..Default::default() });
    }
}

fn framework_of(id: Option<&v1::FrameworkId>) -> &str {
    id.map_or("", v1::FrameworkId::value)
}

fn id_of(task: &AgentTask) -> &str {
    task.task.as_ref().and_then(|task| task.task_id.as_ref()).map_or("", v1::TaskId::value)
}
