//! Leases of running drivers: how long a silent one still counts as alive.
//!
//! Leader-local: a new leader grants a full lease to everybody, so that a change of leaders alone never ends one. Clocks
//! decide only how soon a driver is replaced, never whether two of them can write.

use std::collections::BTreeMap;

use tepui_proto::tepui::operator::DriverState;

use crate::registry::DriverRecord;

/// A launch takes time until the driver can renew for the first time: so many leases.
const LEASES_TO_START: u64 = 3;

#[derive(Clone, Copy, Debug)]
struct Lease {
    generation: u64,
    state: i32,
    until_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Leases(BTreeMap<String, Lease>);

impl Leases {
    /// Returns until when the driver's current run counts as alive; a full lease if it is new or just began to run.
    /// Nothing if it has no lease, or is not running.
    pub(super) fn until_ms(&mut self, driver: &DriverRecord, now_ms: u64) -> Option<u64> {
        let length = length_ms(driver);
        let running = matches!(driver.state(), DriverState::DriverStaging | DriverState::DriverRunning);
        if length == 0 || !running {
            self.0.remove(driver.name());
            return None;
        }
        let full = match driver.state() {
            DriverState::DriverStaging => length.saturating_mul(LEASES_TO_START),
            _ => length,
        };
        let fresh = Lease {
            generation: driver.generation,
            state: driver.state,
            until_ms: now_ms.saturating_add(full),
        };
        let lease = self.0.entry(driver.name().to_owned()).or_insert(fresh);
        if (lease.generation, lease.state) != (fresh.generation, fresh.state) {
            *lease = fresh;
        }
        Some(lease.until_ms)
    }

    /// The driver is alive.
    pub(super) fn renew(&mut self, driver: &DriverRecord, now_ms: u64) {
        if let Some(lease) = self.0.get_mut(driver.name())
            && lease.generation == driver.generation
        {
            lease.until_ms = lease.until_ms.max(now_ms.saturating_add(length_ms(driver)));
        }
    }

    /// Drops the leases of drivers that are not among `known`.
    pub(super) fn keep(&mut self, known: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| known(name));
    }
}

/// Milliseconds; 0 for a driver without lease.
pub(super) fn length_ms(driver: &DriverRecord) -> u64 {
    driver.spec.as_ref().and_then(|spec| spec.lease_ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tepui_proto::tepui::operator::DriverSpec;

    use super::*;

    fn driver(generation: u64, state: DriverState, lease_ms: u64) -> DriverRecord {
        DriverRecord {
            spec: Some(DriverSpec { name: Some("d".into()), lease_ms: Some(lease_ms), ..Default::default() }),
            state: state as i32,
            generation,
            ..Default::default()
        }
    }

    #[test]
    fn a_lease_starts_in_full_is_renewed_and_starts_anew_with_each_generation() {
        let mut leases = Leases::default();
        let staging = driver(1, DriverState::DriverStaging, 10_000);
        assert_eq!(leases.until_ms(&staging, 0), Some(30_000));
        assert_eq!(leases.until_ms(&staging, 5_000), Some(30_000), "waiting does not prolong it");
        let running = driver(1, DriverState::DriverRunning, 10_000);
        assert_eq!(leases.until_ms(&running, 6_000), Some(16_000));
        leases.renew(&running, 9_000);
        assert_eq!(leases.until_ms(&running, 9_500), Some(19_000));
        leases.renew(&driver(0, DriverState::DriverRunning, 10_000), 15_000);
        assert_eq!(leases.until_ms(&running, 15_000), Some(19_000), "an older generation renews nothing");
        assert_eq!(leases.until_ms(&driver(2, DriverState::DriverStaging, 10_000), 20_000), Some(50_000));
    }

    #[test]
    fn there_is_none_for_those_who_want_none_or_do_not_run() {
        let mut leases = Leases::default();
        assert_eq!(leases.until_ms(&driver(1, DriverState::DriverRunning, 0), 0), None);
        assert_eq!(leases.until_ms(&driver(1, DriverState::DriverQueued, 10_000), 0), None);
        assert_eq!(leases.until_ms(&driver(1, DriverState::DriverUnreachable, 10_000), 0), None);
    }
}
