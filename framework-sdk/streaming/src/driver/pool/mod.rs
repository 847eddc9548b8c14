//! The executors that are connected, and the slots they run.
//!
//! ```text
//! listener.rs    accepts, proves who is who
//! connection.rs  one executor: frames in, frames out, silence noticed
//! dispatch.rs    which slot runs where, again and elsewhere (pure)
//! slots.rs       the engine's Slots over all of them
//! ```

mod connection;
mod dispatch;
mod listener;
mod slots;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::batch::{SlotDone, SlotFailure};
use crate::wire::ToExecutor;

pub(crate) use listener::{Gate, Listener};
pub(crate) use slots::PoolSlots;

/// Frames that wait for one executor.
const OUTBOX: usize = 64;
/// Answers that wait for the engine.
const INBOX: usize = 1024;

/// A connected executor. Connections are numbered, because an executor may come back before its old connection is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(u64);

/// What connections tell the engine.
#[derive(Debug)]
pub(crate) enum PoolEvent {
    Joined { connection: ConnectionId, executor: String, capacity: u32, outbox: mpsc::Sender<ToExecutor> },
    Left { connection: ConnectionId },
    Done { connection: ConnectionId, done: Box<SlotDone> },
    Failed { connection: ConnectionId, attempt: String, failure: SlotFailure },
}

/// Who is connected, for whoever launches executors.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    members: Arc<Mutex<BTreeMap<ConnectionId, Member>>>,
    changes: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct Member {
    executor: String,
    outbox: mpsc::Sender<ToExecutor>,
}

impl Default for Roster {
    fn default() -> Self {
        Self { members: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl Roster {
    /// Task ids of the connected executors.
    pub(crate) fn executors(&self) -> Vec<String> {
        let mut executors: Vec<String> = self.lock().values().map(|member| member.executor.clone()).collect();
        executors.sort();
        executors.dedup();
        executors
    }

    /// Signals every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells every executor that it is not needed any more.
    pub(crate) fn dismiss(&self, reason: &str) {
        for member in self.lock().values() {
            // An executor that takes nothing in is killed with the framework's tasks.
            let _ = member.outbox.try_send(ToExecutor::Stop { reason: reason.to_owned(), exit: true });
        }
    }

    fn join(&self, connection: ConnectionId, executor: &str, outbox: mpsc::Sender<ToExecutor>) {
        self.lock().insert(connection, Member { executor: executor.to_owned(), outbox });
        self.changes.send_modify(|count| *count += 1);
    }

    fn leave(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnectionId, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the two ends between connections and engine.
pub(crate) fn events() -> (mpsc::Sender<PoolEvent>, mpsc::Receiver<PoolEvent>) {
    mpsc::channel(INBOX)
}
