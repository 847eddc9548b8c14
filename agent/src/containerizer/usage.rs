//! What the processes of containers use, read from /proc. Owns what belongs to a container and how often it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::supervise::processes::{self, Stat};

/// A look at all processes of the host serves everybody who asks within this time: looks are not cheap, and anybody may ask.
const FRESH: Duration = Duration::from_millis(250);

/// What one container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) processes: u32,
    pub(crate) threads: u32,
    pub(crate) rss_bytes: u64,
    /// Since the start of the container, ended processes included.
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// All processes at one instant.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) taken: SystemTime,
    by_root: BTreeMap<i32, Vec<Stat>>,
    /// Supervisors that were asked for when it was taken: the look is newer than they are.
    sought: BTreeSet<i32>,
}

/// Looks at processes, not too often.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    last: Mutex<Option<(Instant, Arc<Sample>)>>,
}

impl Sampler {
    /// Returns a look that is hardly older than now and not older than any of these supervising processes. Blocking; one look at a
    /// time.
    pub(crate) fn sample(&self, supervisors: BTreeSet<i32>) -> Arc<Sample> {
        // It guards a value that is replaced as a whole.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, sample)) if at.elapsed() < FRESH && sample.covers(&supervisors) => sample.clone(),
            _ => {
                let taken = SystemTime::now();
                let by_root = by_session(processes::all());
                let sample = Arc::new(Sample { taken, by_root, sought: supervisors });
                *last = Some((Instant::now(), sample.clone()));
                sample
            }
        }
    }
}

impl Sample {
    /// Whether it was taken when these were there already. One that it was taken for and that it does not have is gone: that is
    /// no reason to look again.
    fn covers(&self, supervisors: &BTreeSet<i32>) -> bool {
        let has = |pid: &i32| self.by_root.get(pid).is_some_and(|all| all.iter().any(|one| one.pid == *pid));
        supervisors.iter().all(|pid| self.sought.contains(pid) || has(pid))
    }

    /// Returns what a container uses whose supervising process has this id; `None` if that is gone.
    pub(crate) fn of(&self, supervisor: i32) -> Option<Usage> {
        let members = self.members(supervisor)?;
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / ticks_per_second);
        let sum = |what: fn(&Stat) -> u64| members.iter().map(what).fold(0, u64::saturating_add);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Some(Usage {
            processes: small(sum(|stat| u64::from(!stat.zombie))),
            threads: small(sum(|stat| if stat.zombie { 0 } else { stat.threads.into() })),
            rss_bytes: sum(|stat| stat.rss_pages).saturating_mul(page_bytes),
            user: time(sum(|stat| stat.user_ticks)),
            system: time(sum(|stat| stat.system_ticks)),
        })
    }

    /// The processes of a container are those of its supervisor's session and those below any of them: whatever a command
    /// leaves behind becomes a child of its supervisor.
    fn members(&self, supervisor: i32) -> Option<Vec<Stat>> {
        let mut open = vec![supervisor];
        let mut members: BTreeMap<i32, Stat> = BTreeMap::new();
        while let Some(root) = open.pop() {
            for stat in self.by_root.get(&root).into_iter().flatten() {
                if members.insert(stat.pid, *stat).is_none() && stat.pid != root {
                    open.push(stat.pid);
                }
            }
        }
        members.get(&supervisor)?;
        Some(members.into_values().collect())
    }
}

/// Puts every process under the leader of its session and under its parent.
fn by_session(all: Vec<Stat>) -> BTreeMap<i32, Vec<Stat>> {
    let mut by_root: BTreeMap<i32, Vec<Stat>> = BTreeMap::new();
    for stat in all {
        by_root.entry(stat.session).or_default().push(stat);
        if stat.parent != stat.session {
            by_root.entry(stat.parent).or_default().push(stat);
        }
    }
    by_root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: i32, parent: i32, session: i32) -> Stat {
        Stat {
            pid,
            parent,
            session,
            start_time: 1,
            zombie: false,
            user_ticks: 100,
            system_ticks: 50,
            threads: 2,
            rss_pages: 10,
        }
    }

    #[test]
    fn a_container_is_a_session_and_what_is_below_it() {
        let all = vec![
            stat(10, 1, 10),
            stat(11, 10, 10),
            // Left the session, and its child, too.
            stat(12, 11, 12),
            stat(13, 12, 12),
            Stat { zombie: true, ..stat(14, 10, 10) },
            stat(20, 1, 20),
            stat(21, 20, 20),
        ];
        let sample = Sample { taken: SystemTime::now(), by_root: by_session(all), sought: BTreeSet::new() };
        let usage = sample.of(10).unwrap();
        assert_eq!((usage.processes, usage.threads), (4, 8));
        assert_eq!(usage.rss_bytes, 50 * u64::try_from(rustix::param::page_size()).unwrap());
        assert_eq!(usage.user, 2 * usage.system);
        assert_eq!(sample.of(20).unwrap().processes, 2);
        assert_eq!(sample.of(30), None);
    }

    #[test]
    fn a_look_serves_everybody_for_a_while() {
        let sampler = Sampler::default();
        let first = sampler.sample(BTreeSet::new());
        assert!(Arc::ptr_eq(&first, &sampler.sample(BTreeSet::new())));
        let own = std::process::id().cast_signed();
        assert!(first.by_root.values().flatten().any(|stat| stat.pid == own && stat.rss_pages > 0));
    }

    #[test]
    fn a_look_is_not_older_than_what_is_asked_for() {
        let found = |supervisors: &[i32], sought: &[i32]| {
            let by_root = by_session(vec![stat(10, 1, 10), stat(11, 10, 10)]);
            let sought = sought.iter().copied().collect();
            let sample = Sample { taken: SystemTime::now(), by_root, sought };
            sample.covers(&supervisors.iter().copied().collect())
        };
        assert!(found(&[], &[]) && found(&[10], &[]));
        // It came later, or it does not stand by a container.
        assert!(!found(&[10, 20], &[]) && !found(&[11], &[]));
        // It was gone when it was looked for.
        assert!(found(&[10, 20], &[20]));
        let sampler = Sampler {
            last: Mutex::new(Some((
                Instant::now(),
                Arc::new(Sample {
                    taken: SystemTime::now(),
                    by_root: BTreeMap::new(),
                    sought: BTreeSet::new(),
                }),
            ))),
        };
        // No process has this id, so that only having looked for it counts.
        let sample = sampler.sample(BTreeSet::from([i32::MAX]));
        assert!(!sample.by_root.is_empty());
        assert!(Arc::ptr_eq(&sample, &sampler.sample(BTreeSet::from([i32::MAX]))));
    }
}
