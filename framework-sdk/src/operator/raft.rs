//! Operator calls about the masters themselves: votes, removals, addresses, the leadership, snapshots.

use std::time::Duration;

use tepui_proto::wire;

use super::client::{Client, OperatorError};
use super::tepui_client::{PATH, new};
use crate::leader_call::Repeat;
use crate::tepui::operator::call::{self, Type};
use crate::tepui::operator::{Call, Response, response};
use crate::transport::Request;

/// A master works on a change for five seconds at most.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(8);
/// A snapshot of a large state takes its time.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(130);

impl Client {
    /// Gives a master without a vote its vote; waits until it has the log.
    pub async fn raft_add(&self, node_id: u64) -> Result<(), OperatorError> {
        let raft_add = Some(call::RaftAdd { node_id: Some(node_id) });
        self.masters_change(&Call { raft_add, ..new(Type::RaftAdd) }).await.map(drop)
    }

    /// Removes a master for good. One that leads is refused.
    pub async fn raft_remove(&self, node_id: u64) -> Result<(), OperatorError> {
        let raft_remove = Some(call::RaftRemove { node_id: Some(node_id) });
        self.masters_change(&Call { raft_remove, ..new(Type::RaftRemove) }).await.map(drop)
    }

    /// Tells all masters where one of them is from now on; both addresses are `host:port`.
    pub async fn raft_move(&self, node_id: u64, peer: &str, api: &str) -> Result<(), OperatorError> {
        let (peer_addr, api_addr) = (Some(peer.to_owned()), Some(api.to_owned()));
        let raft_move = Some(call::RaftMove { node_id: Some(node_id), peer_addr, api_addr });
        self.masters_change(&Call { raft_move, ..new(Type::RaftMove) }).await.map(drop)
    }

    /// Hands the leadership over, to the one that is named or the one that has the most; returns who leads.
    pub async fn raft_transfer(&self, node_id: Option<u64>) -> Result<u64, OperatorError> {
        let raft_transfer = Some(call::RaftTransfer { node_id });
        let answer = self.masters_change(&Call { raft_transfer, ..new(Type::RaftTransfer) }).await?;
        answer.raft_transfer.map(|t| t.node_id()).ok_or(OperatorError::Incomplete("raft_transfer"))
    }

    /// Has one master take a snapshot now.
    pub async fn raft_snapshot(&self, address: &str) -> Result<response::RaftSnapshot, OperatorError> {
        let request = self.slow(&new(Type::RaftSnapshot), SNAPSHOT_TIMEOUT);
        let answer: Response = self.decode(&self.caller.call_at(address, &request).await?)?;
        answer.raft_snapshot.ok_or(OperatorError::Incomplete("raft_snapshot"))
    }

    async fn masters_change(&self, call: &Call) -> Result<Response, OperatorError> {
        let request = self.slow(call, CHANGE_TIMEOUT);
        Ok(self.decode(&self.caller.call(&request, Repeat::Never, self.deadline()).await?)?)
    }

    fn slow(&self, call: &Call, within: Duration) -> Request {
        Request::post(PATH, self.media_type, wire::encode(self.media_type, call)).answer_within(within)
    }
}
