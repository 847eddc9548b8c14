//! How long the Registry is when it is written out. Counting takes a walk over all of it, so it is done rarely.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tepui_scheduler_core::Registry;
use tokio::time::Instant;

/// A Registry with more rows than this is not counted anew within [`REST`].
const SMALL: usize = 1000;
const REST: Duration = Duration::from_secs(60);

/// The last count.
#[derive(Default)]
pub(super) struct Size(Mutex<Option<Counted>>);

#[derive(Clone, Copy)]
struct Counted {
    applied_index: u64,
    at: Instant,
    bytes: u64,
}

impl Size {
    /// Bytes of a snapshot of this Registry, or of one that is at most a minute older.
    pub(super) fn of(&self, registry: &Registry, applied_index: u64) -> Option<u64> {
        let known = *self.last();
        let small = registry.tasks.len() + registry.history.len() + registry.agents.len() <= SMALL;
        if let Some(known) = known
            && (known.applied_index == applied_index || (!small && known.at.elapsed() < REST))
        {
            return Some(known.bytes);
        }
        let mut counter = Counter::default();
        registry.write_snapshot(&mut counter).ok()?;
        *self.last() = Some(Counted { applied_index, at: Instant::now(), bytes: counter.0 });
        Some(counter.0)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what is written and keeps nothing of it.
#[derive(Default)]
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tepui_scheduler_core::registry::AgentRecord;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_large_registry_is_counted_once_in_a_minute_and_a_small_one_whenever_it_changed() {
        let size = Size::default();
        let mut registry = Registry::default();
        let mut bytes = Vec::new();
        registry.write_snapshot(&mut bytes).unwrap();
        assert_eq!(size.of(&registry, 1), Some(bytes.len() as u64));
        registry
            .agents
            .insert("a".into(), Arc::new(AgentRecord { ip: "x".repeat(999), ..Default::default() }));
        assert_eq!(size.of(&registry, 1), Some(bytes.len() as u64), "nothing was applied");
        let more = size.of(&registry, 2).unwrap();
        assert!(more > bytes.len() as u64 + 999);
        for agent in 0..=SMALL {
            registry.agents.insert(format!("a{agent}").as_str().into(), Arc::default());
        }
        assert_eq!(size.of(&registry, 3), Some(more));
        tokio::time::advance(REST).await;
        assert!(size.of(&registry, 3).unwrap() > more);
    }
}
