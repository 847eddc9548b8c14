//! How a framework speaks: named methods that queue calls with its driver.
//!
//! A method returns when the driver has taken the call, not when the master has; what goes wrong later comes back as an
//! event. Waits while the driver's queue is full.

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc;

use super::calls;
use super::session::Command;
use crate::v1;
use crate::v1::scheduler::call::reconcile;

/// The driver has ended, so nobody can take the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the scheduler driver has ended")]
pub struct DriverGone;

/// A cheap, cloneable way to speak through one driver.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

impl Handle {
    pub(super) fn new(commands: mpsc::Sender<Command>) -> Self {
        Handle { commands }
    }

    /// Launches tasks on the resources of offers, which must be of one agent and role. The rest is declined for the default time.
    pub async fn launch(
        &self,
        offer_ids: Vec<v1::OfferId>,
        tasks: Vec<v1::TaskInfo>,
    ) -> Result<(), DriverGone> {
        self.accept(offer_ids, vec![calls::launch(tasks)], None).await
    }

    /// Applies operations to offers of one agent and role, in order. Never repeated by the driver.
    pub async fn accept(
        &self,
        offer_ids: Vec<v1::OfferId>,
        operations: Vec<v1::offer::Operation>,
        filters: Option<v1::Filters>,
    ) -> Result<(), DriverGone> {
        self.call(calls::accept(offer_ids, operations, filters)).await
    }

    /// Gives offers back; `refuse_seconds` keeps the same resources away for that long (default 5).
    pub async fn decline(
        &self,
        offer_ids: Vec<v1::OfferId>,
        refuse_seconds: Option<f64>,
    ) -> Result<(), DriverGone> {
        let filters = refuse_seconds.map(|seconds| v1::Filters { refuse_seconds: Some(seconds) });
        self.call(calls::decline(offer_ids, filters)).await
    }

    /// Kills a task, now or as soon as the leader is found; `grace` is a number of milliseconds.
    pub async fn kill(
        &self,
        task_id: v1::TaskId,
        agent_id: Option<v1::AgentId>,
        grace_ms: Option<u64>,
    ) -> Result<(), DriverGone> {
        let policy = grace_ms.map(|grace_ms| {
            let nanoseconds = i64::try_from(grace_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
            let grace_period = Some(v1::DurationInfo { nanoseconds: Some(nanoseconds) });
            v1::KillPolicy { grace_period }
        });
        self.call(calls::kill(task_id, agent_id, policy)).await
    }

    /// Acknowledges an update; needed only with manual acknowledgements. Updates without a uuid want none.
    pub async fn acknowledge(&self, status: &v1::TaskStatus) -> Result<(), DriverGone> {
        match Command::acknowledge(status) {
            Some(command) => self.send(command).await,
            None => Ok(()),
        }
    }

    /// Asks for offers again and forgets earlier refusals, for some roles or for all.
    pub async fn revive(&self, roles: Vec<String>) -> Result<(), DriverGone> {
        self.call(calls::revive(roles)).await
    }

    /// Asks for no more offers, for some roles or for all.
    pub async fn suppress(&self, roles: Vec<String>) -> Result<(), DriverGone> {
        self.call(calls::suppress(roles)).await
    }

    /// Asks for the state of tasks, or of all the framework's tasks if none is named. The driver asks by itself after
    /// each new subscription.
    pub async fn reconcile(&self, tasks: Vec<(v1::TaskId, Option<v1::AgentId>)>) -> Result<(), DriverGone> {
        let task = |(task_id, agent_id)| reconcile::Task { task_id: Some(task_id), agent_id };
        self.call(calls::reconcile(tasks.into_iter().map(task).collect())).await
    }

    /// Sends bytes to an executor, with no promise of delivery.
    pub async fn message(
        &self,
        agent_id: v1::AgentId,
        executor_id: v1::ExecutorId,
        data: Bytes,
    ) -> Result<(), DriverGone> {
        self.call(calls::message(agent_id, executor_id, data)).await
    }

    /// Shuts an executor and its tasks down.
    pub async fn shutdown(
        &self,
        agent_id: v1::AgentId,
        executor_id: v1::ExecutorId,
    ) -> Result<(), DriverGone> {
        self.call(calls::shutdown(agent_id, executor_id)).await
    }

    /// Removes the framework with all its tasks and ends the driver.
    pub async fn teardown(&self) -> Result<(), DriverGone> {
        self.call(calls::teardown()).await
    }

    /// Ends the driver and leaves the tasks alone; a later driver with the same framework id takes over.
    pub async fn stop(&self) -> Result<(), DriverGone> {
        self.send(Command::Stop).await
    }

    /// Sends any call, for what has no method here. The framework id is filled in.
    pub async fn call(&self, call: v1::scheduler::Call) -> Result<(), DriverGone> {
        self.send(Command::Call(Box::new(call))).await
    }

    async fn send(&self, command: Command) -> Result<(), DriverGone> {
        self.commands.send(command).await.map_err(|_| DriverGone)
    }
}
