//! Helps tests to tell a story: a `Master` whose log commits at once, and the words to speak to it.
//!
//! Owns the harness, builders of messages and accessors of what came out. Only for tests, ours and others' (feature
//! `testing`); panics freely.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod agents;
mod builders;
mod frameworks;
mod harness;
mod operations;
mod shown;

pub use agents::AgentPeer;
pub use builders::{
    agent_info, amount_to, driver_spec, executor_task, framework_info, launch, launch_group, resources, task,
    uuid,
};
pub use frameworks::FrameworkPeer;
pub use harness::{Harness, LONGEST_COMMAND};
pub use operations::{
    create, destroy, grow, named, operation, reserve, reserved, shared, shrink, unreserve, volume,
};
pub use shown::AgentShown;
