//! What one replica is told at start: who it is, where its files are, how it reaches its peers and how patient it is.
//!
//! Owns the plain data of [`Config`] and the check that the timings make sense together. Reads no flags, no environment and no files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::OpenError;

/// The number of a replica. Never reused: a voter that lost its disk comes back under a new one.
pub type NodeId = u64;

/// Where a replica can be reached. `api_addr` is opaque to the store and travels with the membership.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Peer {
    /// `host:port` of the peer listener.
    pub peer_addr: String,
    /// `host:port` of the public API of that process; the store only passes it on.
    pub api_addr: String,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (api {})", self.peer_addr, self.api_addr)
    }
}

/// More would be no patience but an outage.
const MAX_ELECTION_MS: u64 = 60_000;

/// The timers of the election, all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often the leader tells its followers that it lives.
    pub heartbeat_ms: u64,
    /// The shortest time a follower waits before it asks for votes.
    pub election_min_ms: u64,
    /// The longest such time; also how long a follower keeps refusing votes after it heard its leader.
    pub election_max_ms: u64,
}

impl Timing {
    /// For replicas near each other on disks that sync within milliseconds: another leads within half a second.
    pub const LAN: Timing = Timing { heartbeat_ms: 30, election_min_ms: 100, election_max_ms: 150 };
    /// For replicas far apart or on slow disks: another leads within two seconds.
    pub const WAN: Timing = Timing { heartbeat_ms: 100, election_min_ms: 500, election_max_ms: 1000 };
}

impl Default for Timing {
    fn default() -> Self {
        Timing::LAN
    }
}

/// How much a replica asks of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimits {
    /// With less room than this the replica gives the leadership away and does not seek it; 0 switches all watching of room off.
    pub low_bytes: u64,
    /// With less room than this a leader takes no commands; with a quarter of it a follower takes no entries.
    pub full_bytes: u64,
    /// A second in which the slowest of a hundred syncs takes longer than this is a slow one; zero for never.
    pub slow_sync: Duration,
    /// A leader gives the leadership away after so many slow seconds on end; whole seconds, at most 59.
    pub slow_for: Duration,
}

impl DiskLimits {
    /// For a disk of its own with gigabytes of room and syncs within milliseconds.
    pub const DEFAULT: DiskLimits = DiskLimits {
        low_bytes: 1 << 30,
        full_bytes: 256 << 20,
        slow_sync: Duration::from_millis(100),
        slow_for: Duration::from_secs(10),
    };
}

impl Default for DiskLimits {
    fn default() -> Self {
        DiskLimits::DEFAULT
    }
}

/// How a replica comes into a cluster that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// `host:port` of peer listeners of members, any of whom may be asked.
    pub contacts: Vec<String>,
    /// Whether it gets a vote as soon as it has the log; otherwise it follows until it is promoted.
    pub vote: bool,
}

/// Everything a replica is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The number of this replica.
    pub node_id: NodeId,
    /// Its own folder: log, guard, snapshots. Created if missing; one process at a time.
    pub dir: PathBuf,
    /// The address on which it listens for its peers. Port 0 takes a free one, see `RaftStore::peer_listen_addr`.
    pub peer_listen: SocketAddr,
    /// The address under which the others reach it.
    pub me: Peer,
    /// A secret that every peer must show. `None` accepts peers without one only.
    pub secret: Option<String>,
    /// What this build can do, as a number of the user's: the store only tells the others, see `Status::levels`.
    pub level: u32,
    /// The timers of the election.
    pub timing: Timing,
    /// A leader that has not heard from a quorum for this long reports that it follows. Never below two election timeouts.
    pub leader_contact_timeout: Duration,
    /// A snapshot is taken after this many applied entries …
    pub snapshot_every_entries: u64,
    /// … or after this many bytes of applied commands, whichever comes first.
    pub snapshot_every_bytes: u64,
    /// So many entries stay in the log behind a snapshot, so that a replica that was away catches up without one.
    pub keep_entries: u64,
    /// … but not more than this many bytes of commands.
    pub keep_bytes: u64,
    /// What it asks of its disk.
    pub disk: DiskLimits,
    /// A file that tells the disk to misbehave, for tests; `None` in earnest.
    pub faults: Option<PathBuf>,
    /// Longer commands are refused, in bytes.
    pub max_command_bytes: usize,
    /// Comes into a cluster that exists, with the number that [`RaftStore::claim`](crate::RaftStore::claim) gave; once it has its
    /// place this has no effect any more.
    pub join: Option<Join>,
}

impl Config {
    /// A configuration with the house defaults for everything that has one.
    pub fn new(node_id: NodeId, dir: impl Into<PathBuf>, peer_listen: SocketAddr, me: Peer) -> Config {
        Config {
            node_id,
            dir: dir.into(),
            peer_listen,
            me,
            secret: None,
            level: 0,
            timing: Timing::default(),
            leader_contact_timeout: Duration::from_secs(1),
            snapshot_every_entries: 100_000,
            snapshot_every_bytes: 64 << 20,
            keep_entries: 50_000,
            keep_bytes: 256 << 20,
            disk: DiskLimits::default(),
            faults: None,
            max_command_bytes: 1 << 20,
            join: None,
        }
    }

    /// Refuses combinations under which elections could not work.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let Timing { heartbeat_ms, election_min_ms, election_max_ms } = self.timing;
        let wrong = |reason: String| Err(OpenError::Config(reason));
        if heartbeat_ms == 0 || election_min_ms <= heartbeat_ms.saturating_mul(3) {
            return wrong(format!(
                "election_min_ms {election_min_ms} must exceed three heartbeats of {heartbeat_ms} ms"
            ));
        }
        // Replicas that lose patience at the same moment split the votes.
        if election_max_ms < election_min_ms.saturating_add(40) {
            return wrong(format!(
                "election_max_ms {election_max_ms} must exceed election_min_ms {election_min_ms} by 40 ms or more"
            ));
        }
        if election_max_ms > MAX_ELECTION_MS {
            return wrong(format!("election_max_ms {election_max_ms} is more than {MAX_ELECTION_MS} ms"));
        }
        let DiskLimits { low_bytes, full_bytes, slow_for, .. } = self.disk;
        if low_bytes > 0 && low_bytes < full_bytes {
            return wrong(format!("low_bytes {low_bytes} must not be less than full_bytes {full_bytes}"));
        }
        if slow_for.as_secs() == 0 || slow_for.as_secs() > 59 {
            return wrong(format!("slow_for {slow_for:?} must be between 1 and 59 seconds"));
        }
        if self.max_command_bytes == 0 || self.max_command_bytes > 16 << 20 {
            return wrong(format!(
                "max_command_bytes {} must be between 1 and 16 MiB",
                self.max_command_bytes
            ));
        }
        if let Some(secret) = &self.secret
            && (secret.is_empty() || !secret.bytes().all(|b| (0x21..=0x7e).contains(&b)))
        {
            return wrong("the secret must be visible ASCII without spaces, and not empty".to_owned());
        }
        if self.snapshot_every_entries == 0 || self.snapshot_every_bytes == 0 {
            return wrong("snapshots need a distance of at least one entry and one byte".to_owned());
        }
        Ok(())
    }

    /// Whoever answered within this time is there.
    pub(crate) fn fresh(&self) -> Duration {
        Duration::from_millis(2 * self.timing.election_max_ms)
    }

    /// The contact timeout with its floor of two election timeouts.
    pub(crate) fn contact_timeout(&self) -> Duration {
        self.leader_contact_timeout.max(Duration::from_millis(2 * self.timing.election_max_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(1, "/nowhere", ([127, 0, 0, 1], 0).into(), Peer::default())
    }

    #[test]
    fn the_defaults_are_accepted() {
        for timing in [Timing::LAN, Timing::WAN] {
            Config { timing, ..config() }.check().unwrap();
        }
    }

    #[test]
    fn timers_that_cannot_work_are_refused() {
        for (hb, min, max) in
            [(0, 100, 150), (50, 150, 300), (30, 100, 139), (30, 100, 60_001), (u64::MAX, 9, 99)]
        {
            let mut c = config();
            c.timing = Timing { heartbeat_ms: hb, election_min_ms: min, election_max_ms: max };
            assert!(c.check().is_err(), "{hb}/{min}/{max}");
        }
    }

    #[test]
    fn limits_of_the_disk_that_make_no_sense_are_refused() {
        let with = |disk| Config { disk, ..config() }.check();
        let house = DiskLimits::default();
        assert!(with(DiskLimits { low_bytes: house.full_bytes - 1, ..house }).is_err());
        assert!(with(DiskLimits { low_bytes: 0, ..house }).is_ok(), "off");
        assert!(with(DiskLimits { slow_for: Duration::from_millis(999), ..house }).is_err());
        assert!(with(DiskLimits { slow_for: Duration::from_secs(60), ..house }).is_err());
    }

    #[test]
    fn the_contact_timeout_has_a_floor() {
        let mut c = config();
        c.leader_contact_timeout = Duration::from_millis(1);
        assert_eq!(c.contact_timeout(), Duration::from_millis(300));
    }
}
