//! How much this process logs, raised by an operator for a while and lowered again by itself.
//!
//! Owns the level and when it falls back. What a level means is known to whoever set the log up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::SetVerbosity;

/// The present level.
pub(crate) struct Verbosity {
    set: Option<SetVerbosity>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// 0 is what the process was started with.
    level: u32,
    falls_back: Option<Instant>,
}

/// The process has no log that could be changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fixed;

impl Verbosity {
    /// As the process was started. Without `set` it stays so.
    pub(crate) fn new(set: Option<SetVerbosity>) -> Arc<Verbosity> {
        Arc::new(Verbosity { set, state: Mutex::default(), changed: Notify::new() })
    }

    /// The present level.
    pub(crate) fn level(&self) -> u32 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).level
    }

    /// Logs at `level` for `duration`, counted from now.
    ///
    /// # Errors
    /// When the log cannot be changed.
    pub(crate) fn raise(&self, level: u32, duration: Duration) -> Result<(), Fixed> {
        let set = self.set.as_ref().ok_or(Fixed)?;
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            set(level);
            // A time beyond all clocks is as good as for ever.
            let falls_back = (level > 0).then(|| Instant::now().checked_add(duration)).flatten();
            *state = State { level, falls_back };
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Lowers the level when its time is over, until it is stopped.
    pub(crate) async fn run(self: Arc<Verbosity>, stop: CancellationToken) {
        loop {
            let falls_back = self.state.lock().unwrap_or_else(PoisonError::into_inner).falls_back;
            let over = async move {
                match falls_back {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = over => self.fall_back(),
            }
        }
    }

    fn fall_back(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.falls_back.is_some_and(|at| at <= Instant::now()) {
            *state = State::default();
            if let Some(set) = &self.set {
                set(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_level_falls_back_by_itself() {
        let seen = Arc::new(AtomicU32::new(0));
        let told = seen.clone();
        let verbosity = Verbosity::new(Some(Arc::new(move |level| told.store(level, Ordering::Relaxed))));
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        tracker.spawn(verbosity.clone().run(stop.clone()));
        verbosity.raise(2, Duration::from_secs(10)).unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        verbosity.raise(1, Duration::from_secs(10)).unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!((verbosity.level(), seen.load(Ordering::Relaxed)), (1, 1));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((verbosity.level(), seen.load(Ordering::Relaxed)), (0, 0));
        verbosity.raise(3, Duration::MAX).unwrap();
        tokio::time::sleep(Duration::from_secs(1 << 20)).await;
        assert_eq!(verbosity.level(), 3);
        stop.cancel();
        tracker.close();
        tracker.wait().await;
    }

    #[test]
    fn a_log_that_cannot_be_changed_says_so() {
        let verbosity = Verbosity::new(None);
        assert_eq!(verbosity.raise(1, Duration::ZERO), Err(Fixed));
        assert_eq!(verbosity.level(), 0);
    }
}
