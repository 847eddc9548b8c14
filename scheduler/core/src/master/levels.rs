//! The level of the cluster: raised when every voter has more.
//!
//! Owns the decision. Which level the voters have is found out by the shell, and told again and again.

use super::core::Master;
use super::effect::Level;
use super::pipeline::Pending;
use crate::registry::{Operation, RaiseLevel};

impl Master {
    /// Every voter, this one included, can do at least this much.
    pub(super) fn on_voter_level(&mut self, level: u32) {
        let under_way = self.pipeline.all().any(|pending| matches!(pending, Pending::Level));
        if !self.serving() || under_way || level <= self.registry.feature_level {
            return;
        }
        let fields = vec![("from", self.registry.feature_level.to_string()), ("to", level.to_string())];
        self.note(Level::Info, "every master can do more: the cluster's level rises", fields);
        self.propose(Operation::RaiseLevel(RaiseLevel { level }), Pending::Level);
    }
}
