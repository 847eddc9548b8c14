//! What an agent decides, without doing it.
//!
//! [`Agent`] is driven by [`Input`]s and answers with [`Effect`]s that its surroundings carry out in order: the shell with
//! processes, files and sockets, the simulator with models of them. The same inputs give the same effects.
//!
//! ```text
//!                  LinkUp ─► Send(REGISTER or ATTACH) ─► MasterEvent(REGISTERED), or (TELL_ALL) ─► Send(TELL)
//!  RUN_TASK ─► Checkpoint(Accepted) ─► Checkpointed ─► Send(ACCEPTED), Launch ─► Launched ─► Exited
//!                                                          │STARTING              │RUNNING    │terminal
//!  RUN_TASK with an executor ─► LaunchExecutor ─► ExecutorSubscribed ─► ToExecutor(LAUNCH) ─► ExecutorCall(UPDATE)
//!  each status: Checkpoint(Updated) ─► Checkpointed ─► Send(UPDATE), again and again ─► MasterEvent(ACKNOWLEDGE)
//! ```
//!
//! Refuses: clocks, files, sockets, randomness (a seed comes with [`Config`]), and trust in what peers send.

/// Whether a known bug is switched on; never, and without any cost, in builds without the feature `mutants`.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($name:literal) => {
        ::tepui_mutants::active($name)
    };
}
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

mod agent;
mod attach;
pub mod checkpoint;
mod checks;
mod config;
mod effect;
mod executor_key;
mod executors;
mod exits;
mod frameworks;
mod history;
mod ids;
mod input;
mod invariants;
mod kills;
mod launches;
mod link;
mod news;
mod outbox;
mod reconciliation;
mod recovery;
mod resources;
mod status;
mod task;
mod task_key;
mod timers;
mod told;
mod updates;
mod view;

pub use agent::Agent;
pub use config::Config;
pub use effect::{Effect, Launch, LaunchExecutor, Note, ShowVolumes, VolumeName};
pub use executor_key::ExecutorKey;
pub use executors::{Standing, check_call};
pub use input::{Exit, Found, Input, Now};
pub use resources::{is_volume, volume_of};
pub use task_key::TaskKey;
pub use view::{CompletedExecutor, CompletedTask, ExecutorView, TaskView};

/// Version of the conversation with masters that this agent speaks.
pub const LINK_FORMAT: u32 = 1;
