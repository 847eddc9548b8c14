//! Work that blocks: on a thread of its own, so that nobody else waits for it.
//!
//! Owns the choice of the place: in a simulation, where a thread would make two runs differ, it is done on the spot.

use tokio::task::JoinError;

/// Does it and returns what it returned.
///
/// # Errors
/// If it panicked, or the runtime is being shut down.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    #[cfg(any(test, feature = "simulation"))]
    if crate::simulation::is_simulated() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
