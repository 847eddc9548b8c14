//! The way from the HTTP handlers to the event loop: one cheap handle with a method for each kind of work.
//!
//! Owns the messages of the bounded queue between them and how long a caller waits. Looks into no call.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tepui_proto::MediaType;
use tepui_proto::tepui::agent_link;
use tepui_proto::v1::scheduler;
use tepui_scheduler_core::registry::Checkpoint;
use tepui_scheduler_core::{OperatorCall, Reply};
use tokio::sync::{mpsc, oneshot};

use crate::runtime::streams::Inlet;

/// No client waits longer than this for an answer; some give up after ten seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// The event loop cannot take this now: it does not lead, or it stops.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// A stream that was opened for a framework or an agent.
pub(crate) struct Opened {
    pub(crate) stream_id: String,
    pub(crate) inlet: Inlet,
}

/// What arrives at the event loop.
pub(crate) enum Message {
    Subscribe {
        call: Box<scheduler::Call>,
        principal: Option<String>,
        driver_token: Option<String>,
        media: MediaType,
        opened: oneshot::Sender<Opened>,
    },
    Call {
        call: Box<scheduler::Call>,
        stream_id: Option<String>,
        principal: Option<String>,
        reply: oneshot::Sender<Reply>,
    },
    AgentRegister {
        call: Box<agent_link::Call>,
        opened: oneshot::Sender<Opened>,
    },
    AgentCall {
        call: Box<agent_link::Call>,
        stream_id: Option<String>,
        reply: oneshot::Sender<Reply>,
    },
    Operator {
        call: Box<OperatorCall>,
        principal: Option<String>,
        driver_token: Option<String>,
        reply: oneshot::Sender<Reply>,
    },
    /// Only agents on these hosts may be offered, or all.
    Whitelist(Option<BTreeSet<String>>),
    /// Every voter can do at least this much.
    VoterLevel(u32),
    /// What masters found about an earlier checkpoint.
    Checkpoint(Checkpoint),
    /// `host:port` of all masters.
    Masters(Vec<String>),
    /// No more work is to be taken: the process is about to stop.
    Drain,
}

/// The handlers' end.
#[derive(Clone)]
pub(crate) struct Handle {
    messages: mpsc::Sender<Message>,
    /// Of those that wait: what agents sent.
    of_agents: Arc<AtomicUsize>,
}

/// A message of an agent, as long as it waits.
struct OfAgent(Arc<AtomicUsize>);

impl OfAgent {
    fn new(count: &Arc<AtomicUsize>) -> OfAgent {
        count.fetch_add(1, Ordering::Relaxed);
        OfAgent(count.clone())
    }
}

impl Drop for OfAgent {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handle {
    /// A handle, and the queue that it fills.
    pub(crate) fn new(queued_inputs: usize) -> (Handle, mpsc::Receiver<Message>) {
        let (messages, queue) = mpsc::channel(queued_inputs);
        (Handle { messages, of_agents: Arc::default() }, queue)
    }

    /// Opens the stream of a framework.
    pub(crate) async fn subscribe(
        &self,
        call: scheduler::Call,
        principal: Option<String>,
        driver_token: Option<String>,
        media: MediaType,
    ) -> Result<Opened, Unavailable> {
        let (opened, answer) = oneshot::channel();
        let call = Box::new(call);
        self.ask(Message::Subscribe { call, principal, driver_token, media, opened }, answer).await
    }

    /// Any other call of a framework.
    pub(crate) async fn call(
        &self,
        call: scheduler::Call,
        stream_id: Option<String>,
        principal: Option<String>,
    ) -> Result<Reply, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.ask(Message::Call { call: Box::new(call), stream_id, principal, reply }, answer).await
    }

    /// Opens the stream of an agent.
    pub(crate) async fn agent_register(&self, call: agent_link::Call) -> Result<Opened, Unavailable> {
        let _waiting = OfAgent::new(&self.of_agents);
        let (opened, answer) = oneshot::channel();
        self.ask(Message::AgentRegister { call: Box::new(call), opened }, answer).await
    }

    /// Any other call of an agent.
    pub(crate) async fn agent_call(
        &self,
        call: agent_link::Call,
        stream_id: Option<String>,
    ) -> Result<Reply, Unavailable> {
        let _waiting = OfAgent::new(&self.of_agents);
        let (reply, answer) = oneshot::channel();
        self.ask(Message::AgentCall { call: Box::new(call), stream_id, reply }, answer).await
    }

    /// An operator's call that changes something.
    pub(crate) async fn operator(
        &self,
        call: OperatorCall,
        principal: Option<String>,
        driver_token: Option<String>,
    ) -> Result<Reply, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.ask(Message::Operator { call: Box::new(call), principal, driver_token, reply }, answer).await
    }

    /// Tells the event loop which hosts may be offered.
    pub(crate) async fn whitelist(&self, hosts: Option<BTreeSet<String>>) -> Result<(), Unavailable> {
        self.messages.send(Message::Whitelist(hosts)).await.map_err(|_| Unavailable)
    }

    /// Tells the event loop what all voters can do.
    pub(crate) async fn voter_level(&self, level: u32) -> Result<(), Unavailable> {
        self.messages.send(Message::VoterLevel(level)).await.map_err(|_| Unavailable)
    }

    /// Has a checkpoint committed.
    pub(crate) async fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), Unavailable> {
        self.messages.send(Message::Checkpoint(checkpoint)).await.map_err(|_| Unavailable)
    }

    /// Tells the event loop which masters there are.
    pub(crate) async fn masters(&self, masters: Vec<String>) -> Result<(), Unavailable> {
        self.messages.send(Message::Masters(masters)).await.map_err(|_| Unavailable)
    }

    /// What waits for the event loop: messages of agents, and requests of all others.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let all = self.messages.max_capacity().saturating_sub(self.messages.capacity());
        let of_agents = self.of_agents.load(Ordering::Relaxed);
        (of_agents, all.saturating_sub(of_agents))
    }

    /// Tells the event loop to take no more work.
    pub(crate) async fn drain(&self) {
        // Fails only if the loop has already ended, which is as good.
        let _ = self.messages.send(Message::Drain).await;
    }

    /// A dropped answer means that the loop refused or ended; so does one that takes too long.
    async fn ask<T>(&self, message: Message, answer: oneshot::Receiver<T>) -> Result<T, Unavailable> {
        let asked = async {
            self.messages.send(message).await.map_err(|_| Unavailable)?;
            answer.await.map_err(|_| Unavailable)
        };
        tokio::time::timeout(LONGEST_WAIT, asked).await.unwrap_or(Err(Unavailable))
    }
}
