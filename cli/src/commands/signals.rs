//! Ctrl-C and its relatives.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM and SIGHUP. From the moment that this exists none of them ends the process by itself, so it is made before anything
/// that would have to be cleaned up.
pub(crate) struct StopRequests {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl StopRequests {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(StopRequests {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one since `listen`.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Waits for one of them, for whoever has nothing to clean up before.
pub(crate) async fn interrupted() {
    match StopRequests::listen() {
        Ok(mut requests) => requests.next().await,
        Err(_refused) => std::future::pending().await,
    }
}
