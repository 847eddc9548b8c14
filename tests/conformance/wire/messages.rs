//! Short words for the messages that scenarios are made of. Sends nothing.

use bytes::Bytes;
use tepui_proto::v1;
use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::scheduler::{Call, call};

pub(crate) fn task_id(id: &str) -> v1::TaskId {
    v1::TaskId { value: Some(id.to_owned()) }
}

pub(crate) fn agent_id(id: &str) -> v1::AgentId {
    v1::AgentId { value: Some(id.to_owned()) }
}

pub(crate) fn framework_id(id: &str) -> v1::FrameworkId {
    v1::FrameworkId { value: Some(id.to_owned()) }
}

pub(crate) fn offer_id(id: &str) -> v1::OfferId {
    v1::OfferId { value: Some(id.to_owned()) }
}

/// A framework with failover timeout zero and the default role.
pub(crate) fn info(name: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo { user: Some("root".to_owned()), name: Some(name.to_owned()), ..Default::default() }
}

/// A framework that is kept for an hour when it is away.
pub(crate) fn lasting(name: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo { failover_timeout: Some(3_600.0), checkpoint: Some(true), ..info(name) }
}

/// Adds capabilities.
pub(crate) fn able(mut info: v1::FrameworkInfo, kinds: &[capability::Type]) -> v1::FrameworkInfo {
    info.capabilities.extend(kinds.iter().map(|kind| Capability { r#type: Some(*kind as i32) }));
    info
}

/// A framework in exactly these roles.
pub(crate) fn in_roles(info: v1::FrameworkInfo, roles: &[&str]) -> v1::FrameworkInfo {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    able(v1::FrameworkInfo { roles, ..info }, &[capability::Type::MultiRole])
}

/// A SUBSCRIBE; the id of the info, if there is one, stands in both places.
pub(crate) fn subscribe(info: v1::FrameworkInfo) -> Call {
    Call {
        framework_id: info.id.clone(),
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(call::Subscribe { framework_info: Some(info), ..Default::default() }),
        ..Default::default()
    }
}

/// A call without its member.
pub(crate) fn of(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Default::default() }
}

pub(crate) fn scalar(name: &str, amount: f64) -> v1::Resource {
    v1::Resource {
        name: Some(name.to_owned()),
        r#type: Some(v1::value::Type::Scalar as i32),
        scalar: Some(v1::value::Scalar { value: Some(amount) }),
        ..Default::default()
    }
}

/// The amount of a scalar resource.
pub(crate) fn amount(resources: &[v1::Resource], name: &str) -> f64 {
    let named = resources.iter().filter(|one| one.name.as_deref() == Some(name));
    named.filter_map(|one| one.scalar.as_ref()?.value).sum()
}

pub(crate) fn filters(seconds: f64) -> v1::Filters {
    v1::Filters { refuse_seconds: Some(seconds) }
}

/// A shell command as a task of a tenth of a CPU; its agent is filled in at launch.
pub(crate) fn task(id: &str, command: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: Some(id.to_owned()),
        task_id: Some(task_id(id)),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
        command: Some(shell(command)),
        ..Default::default()
    }
}

/// A task that stays until it is killed.
pub(crate) fn sleeper(id: &str) -> v1::TaskInfo {
    task(id, "exec sleep 1000")
}

/// The same task with these amounts of CPU and memory.
pub(crate) fn sized(task: v1::TaskInfo, cpus: f64, mem: f64) -> v1::TaskInfo {
    v1::TaskInfo { resources: vec![scalar("cpus", cpus), scalar("mem", mem)], ..task }
}

pub(crate) fn shell(command: &str) -> v1::CommandInfo {
    v1::CommandInfo { value: Some(command.to_owned()), ..Default::default() }
}

pub(crate) fn grace(milliseconds: i64) -> v1::KillPolicy {
    let grace_period = v1::DurationInfo { nanoseconds: Some(milliseconds * 1_000_000) };
    v1::KillPolicy { grace_period: Some(grace_period) }
}

/// A LAUNCH operation.
pub(crate) fn launch(tasks: Vec<v1::TaskInfo>) -> v1::offer::Operation {
    use v1::offer::operation::{Launch, Type};
    v1::offer::Operation {
        r#type: Some(Type::Launch as i32),
        launch: Some(Launch { task_infos: tasks }),
        ..Default::default()
    }
}

/// An ACCEPT of offers for operations; what is left comes back at once.
pub(crate) fn accept(offers: &[&v1::Offer], operations: Vec<v1::offer::Operation>) -> Call {
    let offer_ids = offers.iter().filter_map(|offer| offer.id.clone()).collect();
    Call {
        accept: Some(call::Accept { offer_ids, operations, filters: Some(filters(0.0)) }),
        ..of(call::Type::Accept)
    }
}

pub(crate) fn decline(offers: &[&v1::Offer], filters: Option<v1::Filters>) -> Call {
    let offer_ids = offers.iter().filter_map(|offer| offer.id.clone()).collect();
    Call { decline: Some(call::Decline { offer_ids, filters }), ..of(call::Type::Decline) }
}

pub(crate) fn kill(task: &str, agent: Option<&str>, kill_policy: Option<v1::KillPolicy>) -> Call {
    let (task_id, agent_id) = (Some(task_id(task)), agent.map(agent_id));
    Call { kill: Some(call::Kill { task_id, agent_id, kill_policy }), ..of(call::Type::Kill) }
}

pub(crate) fn executor_id(id: &str) -> v1::ExecutorId {
    v1::ExecutorId { value: Some(id.to_owned()) }
}

/// SHUTDOWN of an executor.
pub(crate) fn shutdown(executor: &str, agent: &str) -> Call {
    let (executor_id, agent_id) = (Some(executor_id(executor)), Some(agent_id(agent)));
    Call { shutdown: Some(call::Shutdown { executor_id, agent_id }), ..of(call::Type::Shutdown) }
}

pub(crate) fn acknowledge(agent: &str, task: &str, uuid: Bytes) -> Call {
    let acknowledge =
        call::Acknowledge { agent_id: Some(agent_id(agent)), task_id: Some(task_id(task)), uuid: Some(uuid) };
    Call { acknowledge: Some(acknowledge), ..of(call::Type::Acknowledge) }
}

/// An explicit RECONCILE of tasks with the agents they are said to be on; empty for an implicit one.
pub(crate) fn reconcile(tasks: &[(&str, Option<&str>)]) -> Call {
    let tasks = tasks.iter().map(|(task, agent)| call::reconcile::Task {
        task_id: Some(task_id(task)),
        agent_id: agent.map(agent_id),
    });
    Call { reconcile: Some(call::Reconcile { tasks: tasks.collect() }), ..of(call::Type::Reconcile) }
}

pub(crate) fn revive(roles: &[&str]) -> Call {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Call { revive: Some(call::Revive { roles }), ..of(call::Type::Revive) }
}

pub(crate) fn suppress(roles: &[&str]) -> Call {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Call { suppress: Some(call::Suppress { roles }), ..of(call::Type::Suppress) }
}

fn operator(kind: v1::master::call::Type) -> v1::master::Call {
    v1::master::Call { r#type: Some(kind as i32), ..Default::default() }
}

/// DRAIN_AGENT with the longest grace in seconds.
pub(crate) fn drain(agent: &str, seconds: Option<f64>, mark_gone: bool) -> v1::master::Call {
    let max_grace_period = seconds.map(|seconds| tepui_proto::google::protobuf::Duration {
        seconds: Some(seconds as i64),
        nanos: Some((seconds.fract() * 1e9) as i32),
    });
    let drain = v1::master::call::DrainAgent {
        agent_id: Some(agent_id(agent)),
        max_grace_period,
        mark_gone: Some(mark_gone),
    };
    v1::master::Call { drain_agent: Some(drain), ..operator(v1::master::call::Type::DrainAgent) }
}

pub(crate) fn deactivate(agent: &str) -> v1::master::Call {
    let deactivate = v1::master::call::DeactivateAgent { agent_id: Some(agent_id(agent)) };
    let kind = v1::master::call::Type::DeactivateAgent;
    v1::master::Call { deactivate_agent: Some(deactivate), ..operator(kind) }
}

pub(crate) fn reactivate(agent: &str) -> v1::master::Call {
    let reactivate = v1::master::call::ReactivateAgent { agent_id: Some(agent_id(agent)) };
    let kind = v1::master::call::Type::ReactivateAgent;
    v1::master::Call { reactivate_agent: Some(reactivate), ..operator(kind) }
}

pub(crate) fn mark_gone(agent: &str) -> v1::master::Call {
    let gone = v1::master::call::MarkAgentGone { agent_id: Some(agent_id(agent)) };
    v1::master::Call { mark_agent_gone: Some(gone), ..operator(v1::master::call::Type::MarkAgentGone) }
}

/// The text of an id inside a message.
pub(crate) trait Named {
    fn named(&self) -> &str;
}

macro_rules! named {
    ($($kind:ident),*) => {
        $(impl Named for Option<v1::$kind> {
            fn named(&self) -> &str {
                self.as_ref().and_then(|id| id.value.as_deref()).unwrap_or_default()
            }
        })*
    };
}
named!(TaskId, AgentId, FrameworkId, OfferId, ExecutorId);
