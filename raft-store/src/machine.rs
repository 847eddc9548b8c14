//! The seam to whoever owns the state: commands in log order in, answers out, frozen copies for snapshots.
//!
//! Owns the trait and its type-erased form, so that everything else here is free of type parameters. Knows no raft types.

use std::io::{Read, Write};

use bytes::Bytes;

/// One committed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log; strictly rising from one call of `apply` to the next, with gaps (the log also holds entries of its own).
    pub index: u64,
    /// The command as it was proposed.
    pub command: Bytes,
}

/// The replicated state. The same entries in the same order must give the same state and the same answers everywhere.
pub trait StateMachine: Send + 'static {
    /// A constant-time frozen copy, for snapshots and reads.
    type Frozen: Send + Sync + 'static;

    /// Applies committed commands in log order; returns exactly one answer for each. Called on every replica, on the raft
    /// runtime: it should not block for long. After a restart it is called again for everything behind the last snapshot.
    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes>;

    /// A frozen copy of the present state, in constant time.
    fn freeze(&self) -> Self::Frozen;

    /// Serialises a frozen copy. Runs on a blocking thread while `apply` goes on.
    fn write_snapshot(frozen: &Self::Frozen, out: &mut dyn Write) -> std::io::Result<()>;

    /// Answers a question that another replica asked with [`RaftStore::ask`](crate::RaftStore::ask). Called between batches of
    /// `apply`, which waits: it should be quick. At most 1 MiB; without an implementation, nothing.
    fn answer(&self, _question: &[u8]) -> Bytes {
        Bytes::new()
    }

    /// Replaces the state by a snapshot that contains everything up to and including `last_index`. The bytes are verified
    /// before this is called. An error takes the replica out of service with its text.
    fn install(&mut self, input: &mut dyn Read, last_index: u64) -> Result<(), anyhow::Error>;
}

/// Writes one frozen copy.
pub(crate) type Frozen = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send>;

/// [`StateMachine`] without its associated type.
pub(crate) trait Machine: Send + 'static {
    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes>;
    fn freeze(&self) -> Frozen;
    fn answer(&self, question: &[u8]) -> Bytes;
    fn install(&mut self, input: &mut dyn Read, last_index: u64) -> Result<(), anyhow::Error>;
}

impl<S: StateMachine> Machine for S {
    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        StateMachine::apply(self, entries)
    }

    fn freeze(&self) -> Frozen {
        let frozen = StateMachine::freeze(self);
        Box::new(move |out| S::write_snapshot(&frozen, out))
    }

    fn answer(&self, question: &[u8]) -> Bytes {
        StateMachine::answer(self, question)
    }

    fn install(&mut self, input: &mut dyn Read, last_index: u64) -> Result<(), anyhow::Error> {
        StateMachine::install(self, input, last_index)
    }
}
