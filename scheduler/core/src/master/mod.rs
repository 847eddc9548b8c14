//! The leading master's mind.
//!
//! Owns everything that lives as long as one leadership: connections, offers, filters, timers, pending proposals. Decides on
//! the last applied [`Registry`](crate::registry::Registry) and on what it has proposed since. Refuses to touch the world:
//! it answers with [`Effect`]s.

mod config;
pub mod drivers;
mod effect;
mod input;
mod local_view;
mod mint;

pub use config::Config;
pub use effect::{Effect, Level, LocalChange, Note, Reply};
pub use input::{ConnectionId, Input, MasterIdentity, Now, OperatorCall, ProposalId, RequestId};
pub use local_view::LocalView;

/// The core of a master.
#[derive(Debug)]
pub struct Master {
    config: Config,
    view: LocalView,
}

impl Master {
    pub fn new(config: Config) -> Self {
        Self { config, view: LocalView::default() }
    }

    /// Takes in what happened and says what is to be done.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let _ = (now, input, effects, &self.config);
    }

    /// Whether this master leads and its `TakeLead` has been applied.
    pub fn serving(&self) -> bool {
        self.view.serving
    }

    /// Returns what only the leader knows, in constant time.
    pub fn local_view(&self) -> LocalView {
        self.view.clone()
    }

    /// Panics if the state contradicts itself. For tests.
    pub fn check_invariants(&self) {}
}
