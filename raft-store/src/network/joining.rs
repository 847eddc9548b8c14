//! What is said outside of raft: whether somebody belongs to the cluster, and that somebody wants to.
//!
//! Owns these messages, and the way to send them for a replica that has no cluster yet. Decides nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::client_builder;
use super::wire::{Message, record, versioned};
use super::{header, path};
use crate::codec::CodecError;
use crate::config::{NodeId, Peer};
use crate::roster::Expelled;
use crate::seat::Incarnation;

/// Longer answers are not read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// A replica about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) node_id: NodeId,
    pub(crate) cluster_id: Option<String>,
}

/// A replica asks for its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinAsk {
    pub(crate) peer: Peer,
    pub(crate) incarnation: Incarnation,
    /// Its number, if it has one.
    pub(crate) node_id: Option<NodeId>,
    /// Whether it is to vote as soon as it has the log.
    pub(crate) vote: bool,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JoinReply {
    /// It is a member. `behind` tells how many entries it lacks before it can vote.
    Member { node_id: NodeId, cluster_id: String, voter: bool, behind: u64 },
    /// Another one leads, or nobody known.
    NotLeading { leader: Option<Peer> },
    /// Asking again soon may help.
    Later(String),
    /// Asking again does not help.
    Refused(String),
}

macro_rules! message {
    ($($name:ident),*) => {$(
        impl Message for $name {
            fn encode(&self) -> Vec<u8> {
                versioned(self)
            }

            fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                record(bytes)
            }
        }
    )*};
}

message!(Hello, JoinAsk, JoinReply);

/// As it stands in the head of a refusal.
pub(super) fn expelled_text(why: Expelled) -> &'static str {
    match why {
        Expelled::Removed => "removed",
        Expelled::OtherFolder => "other-folder",
    }
}

pub(super) fn expelled(text: &str) -> Option<Expelled> {
    [Expelled::Removed, Expelled::OtherFolder].into_iter().find(|why| expelled_text(*why) == text)
}

/// Speaks to members without being one.
pub(crate) struct Stranger {
    client: reqwest::Client,
    secret: Option<String>,
}

impl Stranger {
    pub(crate) fn new(secret: Option<String>) -> Result<Stranger, reqwest::Error> {
        Ok(Stranger { client: client_builder().connect_timeout(Duration::from_secs(1)).build()?, secret })
    }

    pub(crate) async fn hello(&self, addr: &str, within: Duration) -> Result<Hello, String> {
        self.post(addr, path::HELLO, Vec::new(), within).await
    }

    pub(crate) async fn join(
        &self,
        addr: &str,
        ask: &JoinAsk,
        within: Duration,
    ) -> Result<JoinReply, String> {
        self.post(addr, path::JOIN, ask.encode(), within).await
    }

    async fn post<A: Message>(
        &self,
        addr: &str,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<A, String> {
        let mut request = self.client.post(format!("http://{addr}{path}")).timeout(within).body(body);
        if let Some(secret) = &self.secret {
            request = request.header(header::SECRET, secret);
        }
        let response = request.send().await.map_err(|e| reason(&e))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|e| reason(&e))?;
        let bytes = &bytes[..bytes.len().min(MAX_ANSWER)];
        if !status.is_success() {
            return Err(format!("answered {status}: {}", String::from_utf8_lossy(bytes)));
        }
        A::decode(bytes).map_err(|e| e.to_string())
    }
}

/// The innermost cause: the rest is about the client.
fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
