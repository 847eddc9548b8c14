//! Numbers of each principal: the calls that its frameworks sent, and those that were carried out.
//!
//! Bounded by the principals of the frameworks that exist: those that are gone are forgotten by and by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tepui_scheduler_core::Registry;

/// So many principals are kept before it is worth a look which of them are gone.
const FEW: usize = 64;

/// The numbers of all principals.
#[derive(Default)]
pub(crate) struct Principals(Mutex<Known>);

#[derive(Default)]
struct Known {
    numbers: BTreeMap<String, Numbers>,
    /// With more than so many it is looked which of them are gone.
    room: usize,
}

#[derive(Clone, Copy, Default)]
struct Numbers {
    received: u64,
    processed: u64,
}

impl Principals {
    /// A call of a framework of this principal arrived.
    pub(crate) fn received(&self, principal: &str, registry: &Registry) {
        let mut known = self.known();
        if let Some(numbers) = known.numbers.get_mut(principal) {
            numbers.received += 1;
            return;
        }
        if known.numbers.len() >= known.room.max(FEW) {
            let there = there(registry);
            known.numbers.retain(|name, _| there.contains(name.as_str()));
            known.room = known.numbers.len() * 2;
        }
        known.numbers.insert(principal.to_owned(), Numbers { received: 1, processed: 0 });
    }

    /// It was carried out, or refused for what it is.
    pub(crate) fn processed(&self, principal: &str) {
        if let Some(numbers) = self.known().numbers.get_mut(principal) {
            numbers.processed += 1;
        }
    }

    /// This master no longer leads.
    pub(super) fn clear(&self) {
        *self.known() = Known::default();
    }

    /// Everything under its name.
    pub(super) fn numbers(&self, registry: &Registry) -> Vec<(String, f64)> {
        let known = self.known();
        let mut all = Vec::new();
        for principal in there(registry) {
            let numbers = known.numbers.get(principal).copied().unwrap_or_default();
            all.push((format!("frameworks/{principal}/messages_received"), numbers.received as f64));
            all.push((format!("frameworks/{principal}/messages_processed"), numbers.processed as f64));
        }
        all
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The principals of all frameworks.
fn there(registry: &Registry) -> BTreeSet<&str> {
    let infos = registry.frameworks.values().filter_map(|record| record.info.as_ref());
    infos.filter_map(|info| info.principal.as_deref()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tepui_proto::v1::FrameworkInfo;
    use tepui_scheduler_core::registry::FrameworkRecord;

    use super::*;

    fn registry(principal: &str) -> Registry {
        let info = FrameworkInfo { principal: Some(principal.to_owned()), ..Default::default() };
        let mut registry = Registry::default();
        let record = FrameworkRecord { info: Some(info), ..Default::default() };
        registry.frameworks.insert("f".into(), Arc::new(record));
        registry
    }

    #[test]
    fn principals_are_counted_as_long_as_they_have_frameworks() {
        let all = Principals::default();
        let registry = registry("foo");
        let zero = [("frameworks/foo/messages_received".to_owned(), 0.0)];
        assert_eq!(all.numbers(&registry)[..1], zero, "there before the first call");
        all.received("foo", &registry);
        all.received("foo", &registry);
        all.processed("foo");
        let numbers: Vec<f64> = all.numbers(&registry).into_iter().map(|(_, number)| number).collect();
        assert_eq!(numbers, [2.0, 1.0]);
        assert!(all.numbers(&Registry::default()).is_empty());
        all.clear();
        assert_eq!(all.numbers(&registry)[..1], zero);
    }

    #[test]
    fn those_that_are_gone_are_forgotten() {
        let all = Principals::default();
        for number in 0..10_000 {
            let name = format!("p{number}");
            all.received(&name, &registry(&name));
        }
        assert!(all.known().numbers.len() <= FEW + 1, "{}", all.known().numbers.len());
    }
}
