//! The run: steps time, begins and ends faults, lets clients ask, and looks at everything after each step.
//!
//! Owns all replicas and models of one run, and the order in which they take their turns. Judges by the checks alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::agenda::{self, Fault, Targets};
use super::checks::{Checks, Violation};
use super::clients::{Clients, Outcome};
use super::dice::Dice;
use super::machine::{SharedChecks, lock};
use super::network::Network;
use super::orders::Orders;
use super::replica::{Replica, peer};
use super::trace::Trace;
use super::{Report, Settings};
use crate::error::OpenError;
use crate::status::{Lead, Leadership};

/// How much longer than the store says a replica may report to lead without a quorum, in milliseconds.
const TOUCH_SLACK_MS: u64 = 250;
/// With everything well, a command that is waited for is decided within this time, in milliseconds.
const STALL_MS: u64 = 3_000;

/// A fault that has begun.
struct Active {
    fault: Fault,
    until: u64,
}

/// See the module head.
pub(super) struct World {
    settings: Settings,
    now: u64,
    pub(super) dice: Dice,
    trace: Trace,
    network: Network,
    pub(super) replicas: BTreeMap<u64, Replica>,
    pub(super) next_id: u64,
    clients: Clients,
    pub(super) checks: SharedChecks,
    pub(super) orders: Arc<Mutex<Orders>>,
    active: Vec<Active>,
    history: Vec<String>,
    next_fault: u64,
    /// Since when nothing is wrong.
    well_since: Option<u64>,
    last_decision: u64,
    pub(super) voters: BTreeSet<u64>,
    pub(super) report: Report,
    pub(super) dir: tempdir::Folder,
}

/// Where snapshots go in this run.
mod tempdir {
    use std::path::PathBuf;

    /// Removed when dropped.
    pub(in crate::simulation) struct Folder(pub(in crate::simulation) PathBuf);

    impl Folder {
        pub(super) fn new() -> Folder {
            // In memory if there is such a place: snapshots are synced, and that is not what is tested here.
            let memory = PathBuf::from("/dev/shm");
            let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
            Folder(base.join(format!("tepui-raft-simulation-{}", uuid::Uuid::new_v4())))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // Left behind at worst.
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}

impl World {
    pub(super) fn new(seed: u64, settings: Settings) -> World {
        let mut dice = Dice::new(seed);
        let count = settings.replicas.unwrap_or_else(|| if dice.percent(70) { 3 } else { 5 });
        let dir = tempdir::Folder::new();
        let replicas =
            (1..=count).map(|id| (id, Replica::new(id, dir.0.join(id.to_string()), dice.number()))).collect();
        World {
            now: 0,
            trace: Trace::new(),
            network: Network::new(dice.number()),
            replicas,
            next_id: count + 1,
            clients: Clients::new(settings.clients, dice.number()),
            checks: Arc::new(Mutex::new(Checks::default())),
            orders: Arc::default(),
            active: Vec::new(),
            history: Vec::new(),
            next_fault: 1_000,
            well_since: None,
            last_decision: 0,
            voters: (1..=count).collect(),
            report: Report { seed, ..Report::default() },
            dice,
            settings,
            dir,
        }
    }

    pub(super) fn run(mut self) -> Result<Report, Violation> {
        let done = self.play();
        self.report.simulated_ms = self.now;
        self.report.trace = self.trace.hash();
        self.report.messages = self.network.arrived;
        self.report.commits = self.replicas.values().map(|r| r.disk.commits()).sum();
        self.report.installs = lock(&self.checks).installs;
        let orders = lock(&self.orders);
        (self.report.hand_overs, self.report.member_changes) = (orders.hand_overs, orders.member_changes);
        drop(orders);
        match done {
            Ok(()) => Ok(self.report),
            Err(what) => {
                let faults = self.history.split_off(self.history.len().saturating_sub(12));
                Err(Violation { seed: self.report.seed, at_ms: self.now, what, faults })
            }
        }
    }

    fn play(&mut self) -> Result<(), String> {
        let ids: Vec<u64> = self.replicas.keys().copied().collect();
        for id in &ids {
            self.start(*id)?;
        }
        let members = ids.iter().map(|id| (*id, peer(*id))).collect();
        let store = self.replicas.get(&1).and_then(|r| r.process.as_ref()).map(|p| p.store.clone());
        if let (Some(store), Some(process)) = (store, self.replicas.get(&1).and_then(|r| r.process.as_ref()))
        {
            process.spawn(async move { drop(store.bootstrap(members).await) });
        }
        while self.now < self.settings.fault_ms {
            self.fate();
            self.step()?;
        }
        self.heal();
        let healed = self.now;
        while !self.is_well() {
            if self.now > healed + self.settings.settle_ms {
                return Err(format!(
                    "not well {} ms after the last fault: {}",
                    self.settings.settle_ms,
                    self.sight()
                ));
            }
            self.step()?;
        }
        self.report.recovered_ms = self.now - healed;
        self.compare_logs()?;
        lock(&self.checks).replay();
        self.verdict()
    }

    fn verdict(&self) -> Result<(), String> {
        lock(&self.checks).broken.clone().map_or(Ok(()), Err)
    }

    /// One millisecond of everything.
    fn step(&mut self) -> Result<(), String> {
        self.now += 1;
        self.restart()?;
        self.network.deliver(self.now);
        self.let_clients_ask();
        for replica in self.replicas.values_mut() {
            replica.step();
        }
        self.network.collect(self.now, &mut self.trace);
        self.hear_outcomes();
        self.look()?;
        self.verdict()
    }

    pub(super) fn start(&mut self, id: u64) -> Result<(), String> {
        let now = self.now;
        let Some(replica) = self.replicas.get_mut(&id) else { return Ok(()) };
        replica.down_until = None;
        let life = replica.next_life();
        lock(&self.checks).begun(id, life);
        let socket = self.network.connect(id, life, &peer(id).peer_addr);
        match replica.start(life, socket, &self.checks) {
            Ok(()) if replica.disk.is_damaged() => Err(format!("replica {id} started on a damaged disk")),
            Ok(()) => {
                self.trace.note(now, "started", &[id, life]);
                Ok(())
            }
            Err(e @ OpenError::Damaged { .. }) if replica.disk.is_damaged() => {
                self.network.disconnect(now, id);
                self.trace.note(now, "refuses", &[id]);
                replica.refuses = Some(e.to_string());
                self.report.damaged += 1;
                Ok(())
            }
            Err(e) => Err(format!("replica {id} does not start: {e}")),
        }
    }

    /// Processes that are due are started again.
    fn restart(&mut self) -> Result<(), String> {
        let due: Vec<u64> = self
            .replicas
            .values()
            .filter(|r| r.down_until.is_some_and(|until| until <= self.now))
            .map(|r| r.id)
            .collect();
        due.into_iter().try_for_each(|id| self.start(id))
    }

    fn crash(&mut self, id: u64, down_ms: u64) {
        let Some(replica) = self.replicas.get_mut(&id) else { return };
        if replica.process.is_none() {
            return;
        }
        self.trace.note(self.now, "crashed", &[id]);
        replica.crash();
        replica.down_until = Some(self.now + down_ms);
        self.network.disconnect(self.now, id);
        self.clients.lost(id);
        self.report.crashes += 1;
    }

    pub(super) fn leading(&self) -> BTreeMap<u64, Lead> {
        let lead = |replica: &Replica| match &*replica.process.as_ref()?.store.leadership().borrow() {
            Leadership::Leading(lead) => Some((replica.id, lead.clone())),
            Leadership::Following { .. } => None,
        };
        self.replicas.values().filter_map(lead).collect()
    }

    fn let_clients_ask(&mut self) {
        let idle = self.clients.idle(self.now);
        if idle.is_empty() {
            return;
        }
        let leading: Vec<(u64, Lead)> = self.leading().into_iter().collect();
        let floor = lock(&self.checks).highest_acknowledged;
        for client in idle {
            let last = u64::try_from(leading.len()).unwrap_or(0).checked_sub(1);
            let Some(last) = last else { return };
            let chosen = usize::try_from(self.dice.between(0, last)).unwrap_or(0);
            let (id, lead) = &leading[chosen];
            let Some(process) = self.replicas.get(id).and_then(|r| r.process.as_ref()) else { continue };
            self.clients.ask(client, self.now, *id, process, lead, floor);
        }
    }

    fn hear_outcomes(&mut self) {
        let mut checks = lock(&self.checks);
        for told in self.clients.told(self.now) {
            let attempt = told.command.map_or(0, |command| command.attempt);
            match (told.outcome, told.command) {
                (Outcome::Done(applied), Some(command)) => {
                    let bytes = applied.answer.first_chunk::<8>().copied().unwrap_or_default();
                    checks.acknowledged(&command, applied.index, u64::from_le_bytes(bytes), told.floor);
                    self.trace.note(self.now, "done", &[told.client.into(), attempt, applied.index]);
                    self.report.acknowledged += 1;
                    self.last_decision = self.now;
                }
                (Outcome::Read(reached, barrier), _) => {
                    checks.read(reached, barrier, told.floor);
                    self.trace.note(self.now, "read", &[told.client.into(), barrier]);
                    self.report.reads += 1;
                }
                (Outcome::Refused(why), Some(_)) => {
                    checks.refused(attempt);
                    self.trace.note(self.now, &why, &[told.client.into(), attempt]);
                    self.report.refused += 1;
                }
                (Outcome::Unknown, Some(_)) => {
                    self.trace.note(self.now, "unknown", &[told.client.into(), attempt]);
                    self.report.unknown += 1;
                }
                _ => {}
            }
        }
    }

    /// Looks at every replica after a step.
    fn look(&mut self) -> Result<(), String> {
        let leading = self.leading();
        let mut ended = Vec::new();
        for replica in self.replicas.values_mut() {
            let Some(process) = &replica.process else { continue };
            let _clock = process.enter();
            let lead = leading.get(&replica.id);
            if let Some(lead) = lead
                && replica.lead != Some(lead.serial)
            {
                lock(&self.checks).leads(replica.id, lead.term, lead.node_id, lead.serial);
                self.trace.note(self.now, "leads", &[replica.id, lead.term, lead.serial]);
                self.report.leads += 1;
            }
            replica.lead = lead.map(|lead| lead.serial);
            if let Some(text) = process.store.fatal().borrow().clone() {
                ended.push((replica.id, text));
            }
            if lead.is_some() && !replica.paused {
                let status = process.store.status();
                let voters: Vec<u64> =
                    status.members.iter().filter(|(_, (_, votes))| *votes).map(|(id, _)| *id).collect();
                // Where two lists count, the shorter way to a quorum of either is taken.
                let quorum = voters.len() / 2;
                let limit = replica.contact_timeout_ms() + TOUCH_SLACK_MS;
                let fresh = voters
                    .iter()
                    .filter(|id| **id != replica.id)
                    .filter_map(|id| self.network.answered.get(&(replica.id, *id)))
                    .filter(|at| self.now.saturating_sub(**at) <= limit)
                    .count();
                if fresh >= quorum || voters.len() != self.voters.len() {
                    replica.out_of_touch_since = None;
                } else if self.now - *replica.out_of_touch_since.get_or_insert(self.now) > TOUCH_SLACK_MS {
                    return Err(format!("replica {} reports to lead without a quorum", replica.id));
                }
            } else {
                replica.out_of_touch_since = None;
            }
            if lead.is_some() {
                let status = process.store.status();
                self.voters = status.members.iter().filter(|(_, (_, v))| *v).map(|(id, _)| *id).collect();
            }
        }
        for (id, text) in ended {
            let excused = self
                .active
                .iter()
                .any(|a| matches!(a.fault, Fault::DiskError(hit) | Fault::DiskFull(hit) if hit == id));
            if !excused {
                return Err(format!("replica {id} cannot go on: {text}"));
            }
            let down = self.dice.between(200, 1_500);
            self.crash(id, down);
        }
        self.look_for_a_stall()
    }

    fn is_calm(&self) -> bool {
        self.active.is_empty()
            && self.network.weather.is_fine()
            && self
                .replicas
                .values()
                .all(|r| r.refuses.is_some() || (r.process.is_some() && !r.paused && !r.disk.has_faults()))
            && lock(&self.orders).under_way == 0
    }

    fn look_for_a_stall(&mut self) -> Result<(), String> {
        if !self.is_calm() {
            self.well_since = None;
            return Ok(());
        }
        let since = *self.well_since.get_or_insert(self.now);
        let quiet = self.now - since.max(self.last_decision);
        if quiet > STALL_MS && self.clients.waiting() > 0 {
            return Err(format!("nothing was decided for {quiet} ms although all is well: {}", self.sight()));
        }
        Ok(())
    }

    /// Ends what is over and begins what is due.
    fn fate(&mut self) {
        let over: Vec<Fault> = self.active.iter().filter(|a| a.until <= self.now).map(|a| a.fault).collect();
        self.active.retain(|a| a.until > self.now);
        for fault in over {
            self.end(fault);
        }
        if self.now < self.next_fault {
            return;
        }
        self.next_fault = self.now + self.dice.between(1, 2 * self.settings.fault_interval_ms);
        // Time to recover now and then, so that there is something to break again.
        if self.dice.percent(4) {
            self.next_fault += 4_000;
        }
        let up: Vec<u64> = self.replicas.values().filter(|r| r.process.is_some()).map(|r| r.id).collect();
        let targets = Targets {
            leader: self.leading().keys().next().copied(),
            may_damage: self.replicas.values().all(|r| !r.disk.is_damaged()),
            voters: self.voters.len(),
            up,
        };
        if let Some((fault, lasts)) = agenda::draw(&mut self.dice, &targets) {
            self.begin(fault, lasts);
        }
    }

    fn begin(&mut self, fault: Fault, lasts: u64) {
        let text = format!("{} ms: {fault:?} for {lasts} ms", self.now);
        self.trace.note(self.now, &text, &[]);
        self.history.push(text);
        self.report.faults += 1;
        let others: Vec<u64> = self.replicas.keys().copied().collect();
        let cut = &mut self.network.weather.cut;
        match fault {
            Fault::Crash(id) => self.crash(id, lasts),
            Fault::CrashAll => {
                for id in others {
                    let more = self.dice.between(0, 300);
                    self.crash(id, lasts + more);
                }
            }
            Fault::Damage(id) => {
                self.crash(id, lasts);
                if let Some(replica) = self.replicas.get(&id) {
                    replica.disk.damage();
                }
            }
            Fault::Pause(id) => self.pause(id, true),
            Fault::Isolate(id) => cut.extend(others.iter().flat_map(|o| [(id, *o), (*o, id)])),
            Fault::Deaf(id) => cut.extend(others.iter().map(|o| (*o, id))),
            Fault::Mute(id) => cut.extend(others.iter().map(|o| (id, *o))),
            Fault::Part(a, b) => cut.extend([(a, b), (b, a)]),
            Fault::Slow(ms) => self.network.weather.slow_ms = ms,
            Fault::Lossy(percent) => self.network.weather.lost = percent,
            Fault::Twice(percent) => self.network.weather.twice = percent,
            Fault::SlowDisk(id, ms) => self.disk(id, |f| f.slow_ms = ms),
            Fault::DiskError(id) => self.disk(id, |f| f.error = true),
            Fault::DiskFull(id) => self.disk(id, |f| f.full = true),
            Fault::HandOver => self.order_hand_over(),
            Fault::Add => self.order_add(),
            Fault::Remove => self.order_remove(),
            Fault::Snapshot(id) => self.order_snapshot(id),
        }
        if lasts > 0 {
            self.active.push(Active { fault, until: self.now + lasts });
        }
    }

    fn end(&mut self, fault: Fault) {
        let weather = &mut self.network.weather;
        match fault {
            Fault::Pause(id) => self.pause(id, false),
            Fault::Isolate(_) | Fault::Deaf(_) | Fault::Mute(_) | Fault::Part(..) => weather.cut.clear(),
            Fault::Slow(_) => weather.slow_ms = 0,
            Fault::Lossy(_) => weather.lost = 0,
            Fault::Twice(_) => weather.twice = 0,
            Fault::SlowDisk(id, _) => self.disk(id, |f| f.slow_ms = 0),
            Fault::DiskError(id) => self.disk(id, |f| f.error = false),
            Fault::DiskFull(id) => self.disk(id, |f| f.full = false),
            Fault::Crash(_) | Fault::CrashAll | Fault::Damage(_) => {}
            Fault::HandOver | Fault::Add | Fault::Remove | Fault::Snapshot(_) => {}
        }
    }

    fn pause(&mut self, id: u64, paused: bool) {
        if let Some(replica) = self.replicas.get_mut(&id)
            && (replica.process.is_some() || !paused)
        {
            replica.paused = paused;
            self.network.pause(id, paused);
        }
    }

    fn disk(&mut self, id: u64, change: impl FnOnce(&mut super::disk::DiskFaults)) {
        if let Some(replica) = self.replicas.get(&id) {
            replica.disk.faults(change);
        }
    }

    /// Everything that can be mended is.
    fn heal(&mut self) {
        for active in std::mem::take(&mut self.active) {
            self.end(active.fault);
        }
        self.history.push(format!("{} ms: all faults end", self.now));
        let ids: Vec<u64> = self.replicas.keys().copied().collect();
        for id in ids {
            self.pause(id, false);
            self.disk(id, |faults| *faults = super::disk::DiskFaults::default());
            let now = self.now;
            if let Some(replica) = self.replicas.get_mut(&id)
                && let Some(until) = &mut replica.down_until
            {
                *until = (*until).min(now + 100);
            }
        }
    }

    /// One leads, and everybody who can has everything.
    fn is_well(&self) -> bool {
        let checks = lock(&self.checks);
        let since = self.now.saturating_sub(500);
        let last = checks.last();
        let all_have = self
            .replicas
            .values()
            .filter(|r| self.voters.contains(&r.id) && r.refuses.is_none())
            .all(|r| r.process.is_some() && checks.reached(r.id) == last);
        self.is_calm() && self.leading().len() == 1 && self.last_decision > since && all_have
    }

    /// All logs agree where they meet, as far as something was applied; what took effect did so in the term it was meant for.
    fn compare_logs(&self) -> Result<(), String> {
        let mut common: BTreeMap<u64, (u64, Vec<u8>)> = BTreeMap::new();
        for replica in self.replicas.values() {
            let reached = lock(&self.checks).reached(replica.id);
            let (_, entries) = replica.disk.entries();
            for (index, bytes) in entries.into_iter().filter(|(index, _)| Some(*index) <= reached) {
                if let Some(entry) = replica.disk.entry(index) {
                    lock(&self.checks).fenced(index, entry.log_id.leader_id.term);
                }
                match common.get(&index) {
                    Some((other, theirs)) if *theirs != bytes => {
                        return Err(format!("entry {index} differs between {other} and {}", replica.id));
                    }
                    Some(_) => {}
                    None => drop(common.insert(index, (replica.id, bytes))),
                }
            }
        }
        Ok(())
    }

    /// For people who look for the cause.
    fn sight(&self) -> String {
        let checks = lock(&self.checks);
        let one = |r: &Replica| match &r.process {
            None => format!("{}: down, {:?}", r.id, r.refuses),
            Some(process) => {
                let s = process.store.status();
                format!(
                    "{}: {} term {} leader {:?} log {:?} committed {:?} applied {:?} snapshot {:?} reached {:?} members {:?}",
                    r.id,
                    s.role,
                    s.term,
                    s.leader,
                    s.last_log_index,
                    s.committed_index,
                    s.applied_index,
                    s.snapshot_index,
                    checks.reached(r.id),
                    s.members.iter().map(|(id, (_, v))| (*id, *v)).collect::<Vec<_>>(),
                )
            }
        };
        let all: Vec<String> = self.replicas.values().map(one).collect();
        format!("last {:?}; {}", checks.last(), all.join("; "))
    }
}
