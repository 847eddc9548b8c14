//! Turns keys of the Registry into events. Pure: a view in, bytes out.

use std::fmt::Display;

use bytes::Bytes;
use serde::Serialize;
use tepui_proto::v1::TaskState;
use tepui_scheduler_core::conversion;
use tepui_scheduler_core::ids::TaskKey;
use tepui_scheduler_core::master::drivers;
use tepui_scheduler_core::registry::{
    AgentRecord, DriverRecord, FrameworkRecord, RegisterRecord, TaskRecord,
};
use tepui_scheduler_core::{Change, Registry};

use super::objects;
use crate::view;
use crate::view::agents::{Standing, standing};
use crate::view::amounts::scalars;

/// Attempts of a driver that are shown.
const ATTEMPTS: usize = 10;

/// One server-sent event.
pub(super) fn event(name: &str, data: &impl Display) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// One object, or its end.
pub(super) fn object<T: Serialize>(kind: &'static str, id: &str, object: Option<T>) -> Bytes {
    let data = serde_json::to_string(&objects::Event { kind, id, object }).unwrap_or_else(|error| {
        // Can only be a key that is not text, and there is none; the stream must not end because of one object.
        tracing::warn!(kind, id, %error, "failed to render an event");
        "{}".to_owned()
    });
    event("object", &data).into()
}

/// The object that a key names, as it is in `registry`. Leadership and cluster are rendered by the hub itself.
pub(super) fn change(registry: &Registry, change: &Change) -> Option<Bytes> {
    Some(match change {
        Change::Agent(id) => object(
            "agent",
            id.as_str(),
            registry.agents.get(id).map(|record| agent(registry, id.as_str(), record)),
        ),
        Change::Framework(id) => {
            let record = registry.frameworks.get(id);
            object("framework", id.as_str(), record.map(|record| framework(registry, id.as_str(), record)))
        }
        Change::Task(key) => {
            let shown = registry.frameworks.contains_key(&key.framework) || !registry.tasks.contains_key(key);
            let record = view::tasks::find(registry, key).filter(|_| shown);
            object("task", &key.to_string(), record.map(|record| task(registry, key, record)))
        }
        Change::Driver(name) => {
            object("driver", name, registry.driver(name).map(|record| driver(registry, record)))
        }
        Change::Register { scope, key } => object(
            "register",
            &format!("{scope}/{key}"),
            registry.register(scope, key).map(|record| register(record)),
        ),
        Change::Leadership | Change::Cluster => return None,
    })
}

fn agent<'a>(registry: &Registry, id: &'a str, record: &'a AgentRecord) -> objects::Agent<'a> {
    let info = record.info.as_ref();
    let key = record.id();
    let held = registry.charges.get(&key).map(|charges| charges.total.to_proto()).unwrap_or_default();
    objects::Agent {
        agent_id: id,
        hostname: info.and_then(|info| info.hostname.as_deref()).unwrap_or_default(),
        ip: view::agents::ip(record),
        port: info.and_then(|info| info.port).unwrap_or_default(),
        state: match standing(registry, record) {
            Standing::Registered => match &record.drain {
                Some(drain) if drain.drained => "drained",
                Some(_) => "draining",
                None if record.deactivated => "deactivated",
                None => "registered",
            },
            Standing::Disconnected | Standing::Recovered => "disconnected",
            Standing::Unreachable => "unreachable",
        },
        total: scalars(record.total()),
        allocated: scalars(&held),
        tasks: registry.tasks_by_agent.get(&key).map_or(0, |tasks| tasks.len()),
        version: &record.version,
        orphaned_volumes: record
            .orphaned
            .iter()
            .filter_map(conversion::volume_name)
            .map(|(role, id)| objects::Volume { role, id })
            .collect(),
    }
}

fn framework<'a>(registry: &Registry, id: &'a str, record: &'a FrameworkRecord) -> objects::Framework<'a> {
    let info = record.info.as_ref();
    objects::Framework {
        framework_id: id,
        name: info.and_then(|info| info.name.as_deref()).unwrap_or_default(),
        roles: record.roles(),
        connected: record.internal || registry.framework_connected(record),
        internal: record.internal,
        tasks: view::tasks::of_framework(registry, &record.id()).count(),
        user: info.and_then(|info| info.user.as_deref()).unwrap_or_default(),
    }
}

fn task<'a>(registry: &Registry, key: &'a TaskKey, record: &'a TaskRecord) -> objects::Task<'a> {
    let shown = record.task.as_ref();
    let amounts = scalars(shown.into_iter().flat_map(|task| &task.resources));
    let agent = shown.and_then(|task| task.agent_id.as_ref());
    objects::Task {
        framework_id: key.framework.as_str(),
        task_id: key.task.as_str(),
        name: shown.and_then(|task| task.name.as_deref()).unwrap_or_default(),
        agent_id: agent.and_then(|id| id.value.as_deref()).unwrap_or_default(),
        state: record.state().as_str_name(),
        live: registry.tasks.contains_key(key),
        cpus: amounts.cpus,
        mem: amounts.mem,
        message: record.last_status.as_ref().and_then(|status| status.message.as_deref()),
        timestamp: record.last_status.as_ref().and_then(|status| status.timestamp),
    }
}

fn driver<'a>(registry: &Registry, record: &'a DriverRecord) -> objects::Driver<'a> {
    let oldest = record.attempts.len().saturating_sub(ATTEMPTS);
    let attempts = record.attempts[oldest..].iter().map(|attempt| objects::Attempt {
        generation: attempt.generation.unwrap_or_default(),
        agent_id: attempt.agent_id.as_ref().and_then(|id| id.value.as_deref()).unwrap_or_default(),
        state: attempt
            .state
            .and_then(|state| TaskState::try_from(state).ok())
            .map(|state| state.as_str_name()),
        message: attempt.message.as_deref(),
        started_at_ms: attempt.started_at_ms,
        ended_at_ms: attempt.ended_at_ms,
    });
    objects::Driver {
        name: record.name(),
        state: record.state().as_str_name(),
        generation: record.generation,
        restarts: drivers::restarts(record),
        agent_id: &record.agent_id,
        task_id: &record.task_id,
        framework_id: &record.framework_id,
        next_launch_in_ms: drivers::next_launch_in_ms(registry, record),
        message: &record.message,
        attempts: attempts.collect(),
    }
}

fn register(record: &RegisterRecord) -> objects::Register<'_> {
    objects::Register {
        scope: &record.scope,
        key: &record.key,
        version: record.version,
        generation: record.generation,
        bytes: record.value.len(),
        written_ms: record.written_wall_ms,
        value: serde_json::from_slice(&record.value).ok(),
    }
}
