//! What a framework hears from its driver.

use crate::v1;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The leading master knows this framework and will send offers. After a loss of the connection all earlier offers are
    /// void; the driver reconciles its known tasks by itself.
    Subscribed {
        /// The framework's id, to be kept for later runs.
        framework_id: v1::FrameworkId,
        /// Who leads.
        master: Option<Box<v1::MasterInfo>>,
        /// False for the first subscription of this driver.
        again: bool,
    },
    /// The connection is lost and all offers with it; the driver is looking for the leader.
    Disconnected {
        /// What happened, for people.
        reason: String,
    },
    /// Resources of agents.
    Offers(Vec<v1::Offer>),
    /// An offer that was taken back.
    Rescind(v1::OfferId),
    /// Maintenance asks for agents to be vacated.
    InverseOffers(Vec<v1::InverseOffer>),
    /// An inverse offer that was taken back.
    RescindInverseOffer(v1::OfferId),
    /// A task's state. Acknowledged when the next event is asked for, unless acknowledgements are manual.
    Update(Box<v1::TaskStatus>),
    /// The state of an offer operation.
    OperationUpdate(Box<v1::OperationStatus>),
    /// Bytes from an executor.
    Message(v1::scheduler::event::Message),
    /// An agent was lost, or an executor ended.
    Failure(v1::scheduler::event::Failure),
    /// A call had no effect, or nobody knows whether it had.
    CallFailed(CallFailed),
    /// The master ended this framework's subscription for good; nothing follows.
    Error(String),
}

/// A call that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailed {
    /// Which kind of call.
    pub call: v1::scheduler::call::Type,
    /// The tasks that it would have launched, killed or asked about.
    pub task_ids: Vec<v1::TaskId>,
    /// What is known.
    pub outcome: Outcome,
}

/// What is known about a call that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The master refused it: no effect.
    Refused {
        /// HTTP status.
        status: u16,
        /// The master's words.
        reason: String,
    },
    /// It never reached a leading master: no effect.
    NotSent {
        /// What happened.
        reason: String,
    },
    /// It may or may not have had its effect. The driver does not repeat it: it subscribes anew and reconciles
    /// `task_ids`, so that updates tell.
    Unknown {
        /// What happened.
        reason: String,
    },
}
