//! What reads are answered from: the Registry of this replica and, on the leading master, what only it knows.
//!
//! Owns the pairing of the two and how old they are. Never waits for the event loop.

use std::sync::Arc;
use std::time::Instant;

use tepui_scheduler_core::{LocalView, Registry};

use crate::runtime::board::Board;

/// One consistent look.
#[derive(Clone)]
pub(crate) struct ReadView {
    pub(crate) registry: Registry,
    /// Offers and connections; only the leading master has them.
    pub(crate) local: Option<Arc<LocalView>>,
    /// Log index of the last entry in it.
    pub(crate) applied_index: u64,
    applied_at: Instant,
}

impl ReadView {
    /// The newest look at `board`.
    pub(crate) fn of(board: &Board) -> ReadView {
        // The local view first: it must not name an offer or a connection of something that the Registry does not hold yet.
        let local = board.local();
        let newest = board.newest();
        ReadView {
            registry: newest.registry.clone(),
            local,
            applied_index: newest.applied_index,
            applied_at: newest.applied_at,
        }
    }

    /// Milliseconds since the last entry was applied here: an upper bound of how stale the look is.
    pub(crate) fn age_ms(&self) -> u64 {
        u64::try_from(self.applied_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
