//! What this master is right now, as the outside may rely on it. Plain data; the event loop publishes it.

use tepui_raft_store::Lead;

/// The part that this master plays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    /// Another master leads, at this `host:port`, or nobody is known to.
    Following { leader: Option<String> },
    /// This master was elected; its first operation is not applied yet.
    Recovering,
    /// This master leads and answers for the cluster.
    Serving { lead: Lead },
    /// This master leads, is about to stop, and takes no more work.
    Draining,
}

impl Role {
    /// Whether this master holds the leadership, ready or not.
    pub(crate) fn is_leader(&self) -> bool {
        !matches!(self, Role::Following { .. })
    }
}
