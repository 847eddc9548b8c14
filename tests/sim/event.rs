//! What can happen in a simulated cluster, and how a trace names it.

use tepui_agent_core as agent_core;
use tepui_proto::tepui::agent_link;
use tepui_proto::v1;
use tepui_scheduler_core as core;

use super::executors::Happening;
use super::network::Place;
use super::replicas::Message;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// The log's supervision: elections, steps down, followers catching up.
    Raft,
    /// What one replica tells another arrives.
    Peer {
        from: usize,
        to: usize,
        life: u64,
        term: u64,
        message: Box<Message>,
    },
    /// Entries are on a replica's disk.
    Synced {
        node: usize,
        life: u64,
        length: usize,
        cuts: u64,
    },
    /// A leader tells the others what is new.
    Replicate {
        node: usize,
        life: u64,
    },
    PowerLoss {
        node: usize,
        life: u64,
    },
    MasterInput {
        node: usize,
        life: u64,
        input: Box<core::Input>,
    },
    MasterTick {
        node: usize,
        life: u64,
        wish: Option<u64>,
    },
    RestartMaster {
        node: usize,
        life: u64,
    },

    /// A record of a stream reaches its client.
    ToClient {
        stream: u64,
        message: ToClient,
    },
    /// A call on a stream reaches its master.
    ToMaster {
        stream: u64,
        message: ToMaster,
    },
    ClientNotices {
        stream: u64,
    },
    MasterNotices {
        stream: u64,
    },
    /// A call without a stream (operators, drivers) reaches a master.
    Operator {
        node: usize,
        life: u64,
        from: Place,
        number: u64,
        call: Box<core::OperatorCall>,
        token: Option<String>,
    },
    /// Its answer reaches the caller.
    Answer {
        to: Place,
        number: u64,
        reply: Box<core::Reply>,
    },
    /// The caller has waited long enough.
    NoAnswer {
        to: Place,
        number: u64,
    },

    AgentSearch {
        agent: usize,
        life: u64,
    },
    AgentInput {
        agent: usize,
        life: u64,
        input: Box<agent_core::Input>,
    },
    AgentTick {
        agent: usize,
        life: u64,
        wish: u64,
    },
    Durable {
        agent: usize,
        life: u64,
        id: u64,
        record: Box<agent_core::checkpoint::Record>,
    },
    Start {
        agent: usize,
        life: u64,
        launch: Box<agent_core::Launch>,
    },
    ProcessEnd {
        agent: usize,
        number: usize,
        status: i32,
    },
    ExecutorStart {
        agent: usize,
        life: u64,
        launch: Box<agent_core::LaunchExecutor>,
    },
    Executor {
        number: usize,
        what: Happening,
    },
    ShowVolumes {
        agent: usize,
        life: u64,
        show: Box<agent_core::ShowVolumes>,
    },
    RestartAgent {
        agent: usize,
        life: u64,
    },

    FrameworkSearch {
        framework: usize,
        life: u64,
    },
    FrameworkStep {
        framework: usize,
        life: u64,
    },
    Acknowledge {
        framework: usize,
        life: u64,
        stream: u64,
        status: Box<v1::TaskStatus>,
    },
    AcknowledgeOperation {
        framework: usize,
        life: u64,
        stream: u64,
        status: Box<v1::OperationStatus>,
    },
    RestartFramework {
        framework: usize,
        life: u64,
    },

    /// A call of an instance that was replaced arrives at a master.
    Stray {
        node: usize,
        life: u64,
        stream: u64,
        call: Box<v1::scheduler::Call>,
    },

    DriverStep {
        number: usize,
    },
    Submit,
    OperatorStep,

    Fault,
    Heal,
    HostIsBack {
        agent: usize,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum ToClient {
    Framework(Box<v1::scheduler::Event>),
    Agent(Box<agent_link::Event>),
    Refused,
    End,
}

#[derive(Clone, Debug)]
pub(crate) enum ToMaster {
    Framework { call: Box<v1::scheduler::Call>, token: Option<String> },
    Agent(Box<agent_link::Call>),
}

impl Event {
    /// Kind, place and number, for the trace.
    pub(crate) fn words(&self) -> [u64; 3] {
        let two = |one: usize, other: usize| (one as u64) << 32 | other as u64;
        match self {
            Event::Raft => [1, 0, 0],
            Event::Peer { from, to, term, message, .. } => [2, two(*from, *to), *term << 8 | message.word()],
            Event::Synced { node, length, .. } => [34, *node as u64, *length as u64],
            Event::Replicate { node, life } => [35, *node as u64, *life],
            Event::PowerLoss { node, life } => [36, *node as u64, *life],
            Event::Stray { node, stream, call, .. } => [37, two(*node, call.r#type() as usize), *stream],
            Event::MasterInput { node, life, input } => [3, two(*node, kind_of(input)), *life],
            Event::MasterTick { node, life, wish } => [4, *node as u64, *life ^ wish.unwrap_or(u64::MAX)],
            Event::RestartMaster { node, life } => [5, *node as u64, *life],
            Event::ToClient { stream, message } => [6, *stream, message.word()],
            Event::ToMaster { stream, message } => [7, *stream, message.word()],
            Event::ClientNotices { stream } => [8, *stream, 0],
            Event::MasterNotices { stream } => [9, *stream, 0],
            Event::Operator { node, number, .. } => [10, *node as u64, *number],
            Event::Answer { number, reply, .. } => {
                let status = match **reply {
                    core::Reply::Rejected { status, .. } => u64::from(status),
                    _ => 200,
                };
                [11, *number, status]
            }
            Event::NoAnswer { number, .. } => [12, *number, 0],
            Event::AgentSearch { agent, life } => [13, *agent as u64, *life],
            Event::AgentInput { agent, life, .. } => [14, *agent as u64, *life],
            Event::AgentTick { agent, wish, .. } => [15, *agent as u64, *wish],
            Event::Durable { agent, id, .. } => [16, *agent as u64, *id],
            Event::Start { agent, launch, .. } => [17, *agent as u64, launch.task.task_id.len() as u64],
            Event::ProcessEnd { agent, number, status } => {
                [18, two(*agent, *number), u64::from(status.cast_unsigned())]
            }
            Event::ExecutorStart { agent, life, .. } => [19, *agent as u64, *life],
            Event::Executor { number, what } => [20, *number as u64, what.word()],
            Event::ShowVolumes { agent, life, .. } => [21, *agent as u64, *life],
            Event::RestartAgent { agent, life } => [22, *agent as u64, *life],
            Event::FrameworkSearch { framework, life } => [23, *framework as u64, *life],
            Event::FrameworkStep { framework, life } => [24, *framework as u64, *life],
            Event::Acknowledge { framework, stream, status, .. } => {
                [25, two(*framework, status.state() as usize), *stream]
            }
            Event::AcknowledgeOperation { framework, stream, status, .. } => {
                [26, two(*framework, status.state() as usize), *stream]
            }
            Event::RestartFramework { framework, life } => [27, *framework as u64, *life],
            Event::DriverStep { number } => [28, *number as u64, 0],
            Event::Submit => [29, 0, 0],
            Event::OperatorStep => [30, 0, 0],
            Event::Fault => [31, 0, 0],
            Event::Heal => [32, 0, 0],
            Event::HostIsBack { agent } => [33, *agent as u64, 0],
        }
    }
}

impl ToClient {
    fn word(&self) -> u64 {
        match self {
            ToClient::Framework(told) => 100 + told.r#type() as u64,
            ToClient::Agent(order) => 200 + order.r#type() as u64,
            ToClient::Refused => 1,
            ToClient::End => 2,
        }
    }
}

impl ToMaster {
    fn word(&self) -> u64 {
        match self {
            ToMaster::Framework { call, .. } => 100 + call.r#type() as u64,
            ToMaster::Agent(call) => 200 + call.r#type() as u64,
        }
    }
}

fn kind_of(input: &core::Input) -> usize {
    match input {
        core::Input::Tick => 1,
        core::Input::ProposalFailed { .. } => 2,
        core::Input::ConnectionClosed { .. } => 3,
        _other => 0,
    }
}
