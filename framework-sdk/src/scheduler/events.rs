//! How a framework listens.
//!
//! Owns the moment of the acknowledgement: an update counts as taken when the framework asks for the next event. A framework
//! that dies before that gets the update again.

use tokio::sync::mpsc;

use super::event::Event;
use super::session::Command;

/// The events of one driver, in order.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
    commands: mpsc::Sender<Command>,
    manual: bool,
    /// Acknowledges the update that the framework has in its hands.
    taken: Option<Command>,
}

impl Events {
    pub(super) fn new(events: mpsc::Receiver<Event>, commands: mpsc::Sender<Command>, manual: bool) -> Self {
        Events { events, commands, manual, taken: None }
    }

    /// Returns the next event, or `None` when the driver has ended. Acknowledges the update that was returned before, if
    /// any. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        if self.taken.is_some() {
            // Reserve first: dropping this future while it waits must not lose the acknowledgement.
            if let Ok(permit) = self.commands.reserve().await
                && let Some(command) = self.taken.take()
            {
                permit.send(command);
            }
            self.taken = None;
        }
        let event = self.events.recv().await?;
        if let (Event::Update(status), false) = (&event, self.manual) {
            self.taken = Command::acknowledge(status);
        }
        Some(event)
    }
}
