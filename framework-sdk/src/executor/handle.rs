//! How an executor speaks, and how it listens.
//!
//! A method returns when the driver has taken what is said; the driver repeats updates until they are acknowledged. Waits
//! while too many are not.

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc;

use super::event::Event;
use super::session::Command;
use crate::v1;

/// The driver has ended, so nobody can take the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the executor driver has ended")]
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

    /// Reports a task's state and nothing else about it.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn report(&self, task_id: Option<v1::TaskId>, state: v1::TaskState) -> Result<(), DriverGone> {
        self.update(v1::TaskStatus { task_id, state: Some(state as i32), ..Default::default() }).await
    }

    /// Reports a status. Uuid, source, executor and (if there is none) time are filled in.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn update(&self, status: v1::TaskStatus) -> Result<(), DriverGone> {
        let uuid = rand::random::<[u8; 16]>();
        let status = v1::TaskStatus { uuid: Some(Bytes::copy_from_slice(&uuid)), ..status };
        self.send(Command::Update(Box::new(status))).await
    }

    /// Sends bytes to the scheduler, with no promise of delivery; while the agent is away they are dropped.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn message(&self, data: Bytes) -> Result<(), DriverGone> {
        self.send(Command::Message(data)).await
    }

    /// Ends the driver as soon as every update is acknowledged, or five seconds later.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn stop(&self) -> Result<(), DriverGone> {
        self.send(Command::Stop).await
    }

    async fn send(&self, command: Command) -> Result<(), DriverGone> {
        self.commands.send(command).await.map_err(|_| DriverGone)
    }
}

/// The events of one driver, in order.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
}

impl Events {
    pub(super) fn new(events: mpsc::Receiver<Event>) -> Self {
        Events { events }
    }

    /// Returns the next event, or `None` when the driver has ended. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}
