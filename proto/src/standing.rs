//! How an agent stands, as one digest: agent and master compute it, each from what it knows. Equal ones mean that a registration has
//! nothing to tell.
//!
//! Owns what goes into the digest and in which form; both sides feed the same things in the same order: tasks by framework and task,
//! then executors by framework and executor, sorted by their bytes.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::v1;

/// Changes whenever other things are fed: then digests differ, and everything is told.
const FORMAT: &[u8] = b"tepui-standing-1";

/// What is known of an agent itself.
#[derive(Clone, Copy, Debug)]
pub struct AgentFacts<'a> {
    pub boot_id: &'a str,
    pub version: &'a str,
    pub ip: &'a str,
    /// With its id.
    pub info: &'a v1::AgentInfo,
    /// Of its reservations and volumes.
    pub resources_version: u64,
}

/// What is known of one task.
#[derive(Clone, Copy, Debug)]
pub struct TaskFacts<'a> {
    pub framework: &'a str,
    pub task: &'a str,
    pub launch_seq: u64,
    /// The newest.
    pub state: v1::TaskState,
    /// Of the newest status; empty if there was none.
    pub uuid: &'a [u8],
}

/// A digest in the making.
#[derive(Clone, Debug)]
pub struct Standing(Sha256);

impl Standing {
    /// Begins with the agent itself.
    pub fn new(agent: AgentFacts<'_>) -> Self {
        let mut standing = Self(Sha256::new());
        standing.part(FORMAT);
        standing.part(agent.boot_id.as_bytes());
        standing.part(agent.version.as_bytes());
        standing.part(agent.ip.as_bytes());
        standing.part(&agent.info.encode_to_vec());
        standing.part(&agent.resources_version.to_le_bytes());
        standing
    }

    /// Adds the next task.
    pub fn task(&mut self, task: TaskFacts<'_>) {
        self.part(b"task");
        self.part(task.framework.as_bytes());
        self.part(task.task.as_bytes());
        self.part(&task.launch_seq.to_le_bytes());
        self.part(&i32::from(task.state).to_le_bytes());
        self.part(task.uuid);
    }

    /// Adds the next executor that has not ended.
    pub fn executor(&mut self, framework: &str, executor: &str) {
        self.part(b"executor");
        self.part(framework.as_bytes());
        self.part(executor.as_bytes());
    }

    /// Returns the digest, 32 bytes.
    pub fn digest(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.finalize())
    }

    /// With its length, so that no two lists of parts are the same bytes.
    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(change: impl FnOnce(&mut AgentFacts<'_>, &mut TaskFacts<'_>)) -> Bytes {
        let info = v1::AgentInfo::default();
        let mut agent =
            AgentFacts { boot_id: "b", version: "v", ip: "10.0.0.1", info: &info, resources_version: 1 };
        let mut task = TaskFacts {
            framework: "f",
            task: "t",
            launch_seq: 7,
            state: v1::TaskState::TaskRunning,
            uuid: b"u",
        };
        change(&mut agent, &mut task);
        let mut standing = Standing::new(agent);
        standing.task(task);
        standing.executor("f", "e");
        standing.digest()
    }

    #[test]
    fn everything_that_a_registration_would_tell_makes_a_difference() {
        let same = standing(|_, _| {});
        assert_eq!(same, standing(|_, _| {}));
        let others = [
            standing(|agent, _| agent.boot_id = "c"),
            standing(|agent, _| agent.ip = "10.0.0.2"),
            standing(|agent, _| agent.version = "w"),
            standing(|agent, _| agent.resources_version = 2),
            standing(|_, task| task.framework = "g"),
            standing(|_, task| task.task = "s"),
            standing(|_, task| task.launch_seq = 8),
            standing(|_, task| task.state = v1::TaskState::TaskFinished),
            standing(|_, task| task.uuid = b"w"),
        ];
        for (number, other) in others.into_iter().enumerate() {
            assert_ne!(other, same, "{number}");
        }
    }

    #[test]
    fn the_border_between_two_names_counts() {
        assert_ne!(
            standing(|_, task| (task.framework, task.task) = ("fa", "b")),
            standing(|_, task| (task.framework, task.task) = ("f", "ab")),
        );
    }
}
