//! Every semantic check on a call, as `Result<Checked…, Rejection>`; no check changes anything.
//!
//! Owns what peers may say, and the words in which they are told what is wrong: each names the field. Whether the things
//! that a call names exist is decided by the master.

mod agents;
mod calls;
mod checks;
mod disks;
mod driver;
mod framework;
mod group;
mod ineffective;
mod machines;
mod operations;
mod principal;
mod register;
mod roles;
mod task;

use std::fmt;

pub use agents::{AGENT_LINK_FORMAT, agent_call};
pub use calls::call;
pub use driver::driver;
pub use framework::{CheckedFramework, framework, roles};
pub use group::{GroupContext, group};
pub use ineffective::ineffective;
pub(crate) use machines::name as machine_name;
pub use machines::{machines, schedule};
pub use operations::{Asker, CheckedOperation, operation, own_resources};
pub use principal::principal;
pub use register::{MAX_VALUE_BYTES, state_cas};
pub use roles::{quota_request, quotas, weights};
pub use task::{CheckedTask, TaskContext, is_small, task};

/// Why a call was refused: the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Rejection {
    /// Of the HTTP answer, where there is one.
    pub status: u16,
    /// Lowercase fragment that names the field.
    pub reason: String,
}

impl Rejection {
    /// A plain bad request.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { status: 400, reason: reason.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
