//! How replicas talk: binary bodies over HTTP/2, each with a greeting that names cluster, sender and addressee.
//!
//! Owns paths, header names and the size limits that both sides share. One connection for entries, one for heartbeats and
//! votes, one for snapshots, so that none delays another.

mod ask;
mod carrier;
mod client;
pub(crate) mod joining;
mod receiver;
mod server;
pub(crate) mod wire;

pub(crate) use self::ask::{Answerer, Asker};
pub(crate) use self::carrier::{Carrier, Http};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use self::carrier::{Content, Letter, Undelivered};
pub(crate) use self::client::Network;
pub(crate) use self::server::{Server, serve};

/// Where the messages go.
mod path {
    pub(super) const APPEND: &str = "/raft/v1/append";
    pub(super) const VOTE: &str = "/raft/v1/vote";
    pub(super) const PRE_VOTE: &str = "/raft/v1/pre_vote";
    pub(super) const TRANSFER: &str = "/raft/v1/transfer";
    pub(super) const SNAPSHOT: &str = "/raft/v1/snapshot";
    pub(super) const READ: &str = "/raft/v1/read";
    pub(super) const HELD: &str = "/raft/v1/snapshot/held";
    pub(super) const ASK: &str = "/raft/v1/ask";
    pub(super) const HELLO: &str = "/raft/v1/hello";
    pub(super) const JOIN: &str = "/raft/v1/join";
}

/// The greeting.
mod header {
    pub(super) const CLUSTER: &str = "tepui-cluster";
    pub(super) const FROM: &str = "tepui-from";
    pub(super) const TO: &str = "tepui-to";
    pub(super) const SECRET: &str = "tepui-cluster-secret";
    /// In messages and answers.
    pub(super) const LEVEL: &str = "tepui-level";
    /// The folder of whoever speaks, in messages and in answers.
    pub(super) const INCARNATION: &str = "tepui-incarnation";
    /// The folder of whoever is spoken to.
    pub(super) const EXPECTS: &str = "tepui-expects";
    /// In a refusal: why the sender has no place in the cluster any more.
    pub(super) const EXPELLED: &str = "tepui-expelled";
}

/// A batch of entries is cut at 4 MiB, a single one may have 16 MiB.
const MAX_BODY: usize = 32 << 20;
/// A request to be taken in is two addresses and a few numbers.
const MAX_JOIN: usize = 16 << 10;
/// Larger snapshots are refused by the receiver, in bytes.
const MAX_SNAPSHOT: u64 = 16 << 30;
