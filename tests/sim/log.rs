//! The log of one replica: what it has taken in, what of that is on its disk, and what a crash leaves. Entries are told apart by the term
//! in which they were proposed. Refuses to cut off what it knows to be committed.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use tepui_scheduler_core::{Envelope, Registry};

use super::Chance;

/// The masters that vote, by number.
pub(crate) type Members = BTreeSet<usize>;

/// One entry, shared by all replicas that have it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) term: u64,
    pub(crate) payload: Payload,
}

#[derive(Debug)]
pub(crate) enum Payload {
    /// Begins a leadership.
    Blank,
    Command(Rc<Envelope>),
    /// Who votes from here on, committed or not.
    Members(Members),
}

/// A snapshot: the state after `length` entries.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) length: usize,
    pub(crate) term: u64,
    pub(crate) members: Members,
    pub(crate) registry: Registry,
}

/// What a crash did to a log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    pub(crate) entries: usize,
    /// The first lost entry was written in part.
    pub(crate) torn: bool,
}

#[derive(Debug)]
pub(crate) struct ReplicaLog {
    pub(crate) image: Image,
    /// Entries before the first that is kept, and the term of the last of these.
    base: (usize, u64),
    entries: VecDeque<Rc<Entry>>,
    /// Entries that are on the disk for good.
    pub(crate) synced: usize,
    /// Raised whenever entries were cut off: a write that began before says nothing about what is there now.
    pub(crate) cuts: u64,
    /// A write is under way.
    pub(crate) syncing: bool,
    /// Highest term that was seen; on the disk before anybody is answered.
    pub(crate) term: u64,
    pub(crate) committed: usize,
    /// So many entries are known to be those of the leader of this term.
    pub(crate) agreed: usize,
    /// Something on the disk is not what was written there.
    pub(crate) damaged: bool,
}

impl ReplicaLog {
    pub(crate) fn new(members: Members) -> Self {
        ReplicaLog {
            image: Image { length: 0, term: 0, members, registry: Registry::default() },
            base: (0, 0),
            entries: VecDeque::new(),
            synced: 0,
            cuts: 0,
            syncing: false,
            term: 0,
            committed: 0,
            agreed: 0,
            damaged: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.base.0 + self.entries.len()
    }

    pub(crate) fn base(&self) -> usize {
        self.base.0
    }

    /// The entry behind `index` others.
    pub(crate) fn get(&self, index: usize) -> Option<&Rc<Entry>> {
        self.entries.get(index.checked_sub(self.base.0)?)
    }

    /// Term of the last of the first `length` entries; nothing if that is not known any more, or not yet.
    pub(crate) fn term_at(&self, length: usize) -> Option<u64> {
        if length == self.base.0 { Some(self.base.1) } else { Some(self.get(length.checked_sub(1)?)?.term) }
    }

    /// What decides who may lead.
    pub(crate) fn last(&self) -> (u64, usize) {
        (self.term_at(self.len()).unwrap_or_default(), self.len())
    }

    /// Who votes, by the last word in the log, and how many entries there were with it.
    pub(crate) fn members(&self) -> (&Members, usize) {
        for (place, entry) in self.entries.iter().enumerate().rev() {
            if let Payload::Members(members) = &entry.payload {
                return (members, self.base.0 + place + 1);
            }
        }
        (&self.image.members, self.image.length)
    }

    /// Who voted after `length` entries.
    fn members_at(&self, length: usize) -> Members {
        let known = self.entries.iter().take(length.saturating_sub(self.base.0)).rev();
        let mut named = known.filter_map(|entry| match &entry.payload {
            Payload::Members(members) => Some(members),
            Payload::Blank | Payload::Command(_) => None,
        });
        named.next().unwrap_or(&self.image.members).clone()
    }

    pub(crate) fn push(&mut self, payload: Payload) {
        self.entries.push_back(Rc::new(Entry { term: self.term, payload }));
        self.agreed = self.len();
    }

    /// A copy of up to `most` entries behind the first `from`.
    pub(crate) fn copy(&self, from: usize, most: usize) -> Vec<Rc<Entry>> {
        self.entries.iter().skip(from.saturating_sub(self.base.0)).take(most).cloned().collect()
    }

    /// Takes in what a leader sent to go behind the first `before` entries, whether or not it is there already; false if what is before
    /// is not the same.
    ///
    /// # Errors
    /// Something that is committed would have to go.
    pub(crate) fn take(&mut self, before: usize, term: u64, entries: &[Rc<Entry>]) -> Result<bool, String> {
        if before > self.len() || (before >= self.base.0 && self.term_at(before) != Some(term)) {
            return Ok(false);
        }
        for (place, entry) in entries.iter().enumerate() {
            let length = before + place + 1;
            if length <= self.base.0 {
                continue;
            }
            if let Some(known) = self.term_at(length)
                && length <= self.len()
            {
                if known == entry.term {
                    continue;
                }
                self.cut(length - 1)?;
            }
            self.entries.push_back(Rc::clone(entry));
        }
        self.agreed = self.agreed.max(before + entries.len());
        Ok(true)
    }

    fn cut(&mut self, length: usize) -> Result<(), String> {
        if length < self.committed {
            return Err(format!("{} entries are committed, all behind {length} are cut off", self.committed));
        }
        self.entries.truncate(length - self.base.0);
        self.synced = self.synced.min(length);
        self.agreed = self.agreed.min(length);
        self.cuts += 1;
        self.syncing = false;
        Ok(())
    }

    /// The state after `length` entries is on the disk; entries that nobody needs any more go.
    pub(crate) fn compact(&mut self, length: usize, registry: Registry, kept: usize) {
        let term = self.term_at(length).unwrap_or_default();
        self.image = Image { length, term, members: self.members_at(length), registry };
        while self.base.0 + kept < length {
            let Some(first) = self.entries.pop_front() else { break };
            self.base = (self.base.0 + 1, first.term);
        }
    }

    /// Begins anew with somebody else's state.
    pub(crate) fn install(&mut self, image: Image) {
        self.base = (image.length, image.term);
        self.entries.clear();
        self.synced = image.length;
        self.committed = image.length;
        self.agreed = image.length;
        self.cuts += 1;
        self.syncing = false;
        self.image = image;
    }

    /// The process ends; with `power`, what was not synced may be gone.
    pub(crate) fn crash(&mut self, power: bool, chance: &mut Chance) -> Lost {
        let mut lost = Lost::default();
        let open = self.len().saturating_sub(self.synced);
        if power && open > 0 {
            let kept = chance.index(open + 1);
            lost = Lost { entries: open - kept, torn: kept < open && chance.percent(50) };
            // A part of an entry is no entry: whoever starts from this disk cuts it off.
            self.entries.truncate(self.synced + kept - self.base.0);
        }
        self.synced = self.len();
        self.committed = self.image.length;
        self.agreed = self.committed;
        self.cuts += 1;
        self.syncing = false;
        lost
    }

    /// Something on the disk changes by itself: an entry behind the snapshot, if there is one.
    pub(crate) fn damage(&mut self, chance: &mut Chance) {
        let first = self.image.length - self.base.0;
        if first < self.entries.len() {
            let place = first + chance.index(self.entries.len() - first);
            let term = self.entries[place].term;
            self.entries[place] = Rc::new(Entry { term, payload: Payload::Blank });
            self.damaged = true;
        }
    }

    /// The last commands, at most so many.
    pub(crate) fn last_commands(&self, most: usize) -> Vec<Rc<Envelope>> {
        let command = |entry: &Rc<Entry>| match &entry.payload {
            Payload::Command(envelope) => Some(Rc::clone(envelope)),
            Payload::Blank | Payload::Members(_) => None,
        };
        self.entries.iter().rev().filter_map(command).take(most).collect()
    }
}
