//! How many executors there are, and how many there should be. Pure, with the time as an argument.
//!
//! A task counts while it is connected, or may still connect: it is on its way up, or it ran when a new driver took over and has
//! not come back yet. Task ids are never used twice.

use std::collections::{BTreeMap, BTreeSet};

use tepui_sdk::v1::TaskState;

/// A launched task that has not connected after this time is given up.
const STARTUP_MS: u64 = 60_000;
/// The same for a task that is said to run. Connected executors find a new driver within a second or two.
const ABSENCE_MS: u64 = 5_000;

#[derive(Clone, Debug)]
struct Member {
    agent: Option<String>,
    running: bool,
    /// Since when it is in this state and not connected.
    since_ms: u64,
    killed: bool,
}

/// A task that has to be killed, and its agent if it is known.
pub(super) type Victim = (String, Option<String>);

/// The executors of one job, as this driver generation knows them.
#[derive(Debug)]
pub(super) struct Fleet {
    job: String,
    generation: u64,
    wanted: u32,
    launched: u64,
    members: BTreeMap<String, Member>,
    connected: BTreeSet<String>,
}

impl Fleet {
    pub(super) fn new(job: &str, generation: u64, wanted: u32) -> Self {
        let (members, connected) = (BTreeMap::new(), BTreeSet::new());
        Self { job: job.to_owned(), generation, wanted, launched: 0, members, connected }
    }

    /// Takes what the master says about a task.
    pub(super) fn on_status(&mut self, now_ms: u64, task: &str, agent: Option<String>, state: TaskState) {
        if state.is_terminal() || state.is_unreachable() || state == TaskState::TaskUnknown {
            self.members.remove(task);
            return;
        }
        let running = state == TaskState::TaskRunning;
        let fresh = Member { agent: agent.clone(), running, since_ms: now_ms, killed: false };
        let member = self.members.entry(task.to_owned()).or_insert(fresh);
        member.agent = agent.or(member.agent.take());
        if running && !member.running {
            member.running = true;
            member.since_ms = now_ms;
        }
    }

    /// Takes who is connected now.
    pub(super) fn on_connected(&mut self, now_ms: u64, executors: impl IntoIterator<Item = String>) {
        let connected: BTreeSet<String> = executors.into_iter().collect();
        for gone in self.connected.difference(&connected) {
            if let Some(member) = self.members.get_mut(gone) {
                member.since_ms = now_ms;
            }
        }
        self.connected = connected;
    }

    /// Takes a launch that had no effect.
    pub(super) fn on_not_launched(&mut self, task: &str) {
        self.members.remove(task);
    }

    /// Returns how many executors have to be launched.
    pub(super) fn missing(&self, now_ms: u64) -> u32 {
        let expected = self
            .members
            .iter()
            .filter(|(task, member)| {
                !self.connected.contains(*task) && !member.killed && !is_overdue(member, now_ms)
            })
            .count();
        let there = u32::try_from(self.connected.len() + expected).unwrap_or(u32::MAX);
        self.wanted.saturating_sub(there)
    }

    /// Returns the tasks that have to be killed: those that never came, and connected ones beyond the wanted number. Each is
    /// returned once.
    pub(super) fn surplus(&mut self, now_ms: u64) -> Vec<Victim> {
        let excess = self.connected.len().saturating_sub(self.wanted as usize);
        let beyond: BTreeSet<String> = self.connected.iter().rev().take(excess).cloned().collect();
        let connected = &self.connected;
        let doomed = |task: &String, member: &Member| {
            !member.killed
                && (beyond.contains(task) || (!connected.contains(task) && is_overdue(member, now_ms)))
        };
        let mut victims = Vec::new();
        for (task, member) in &mut self.members {
            if doomed(task, member) {
                member.killed = true;
                victims.push((task.clone(), member.agent.clone()));
            }
        }
        victims
    }

    /// Returns the id of an executor that is being launched on `agent`.
    pub(super) fn launch(&mut self, now_ms: u64, agent: Option<String>) -> String {
        self.launched += 1;
        let task = format!("{}-x{}-{}", self.job, self.generation, self.launched);
        self.members.insert(task.clone(), Member { agent, running: false, since_ms: now_ms, killed: false });
        task
    }

    /// Returns how many executors count on `agent`.
    pub(super) fn on_agent(&self, agent: &str) -> u32 {
        let there = self.members.values().filter(|m| !m.killed && m.agent.as_deref() == Some(agent)).count();
        u32::try_from(there).unwrap_or(u32::MAX)
    }

    /// Wants no executors any more: none is launched, whatever happens to those that run.
    pub(super) fn retire(&mut self) {
        self.wanted = 0;
    }

    /// Returns every task that may still run.
    pub(super) fn all(&self) -> Vec<Victim> {
        self.members.iter().map(|(task, member)| (task.clone(), member.agent.clone())).collect()
    }

    pub(super) fn wanted(&self) -> u32 {
        self.wanted
    }
}

fn is_overdue(member: &Member, now_ms: u64) -> bool {
    let limit = if member.running { ABSENCE_MS } else { STARTUP_MS };
    now_ms.saturating_sub(member.since_ms) >= limit
}

#[cfg(test)]
mod tests {
    use TaskState::*;

    use super::*;

    fn connect(fleet: &mut Fleet, now_ms: u64, executors: &[&str]) {
        fleet.on_connected(now_ms, executors.iter().map(|e| (*e).to_owned()));
    }

    fn names(victims: Vec<Victim>) -> Vec<String> {
        victims.into_iter().map(|(task, _)| task).collect()
    }

    #[test]
    fn launches_what_is_missing_and_never_reuses_a_name() {
        let mut fleet = Fleet::new("job", 3, 2);
        assert_eq!(fleet.missing(0), 2);
        assert_eq!(fleet.launch(0, Some("a1".into())), "job-x3-1");
        assert_eq!(fleet.launch(0, Some("a2".into())), "job-x3-2");
        assert_eq!((fleet.missing(1), fleet.on_agent("a1")), (0, 1));
        fleet.on_status(5, "job-x3-1", None, TaskFailed);
        assert_eq!(fleet.missing(5), 1);
        assert_eq!(fleet.launch(6, Some("a1".into())), "job-x3-3");
        fleet.on_not_launched("job-x3-3");
        assert_eq!(fleet.missing(7), 1);
        assert_eq!(fleet.launch(8, None), "job-x3-4");
    }

    #[test]
    fn executors_of_older_generations_are_waited_for_and_used_again() {
        let mut fleet = Fleet::new("job", 2, 2);
        fleet.on_status(0, "job-x1-1", Some("a1".into()), TaskRunning);
        fleet.on_status(0, "job-x1-2", Some("a2".into()), TaskRunning);
        assert_eq!(fleet.missing(ABSENCE_MS - 1), 0);
        connect(&mut fleet, 100, &["job-x1-1"]);
        assert!(fleet.surplus(ABSENCE_MS - 1).is_empty());
        assert_eq!(fleet.missing(ABSENCE_MS), 1, "the other one has not come back");
        assert_eq!(names(fleet.surplus(ABSENCE_MS)), ["job-x1-2"]);
        assert!(fleet.surplus(ABSENCE_MS).is_empty(), "killed once");
    }

    #[test]
    fn a_lost_connection_is_given_time_and_too_many_are_killed() {
        let mut fleet = Fleet::new("job", 1, 1);
        let first = fleet.launch(0, None);
        fleet.on_status(10, &first, Some("a".into()), TaskRunning);
        connect(&mut fleet, 20, &[&first]);
        connect(&mut fleet, 90_000, &[]);
        assert_eq!(fleet.missing(90_001), 0);
        assert_eq!(fleet.missing(90_000 + ABSENCE_MS), 1);
        let second = fleet.launch(100_000, None);
        connect(&mut fleet, 100_001, &[&first, &second]);
        assert_eq!(names(fleet.surplus(100_002)), [second]);
        assert_eq!(fleet.missing(100_002), 0);
    }

    #[test]
    fn a_retired_fleet_launches_nothing() {
        let mut fleet = Fleet::new("job", 1, 2);
        let task = fleet.launch(0, None);
        fleet.retire();
        fleet.on_status(1, &task, None, TaskFinished);
        assert_eq!((fleet.missing(1), fleet.all().len()), (0, 0));
    }

    #[test]
    fn unreachable_tasks_do_not_count_until_they_are_back() {
        let mut fleet = Fleet::new("job", 1, 1);
        let task = fleet.launch(0, None);
        fleet.on_status(0, &task, None, TaskRunning);
        fleet.on_status(1, &task, None, TaskUnreachable);
        assert_eq!(fleet.missing(1), 1);
        fleet.on_status(2, &task, None, TaskRunning);
        assert_eq!(fleet.missing(2), 0);
    }
}
