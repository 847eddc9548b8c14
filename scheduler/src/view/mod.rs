//! The read model: turns a Registry, and on the leading master what only it knows, into the messages of the operator API.
//!
//! Pure functions of a [`ReadView`](crate::runtime::reads::ReadView)'s parts. They decide what is shown where (a recovered
//! agent, an unreachable task), never what happens.

pub(crate) mod agents;
pub(crate) mod amounts;
pub(crate) mod counts;
pub(crate) mod frameworks;
pub(crate) mod maintenance;
pub(crate) mod master;
pub(crate) mod operations;
pub(crate) mod registry;
pub(crate) mod roles;
pub(crate) mod settings;
pub(crate) mod tasks;
pub(crate) mod wanted;

use tepui_proto::v1::master::response;
use tepui_scheduler_core::{LocalView, Registry};

/// GET_STATE: everything, as of one moment.
pub(crate) fn get_state(registry: &Registry, local: Option<&LocalView>) -> response::GetState {
    response::GetState {
        get_tasks: Some(tasks::get_tasks(registry)),
        get_executors: Some(tasks::get_executors(registry, &wanted::Wanted::default())),
        get_frameworks: Some(frameworks::get_frameworks(registry, local)),
        get_agents: Some(agents::get_agents(registry, local)),
    }
}

/// An instant as the wire has it; nothing for "never".
fn instant(wall_ms: u64) -> Option<tepui_proto::v1::TimeInfo> {
    let nanoseconds = i64::try_from(wall_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    (wall_ms > 0).then_some(tepui_proto::v1::TimeInfo { nanoseconds: Some(nanoseconds) })
}
