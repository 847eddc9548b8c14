//! REVIVE and SUPPRESS: which roles of a framework are to be offered anything.
//!
//! The allocator acts on them at once; the Registry is told so that every master shows them and a new leader begins with them.
//! What is committed lags a little behind, so a change is judged by what the allocator holds.

use std::collections::BTreeSet;

use super::core::Master;
use super::pipeline::Pending;
use crate::ids::FrameworkId;
use crate::registry::{Operation, SuppressRoles};
use crate::validation;

impl Master {
    pub(super) fn on_revive(&mut self, id: &FrameworkId, asked: &[String]) {
        if let Some(roles) = self.roles_meant(id, "revive", asked) {
            let changed = self.differing(id, &roles, false);
            self.allocator.revive(id, &roles);
            self.revive_inverse(id);
            self.record_suppression(id, changed, false);
        }
    }

    pub(super) fn on_suppress(&mut self, id: &FrameworkId, asked: &[String]) {
        if let Some(roles) = self.roles_meant(id, "suppress", asked) {
            let changed = self.differing(id, &roles, true);
            self.allocator.suppress(id, &roles);
            self.record_suppression(id, changed, true);
        }
    }

    /// One role that is not subscribed spoils the whole call.
    fn roles_meant(&mut self, id: &FrameworkId, call: &str, asked: &[String]) -> Option<Vec<String>> {
        let record = self.registry.frameworks.get(id)?;
        match validation::roles(record, asked) {
            Ok(roles) => Some(roles),
            Err(rejection) => {
                self.warn(format!("'{call}' is ignored as a whole: {}", rejection.reason));
                None
            }
        }
    }

    fn differing(&self, id: &FrameworkId, roles: &[String], suppressed: bool) -> Vec<String> {
        let known = self.allocator.suppressed_roles(id);
        roles.iter().filter(|role| known.contains(role.as_str()) != suppressed).cloned().collect()
    }

    fn record_suppression(&mut self, id: &FrameworkId, roles: Vec<String>, suppressed: bool) {
        if !roles.is_empty() {
            let operation = SuppressRoles { framework_id: id.as_str().to_owned(), roles, suppressed };
            self.propose(Operation::SuppressRoles(operation), Pending::Suppression { framework: id.clone() });
        }
    }

    /// A subscription or an update that was under way meanwhile may have told the allocator otherwise.
    pub(super) fn suppression_applied(&mut self, id: &FrameworkId) {
        let Some(record) = self.registry.frameworks.get(id) else { return };
        let recorded: BTreeSet<&str> = record.suppressed_roles.iter().map(String::as_str).collect();
        let known = self.allocator.suppressed_roles(id);
        let agrees = known.len() == recorded.len() && known.iter().all(|role| recorded.contains(&**role));
        if !agrees && !self.pipeline.holds_suppression(id) {
            self.tell_allocator_framework(id);
        }
    }
}
