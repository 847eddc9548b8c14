//! The agent itself: one struct, one entrance. Owns the order in which inputs reach its parts.

use crate::checkpoint::State;
use crate::{Config, Effect, Input, Now};

/// What an agent knows and decides.
pub struct Agent {
    config: Config,
    recovered: State,
}

impl Agent {
    /// Starts from what a former run left; `State::default()` for a new agent.
    pub fn new(config: Config, recovered: State) -> Self {
        Self { config, recovered }
    }

    /// Takes one input in, and appends what follows to `effects`. No input can make it panic.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let _ = (&self.config, &self.recovered, now, input, effects);
    }

    /// Panics if what must always hold does not.
    pub fn check_invariants(&self) {}
}
