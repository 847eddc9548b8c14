//! How many refusals are alive in each role: counted as they come and go, because metrics ask for it and must not walk over all of them.

use std::sync::Arc;

use imbl::OrdMap;

/// Live refusals by role; a role without any is not in it. A clone costs nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Active(OrdMap<Arc<str>, u64>);

impl Active {
    /// Those of one framework on one agent in this role were `before`, and are `after`.
    pub(crate) fn changed(&mut self, role: &Arc<str>, before: usize, after: usize) {
        if before == after {
            return;
        }
        let known = self.0.get(role).copied().unwrap_or_default();
        let now = known.saturating_add(after as u64).saturating_sub(before as u64);
        if now == 0 {
            self.0.remove(role);
        } else {
            self.0.insert(role.clone(), now);
        }
    }

    pub(crate) fn by_role(&self) -> OrdMap<Arc<str>, u64> {
        self.0.clone()
    }
}
