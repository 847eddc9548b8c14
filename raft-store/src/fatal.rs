//! The one place where the end is announced: a fault after which this process must not go on.
//!
//! Owns the first reason and keeps it; later ones are logged only. Once the store is being shut down, errors are expected and
//! are not faults. Decides nothing about how the process ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// A cheap handle to report the end with.
#[derive(Clone, Debug)]
pub(crate) struct Fatal {
    sender: watch::Sender<Option<String>>,
    closing: Arc<AtomicBool>,
}

impl Fatal {
    pub(crate) fn new() -> Fatal {
        Fatal { sender: watch::Sender::new(None), closing: Arc::new(AtomicBool::new(false)) }
    }

    /// Announces a fault. The first text wins.
    pub(crate) fn report(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.closing.load(Ordering::Acquire) {
            tracing::debug!(%reason, "error while closing");
            return;
        }
        tracing::error!(%reason, "the replicated store cannot go on");
        self.sender.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    /// From now on errors are part of closing.
    pub(crate) fn closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_kept() {
        let fatal = Fatal::new();
        assert_eq!(*fatal.watch().borrow(), None);
        fatal.report("disk gone");
        fatal.report("and more");
        assert_eq!(fatal.watch().borrow().as_deref(), Some("disk gone"));
    }

    #[test]
    fn errors_while_closing_are_no_faults() {
        let fatal = Fatal::new();
        fatal.closing();
        fatal.report("channel closed");
        assert_eq!(*fatal.watch().borrow(), None);
    }
}
