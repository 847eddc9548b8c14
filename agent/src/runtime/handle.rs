//! The way into the event loop. Owns the queue; a full one makes callers wait.

use tepui_agent_core::{Agent, Input};
use tepui_proto::tepui::agent_link::{Call, Event};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::ExecutorStreams;

/// Messages that wait for the event loop before their senders wait.
const QUEUE: usize = 1024;

/// What the event loop takes.
pub(crate) enum Message {
    Input(Input),
    /// Something happened on a link; news of an attempt that is no longer the latest is dropped.
    Link {
        attempt: u64,
        news: LinkNews,
    },
    Look(Box<dyn FnOnce(&Agent) + Send>),
}

/// A call on its way to the master, with its share of the room for messages, if it is one.
pub(crate) struct Outgoing {
    pub(crate) call: Call,
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// What happens on a link.
pub(crate) enum LinkNews {
    /// A master can be tried; calls go out this way, the first one must be REGISTER or ATTACH.
    Open {
        calls: mpsc::Sender<Outgoing>,
    },
    Event(Box<Event>),
    /// The master does not take ATTACH.
    AttachRefused,
    Closed,
}

/// Gives others access to the event loop.
#[derive(Clone)]
pub(crate) struct Handle {
    messages: mpsc::Sender<Message>,
    executors: ExecutorStreams,
}

/// What comes out of a handle's queues; whoever made it has to empty them.
pub(crate) struct Queues {
    pub(crate) messages: mpsc::Receiver<Message>,
    /// Numbers of executors' streams that ended.
    pub(crate) ended_streams: mpsc::UnboundedReceiver<u64>,
}

impl Handle {
    pub(crate) fn new() -> (Self, Queues) {
        let (messages, receiver) = mpsc::channel(QUEUE);
        let (executors, ended_streams) = ExecutorStreams::new();
        (Self { messages, executors }, Queues { messages: receiver, ended_streams })
    }

    /// Returns the streams on which executors listen.
    pub(crate) fn executors(&self) -> &ExecutorStreams {
        &self.executors
    }

    /// Hands an input over; lost if the agent stops.
    pub(crate) async fn input(&self, input: Input) {
        self.send(Message::Input(input)).await;
    }

    /// Returns `false` if the agent stops.
    pub(crate) async fn link(&self, attempt: u64, news: LinkNews) -> bool {
        self.send(Message::Link { attempt, news }).await
    }

    /// Returns what `look` sees, or `None` if the agent stops. It runs in the event loop and must be quick.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Agent) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let message = Message::Look(Box::new(move |agent: &Agent| {
            // The asker may have given up.
            let _unheard = sender.send(look(agent));
        }));
        self.send(message).await;
        receiver.await.ok()
    }

    async fn send(&self, message: Message) -> bool {
        self.messages.send(message).await.is_ok()
    }
}
