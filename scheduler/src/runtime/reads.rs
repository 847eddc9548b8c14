//! What reads are answered from: the Registry of this replica and, on the leading master, what only it knows.
//!
//! Owns the pairing of the two and how old they are. Never waits for the event loop.

use std::sync::Arc;
use std::time::Duration;

use tepui_scheduler_core::{LocalView, Registry};

use crate::http::Info;
use crate::runtime::board::Board;
use crate::runtime::replica::Replica;

/// One consistent look.
#[derive(Clone)]
pub(crate) struct ReadView {
    pub(crate) registry: Registry,
    /// Offers and connections; only the leading master has them.
    pub(crate) local: Option<Arc<LocalView>>,
    /// Which of those it is.
    local_version: u64,
    /// Log index of the last entry in it.
    pub(crate) applied_index: u64,
    /// How long before the look this replica surely had everything that was committed; absent if it never had.
    age: Option<Duration>,
}

impl ReadView {
    /// The newest look at `board`.
    pub(crate) fn of(board: &Board) -> ReadView {
        // The local view first: it must not name an offer or a connection of something that the Registry does not hold yet.
        let local = board.local();
        let newest = board.newest();
        ReadView {
            registry: newest.registry.clone(),
            local_version: local.as_ref().map_or(0, |local| local.version),
            local: local.map(|local| local.view),
            applied_index: newest.applied_index,
            age: None,
        }
    }

    /// The newest look, and how old it is.
    pub(crate) fn aged(board: &Board, replica: &dyn Replica) -> ReadView {
        // Asked first: what is looked at afterwards can only be newer.
        let age = replica.age();
        ReadView { age, ..ReadView::of(board) }
    }

    /// What stands for everything that can be read from this look: another look of this process with the same tag shows the same. Weak, since
    /// nobody promises the same bytes.
    pub(crate) fn tag(&self, info: &Info) -> String {
        let (process, local) = (info.started_wall_ms, self.local_version);
        format!("W/\"{}-{process:x}-{:x}-{local:x}\"", info.node_id, self.applied_index)
    }

    /// An upper bound of how stale the look is, in milliseconds; nothing if that is not known.
    pub(crate) fn age_ms(&self) -> Option<u64> {
        self.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }
}
