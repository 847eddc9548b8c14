//! The replicated log between the masters: who leads, what travels between the replicas, what is committed. The rules are those of Raft;
//! elections happen at one moment, with the votes of those that can be reached. An entry is committed when a majority has it on the
//! disk, never before.

use std::collections::BTreeMap;
use std::rc::Rc;

use tepui_scheduler_core::{Envelope, Operation};

use super::agenda::{MS, Micros, SECOND};
use super::event::Event;
use super::log::{Entry, Image, Members, Payload};
use super::network::Place;
use super::world::World;

/// A leader without contact to a majority steps down after this time.
const CONTACT_TIMEOUT: Micros = SECOND;
/// Between two looks of the log's supervision.
const RAFT_INTERVAL: Micros = 25 * MS;
/// Whoever has heard of a leader this long ago elects nobody else.
const LEASE: Micros = 150 * MS;
/// What was sent and not confirmed is sent again after this time.
const RESEND: Micros = 60 * MS;
/// How far back a leader goes when another log differs from its own.
const STEP_BACK: usize = 8;
/// Most entries in one message.
const MOST_ENTRIES: usize = 64;

/// What a leader knows of another replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Entries that were sent, and those that are on its disk.
    next: usize,
    pub(crate) matched: usize,
    sent_at: Micros,
    /// How much it was told to be committed.
    told: usize,
}

/// What one replica tells another.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Append {
        before: usize,
        before_term: u64,
        entries: Vec<Rc<Entry>>,
        committed: usize,
    },
    Install(Rc<Image>),
    /// So many entries are on the disk.
    Have(usize),
    /// There is nothing to put it behind; the log ends here.
    Missing {
        before: usize,
        length: usize,
    },
    /// Somebody else has a higher term.
    Newer,
}

/// Who leads by the rules of the log, with what it knows of the others.
#[derive(Clone, Debug)]
pub(crate) struct Lead {
    pub(crate) term: u64,
    pub(crate) progress: BTreeMap<usize, Progress>,
    armed: bool,
}

impl Message {
    /// For the trace.
    pub(crate) fn word(&self) -> u64 {
        match self {
            Message::Append { entries, .. } => 1 << 4 | entries.len() as u64,
            Message::Install(_) => 2,
            Message::Have(_) => 3,
            Message::Missing { .. } => 4,
            Message::Newer => 5,
        }
    }
}

impl World {
    /// A node that takes part at this moment.
    pub(crate) fn awake(&self, node: usize) -> bool {
        self.nodes[node].up && self.nodes[node].paused_until <= self.now
    }

    pub(crate) fn connected(&self, one: usize, other: usize) -> bool {
        one == other
            || (self.network.reaches(Place::Master(one), Place::Master(other))
                && self.network.reaches(Place::Master(other), Place::Master(one)))
    }

    /// Whether these are more than half of the members.
    fn is_majority(members: &Members, mut who: impl FnMut(usize) -> bool) -> bool {
        members.iter().filter(|one| who(**one)).count() * 2 > members.len()
    }

    pub(crate) fn has_majority(&self, node: usize) -> bool {
        let members = self.nodes[node].log.members().0;
        self.awake(node) && Self::is_majority(members, |one| self.awake(one) && self.connected(node, one))
    }

    pub(crate) fn raft(&mut self) -> Result<(), String> {
        self.after(RAFT_INTERVAL, Event::Raft);
        for node in 0..self.nodes.len() {
            if self.awake(node) && self.nodes[node].lead.is_some() {
                self.keep_lead(node)?;
            }
        }
        self.maybe_elect()?;
        self.replace_a_master();
        self.propose_late();
        Ok(())
    }

    /// What an earlier leadership wanted, committed or not, reaches the log of a later one, as if it had waited somewhere. The log takes
    /// it; only the epoch tells that it must not count.
    fn propose_late(&mut self) {
        if self.late.is_empty() || !self.chance.percent(5) {
            return;
        }
        let Some(leader) = self.serving_node() else { return };
        let epoch = self.nodes[leader].registry.epoch;
        let takes_lead = |envelope: &Envelope| matches!(envelope.operation, Some(Operation::TakeLead(_)));
        if let Some(envelope) = self.late.pop()
            && envelope.epoch < epoch
            && !takes_lead(&envelope)
        {
            self.report.count("proposal of an earlier leadership");
            self.append(leader, Payload::Command(envelope));
        }
    }

    fn keep_lead(&mut self, node: usize) -> Result<(), String> {
        let Some(term) = self.nodes[node].lead.as_ref().map(|lead| lead.term) else { return Ok(()) };
        let mut others: Members = self.nodes[node].log.members().0.clone();
        others.extend(self.replacement.iter().filter_map(|one| one.new));
        others.remove(&node);
        let mut replaced = false;
        for other in others.iter().copied() {
            if !self.awake(other) || !self.connected(node, other) {
                continue;
            }
            let log = &self.nodes[other].log;
            replaced |= log.term > term;
            if log.term <= term {
                self.nodes[other].heard_at = self.now;
            }
            self.resend(node, other);
        }
        if self.has_majority(node) {
            self.nodes[node].contact_at = self.now;
            self.nodes[node].heard_at = self.now;
        }
        // One that was voted out goes on until that is committed.
        let out = {
            let log = &self.nodes[node].log;
            let (members, at) = log.members();
            !members.contains(&node) && at <= log.committed
        };
        let silent = self.now.saturating_sub(self.nodes[node].contact_at) > CONTACT_TIMEOUT;
        if replaced || silent || out {
            self.depose(node)?;
        }
        Ok(())
    }

    fn resend(&mut self, node: usize, other: usize) {
        let log_length = self.nodes[node].log.len();
        let committed = self.nodes[node].log.committed;
        let now = self.now;
        let Some(lead) = self.nodes[node].lead.as_mut() else { return };
        let known =
            lead.progress.entry(other).or_insert(Progress { next: log_length, ..Progress::default() });
        let behind = known.matched < log_length || known.told < committed;
        if behind && now.saturating_sub(known.sent_at) > RESEND {
            // One that has confirmed nothing yet has most probably what is committed, and says so if not.
            known.next = if known.matched > 0 { known.matched } else { committed };
            self.send_entries(node, other);
        }
    }

    /// Sends what the other one has not been sent.
    fn send_entries(&mut self, node: usize, other: usize) {
        let now = self.now;
        let found = &mut self.nodes[node];
        let Some(lead) = found.lead.as_mut() else { return };
        let length = found.log.len();
        let known = lead.progress.entry(other).or_insert(Progress { next: length, ..Progress::default() });
        known.sent_at = now;
        let message = match found.log.term_at(known.next) {
            Some(before_term) if known.next >= found.log.base() => {
                let entries = found.log.copy(known.next, MOST_ENTRIES);
                let before = known.next;
                known.next += entries.len();
                known.told = found.log.committed;
                Message::Append { before, before_term, entries, committed: found.log.committed }
            }
            _gone => {
                known.next = found.log.image.length;
                Message::Install(Rc::new(found.log.image.clone()))
            }
        };
        self.send_to_peer(node, other, message);
    }

    /// Messages between replicas are lost, late, overtaken, and come twice.
    fn send_to_peer(&mut self, from: usize, to: usize, message: Message) {
        if !self.network.reaches(Place::Master(from), Place::Master(to)) {
            return;
        }
        let term = self.nodes[from].log.term;
        let life = self.nodes[to].life;
        let copies = match self.chance.between(1, 100) {
            1 if self.faulty => 0,
            2 | 3 if self.faulty => 2,
            _once => 1,
        };
        match copies {
            0 => self.report.count("message lost"),
            2 => self.report.count("message twice"),
            _once => {}
        }
        for _ in 0..copies {
            let delay = self.latency();
            if delay > 20 * MS {
                self.report.count("message late");
            }
            let message = Box::new(message.clone());
            self.after(delay, Event::Peer { from, to, life, term, message });
        }
    }

    pub(crate) fn peer_hears(
        &mut self,
        from: usize,
        to: usize,
        life: u64,
        term: u64,
        message: Message,
    ) -> Result<(), String> {
        if !self.nodes[to].up || self.nodes[to].life != life {
            return Ok(());
        }
        if !self.awake(to) {
            let until = self.nodes[to].paused_until;
            let message = Box::new(message);
            self.agenda.push(until, Event::Peer { from, to, life, term, message });
            return Ok(());
        }
        let own = self.nodes[to].log.term;
        if term < own {
            if matches!(message, Message::Append { .. } | Message::Install(_)) {
                self.send_to_peer(to, from, Message::Newer);
            }
            return Ok(());
        }
        if term > own {
            self.see_term(to, term)?;
        }
        match message {
            Message::Append { before, before_term, entries, committed } => {
                self.nodes[to].heard_at = self.now;
                let log = &mut self.nodes[to].log;
                let length = log.len();
                let taken =
                    log.take(before, before_term, &entries).map_err(|what| format!("master {to}: {what}"))?;
                if !taken {
                    self.send_to_peer(to, from, Message::Missing { before, length });
                    return Ok(());
                }
                let log = &mut self.nodes[to].log;
                log.committed = log.committed.max(committed.min(log.agreed));
                if log.synced == log.len() || mutant!("acknowledge-before-sync") {
                    self.tell_what_it_has(to, from);
                }
                self.sync(to);
                self.apply(to)
            }
            Message::Install(image) => {
                self.nodes[to].heard_at = self.now;
                if image.length <= self.nodes[to].log.committed {
                    self.tell_what_it_has(to, from);
                    return Ok(());
                }
                self.report.count("snapshot sent");
                let mut image = Image::clone(&image);
                image.registry = super::masters::through_snapshot(&image.registry)
                    .map_err(|what| format!("the snapshot for master {to}: {what}"))?;
                let found = &mut self.nodes[to];
                found.registry = image.registry.clone();
                found.applied = image.length;
                found.log.install(image);
                self.tell_what_it_has(to, from);
                Ok(())
            }
            Message::Have(length) => {
                if let Some(lead) = self.nodes[to].lead.as_mut() {
                    let known = lead.progress.entry(from).or_default();
                    known.matched = known.matched.max(length);
                    known.next = known.next.max(length);
                }
                self.advance(to)
            }
            Message::Missing { before, length } => {
                if let Some(lead) = self.nodes[to].lead.as_mut() {
                    let known = lead.progress.entry(from).or_default();
                    known.next = known.matched.max(length.min(before.saturating_sub(STEP_BACK)));
                    self.send_entries(to, from);
                }
                Ok(())
            }
            Message::Newer => Ok(()),
        }
    }

    /// A higher term: whatever this one led is over, and what it has is not known to be the new leader's.
    fn see_term(&mut self, node: usize, term: u64) -> Result<(), String> {
        let log = &mut self.nodes[node].log;
        log.term = term;
        log.agreed = log.committed;
        if self.nodes[node].lead.is_some() {
            self.depose(node)?;
        }
        Ok(())
    }

    fn tell_what_it_has(&mut self, node: usize, leader: usize) {
        let log = &self.nodes[node].log;
        let sound = if mutant!("acknowledge-before-sync") { log.len() } else { log.synced };
        let have = sound.min(log.agreed);
        self.send_to_peer(node, leader, Message::Have(have));
    }

    /// Begins to write to the disk what is not there yet; one write at a time.
    fn sync(&mut self, node: usize) {
        let slow = self.nodes[node].slow_disk_until > self.now;
        let log = &mut self.nodes[node].log;
        if log.syncing || log.synced == log.len() {
            return;
        }
        log.syncing = true;
        let (length, cuts) = (log.len(), log.cuts);
        let time =
            if slow { self.chance.between(50 * MS, 400 * MS) } else { self.chance.between(100, 3 * MS) };
        let life = self.nodes[node].life;
        if std::mem::take(&mut self.nodes[node].doomed) {
            let early = self.chance.between(0, time);
            self.after(early, Event::PowerLoss { node, life });
        }
        self.after(time, Event::Synced { node, life, length, cuts });
    }

    pub(crate) fn synced(&mut self, node: usize, life: u64, length: usize, cuts: u64) -> Result<(), String> {
        let found = &mut self.nodes[node];
        if !found.up || found.life != life {
            return Ok(());
        }
        if found.log.cuts == cuts {
            found.log.syncing = false;
            found.log.synced = found.log.synced.max(length);
        }
        self.sync(node);
        if self.nodes[node].lead.is_some() {
            return self.advance(node);
        }
        let term = self.nodes[node].log.term;
        let leader = (0..self.nodes.len())
            .find(|one| self.nodes[*one].lead.as_ref().is_some_and(|lead| lead.term == term));
        if let Some(leader) = leader {
            self.tell_what_it_has(node, leader);
        }
        Ok(())
    }

    /// Commits what a majority has on its disks.
    fn advance(&mut self, node: usize) -> Result<(), String> {
        let found = &self.nodes[node];
        let Some(lead) = &found.lead else { return Ok(()) };
        let members = found.log.members().0;
        let mut have: Vec<usize> = members
            .iter()
            .map(|one| match *one == node {
                true => found.log.synced,
                false => lead.progress.get(one).map_or(0, |known| known.matched),
            })
            .collect();
        have.sort_unstable_by(|one, other| other.cmp(one));
        let length = have.get(have.len() / 2).copied().unwrap_or_default();
        let own = found.log.term_at(length) == Some(lead.term) || mutant!("commit-of-another-term");
        if length <= found.log.committed || !own {
            return Ok(());
        }
        self.nodes[node].log.committed = length;
        self.arm_replication(node);
        self.apply(node)
    }

    fn arm_replication(&mut self, node: usize) {
        let life = self.nodes[node].life;
        if let Some(lead) = self.nodes[node].lead.as_mut()
            && !lead.armed
        {
            lead.armed = true;
            self.after(100, Event::Replicate { node, life });
        }
    }

    pub(crate) fn replicate(&mut self, node: usize, life: u64) -> Result<(), String> {
        if self.nodes[node].life != life {
            return Ok(());
        }
        let Some(lead) = self.nodes[node].lead.as_mut() else { return Ok(()) };
        lead.armed = false;
        if self.awake(node) {
            let mut others = self.nodes[node].log.members().0.clone();
            others.extend(self.replacement.iter().filter_map(|one| one.new));
            others.remove(&node);
            for other in others {
                self.send_entries(node, other);
            }
        }
        Ok(())
    }

    /// Takes an entry into the leader's log, if this one leads.
    pub(crate) fn append(&mut self, node: usize, payload: Payload) -> bool {
        if self.nodes[node].lead.is_none() {
            return false;
        }
        self.nodes[node].log.push(payload);
        self.sync(node);
        self.arm_replication(node);
        true
    }

    fn maybe_elect(&mut self) -> Result<(), String> {
        let deaf = |node: &usize| {
            let found = &self.nodes[*node];
            let votes = found.log.members().0.contains(node);
            votes && self.awake(*node) && self.now.saturating_sub(found.heard_at) > LEASE
        };
        let candidates: Vec<usize> = (0..self.nodes.len()).filter(deaf).collect();
        // On the average an election takes three looks more.
        if candidates.is_empty() || !self.chance.percent(30) {
            return Ok(());
        }
        let node = candidates[self.chance.index(candidates.len())];
        let members = self.nodes[node].log.members().0.clone();
        let last = self.nodes[node].log.last();
        let grants = |one: usize| {
            let found = &self.nodes[one];
            let deaf = one == node || self.now.saturating_sub(found.heard_at) > LEASE;
            let newer = found.log.last() > last && !mutant!("elect-anybody");
            self.awake(one) && self.connected(node, one) && deaf && !newer
        };
        if !Self::is_majority(&members, grants) {
            return Ok(());
        }
        let voters: Vec<usize> = members.iter().copied().filter(|one| grants(*one)).collect();
        let highest = voters.iter().map(|one| self.nodes[*one].log.term).max().unwrap_or_default();
        let term = highest.max(self.nodes[node].log.term) + 1;
        if let Some(other) = self.checks.leaders.insert(term, node) {
            return Err(format!("masters {other} and {node} were both elected for term {term}"));
        }
        for one in voters.into_iter().chain([node]) {
            if self.nodes[one].log.term < term {
                self.see_term(one, term)?;
            }
            self.nodes[one].heard_at = self.now;
        }
        self.note(|| format!("master {node} is elected for term {term}"));
        self.report.leaderships += 1;
        let known = self.checks.committed.len();
        if let Some(entry) = self.checks.committed.last()
            && self.nodes[node].log.term_at(known) != Some(entry.term)
        {
            return Err(format!("master {node} leads and does not have the {known} committed entries"));
        }
        let found = &mut self.nodes[node];
        found.lead = Some(Lead { term, progress: BTreeMap::new(), armed: false });
        found.contact_at = self.now;
        self.append(node, Payload::Blank);
        Ok(())
    }
}
