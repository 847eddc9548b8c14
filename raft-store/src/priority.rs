//! Which threads of a replica go first when the processor is scarce: those that keep heartbeats in time before everything else, those
//! that move snapshots after everything else. Owns two numbers; a system that does not allow the first runs as before.

use std::{io, thread};

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// A little before the rest of the machine: these threads sleep nearly always and must wake in time.
const RAISED: i32 = -5;
/// Behind everything that somebody waits for.
const LOWERED: i32 = 10;

/// Raises the calling thread. Needs a privilege that a master may lack; then nothing changes.
pub(crate) fn raise() {
    if let Err(error) = setpriority_process(None, RAISED) {
        tracing::debug!(%error, "a thread of raft was not raised");
    }
}

/// Does long work on a lowered thread of its own, where it neither delays a heartbeat nor takes a place that shorter work waits for.
///
/// # Errors
/// When there is no thread to be had, or the work panics.
pub(crate) async fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    #[cfg(any(test, feature = "simulation"))]
    if crate::simulation::is_simulated() {
        return work();
    }
    let (sender, result) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Err(error) = setpriority_process(None, LOWERED) {
            tracing::debug!(%error, "a thread for snapshots was not lowered");
        }
        // Whoever asked may be gone.
        drop(sender.send(work()));
    })?;
    result.await.unwrap_or_else(|_| Err(io::Error::other("the work panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_in_the_background_is_lowered_and_its_panic_an_error() {
        let niceness = || rustix::process::getpriority_process(None);
        let lowered = in_background("test", move || Ok(niceness()?)).await.unwrap();
        assert_eq!(lowered, LOWERED);
        assert_ne!(niceness().unwrap(), LOWERED, "only that thread");
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let failed = in_background("test", || -> io::Result<()> { panic!("as told") }).await;
        std::panic::set_hook(hook);
        assert!(failed.unwrap_err().to_string().contains("panicked"));
    }
}
