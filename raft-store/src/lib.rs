//! Replication that knows nothing of Mesos: opaque commands in, applied commands out.
//!
//! Owns consensus, the log on disk, snapshots, the peer network and the question who leads. Its users see [`RaftStore`] and
//! implement [`StateMachine`]; no type of the consensus library leaves this package, and no meaning of a command enters it.
//! README.md beside this source says what may be relied on, and shows a whole program.

#![warn(missing_docs)]

mod backup;
mod blocking;
mod card;
mod caretaker;
mod chance;
mod cluster;
mod codec;
mod config;
mod error;
mod fatal;
mod handover;
mod health;
mod join;
mod keeper;
mod leadership;
mod levels;
mod log;
mod machine;
mod membership;
mod meter;
mod mutants;
mod network;
mod node;
mod priority;
mod propose;
mod read;
mod recovery;
mod roster;
mod runtime;
mod seat;
mod silence;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod snapshot;
mod space;
mod state;
mod status;
mod store;
mod surroundings;
#[cfg(test)]
mod testing;
mod types;

pub use backup::{Backup, BackupInfo, Position, read_backup};
pub use config::{Config, DiskLimits, Join, NodeId, Peer, Timing};
pub use error::{
    AskError, BootstrapError, HandOverError, JoinError, MembershipError, OpenError, ProposeError, ReadError,
    SnapshotError,
};
pub use machine::{Entry, StateMachine};
pub use recovery::{Founding, Survivor, found, survive};
pub use roster::{Expelled, Member, Members};
pub use space::DiskLevel;
pub use status::{Applied, Lead, Leadership, SnapshotTaken, Status, Storage};
pub use store::RaftStore;
