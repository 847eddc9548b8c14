//! How this replica's disk fares, for whoever must act on it or shows it: written by the caretaker, read everywhere.
//!
//! Owns a few numbers and the rule by which commands and entries are refused for want of room. Measures nothing itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::NodeId;
use crate::error::ProposeError;
use crate::space::DiskLevel;

/// See the module head.
#[derive(Debug, Default)]
pub(crate) struct Health {
    level: AtomicU8,
    free: AtomicU64,
    slow: AtomicBool,
    stall_ms: AtomicU64,
    /// Other replicas that say they should not lead.
    unfit_peers: Mutex<BTreeSet<NodeId>>,
    /// The newest lead under which a command was let in.
    opened: AtomicU64,
}

impl Health {
    pub(crate) fn note_space(&self, free: u64, level: DiskLevel) {
        self.free.store(free, Ordering::Release);
        self.level.store(level as u8, Ordering::Release);
    }

    pub(crate) fn note_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Release);
    }

    pub(crate) fn note_stall(&self, stall: Duration) {
        self.stall_ms.store(u64::try_from(stall.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(crate) fn level(&self) -> DiskLevel {
        match self.level.load(Ordering::Acquire) {
            0 => DiskLevel::Enough,
            1 => DiskLevel::Low,
            2 => DiskLevel::Full,
            _ => DiskLevel::Exhausted,
        }
    }

    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Acquire)
    }

    pub(crate) fn slow(&self) -> bool {
        self.slow.load(Ordering::Acquire)
    }

    pub(crate) fn stall(&self) -> Duration {
        Duration::from_millis(self.stall_ms.load(Ordering::Acquire))
    }

    /// Whether another replica should lead rather than this one.
    pub(crate) fn unfit(&self) -> bool {
        self.slow() || self.level() >= DiskLevel::Low
    }

    /// Another replica answered, and said whether it should not lead.
    pub(crate) fn note_peer(&self, peer: NodeId, unfit: bool) {
        let mut peers = self.peers();
        if unfit {
            peers.insert(peer)
        } else {
            peers.remove(&peer)
        };
    }

    /// The others that should not lead, as they said last.
    pub(crate) fn unfit_peers(&self) -> BTreeSet<NodeId> {
        self.peers().clone()
    }

    fn peers(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.unfit_peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a command for want of room. The first command of each lead passes: it is the one with which a leader begins, and
    /// without it nobody could read.
    pub(crate) fn admit(&self, lead_serial: u64) -> Result<(), ProposeError> {
        let level = self.level();
        if level < DiskLevel::Full {
            return Ok(());
        }
        let first = self.opened.fetch_max(lead_serial, Ordering::AcqRel) < lead_serial;
        if first && level < DiskLevel::Exhausted {
            return Ok(());
        }
        Err(ProposeError::DiskFull { free_bytes: self.free() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_refuses_all_but_the_first_command_of_a_lead() {
        let health = Health::default();
        assert!(health.admit(1).is_ok() && health.admit(1).is_ok());
        health.note_space(5, DiskLevel::Low);
        assert!(health.admit(1).is_ok() && health.unfit());
        health.note_space(5, DiskLevel::Full);
        assert!(health.admit(1).is_ok(), "the first since it was looked at");
        assert!(matches!(health.admit(1), Err(ProposeError::DiskFull { free_bytes: 5 })));
        assert!(health.admit(2).is_ok());
        assert!(health.admit(2).is_err());
        health.note_space(0, DiskLevel::Exhausted);
        assert!(health.admit(3).is_err());
        health.note_space(500, DiskLevel::Enough);
        assert!(health.admit(2).is_ok() && !health.unfit());
    }
}
