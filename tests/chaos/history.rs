//! Are the registers linearizable? Looks at each operation as it is invoked and as it returns, keeps every state in which the register
//! can be by what was seen so far, and says so when there is none left. Pure.
//!
//! This is the search of Wing and Gong with Lowe's order: one register at a time, and an operation takes effect no earlier than somebody
//! must know of it. An operation whose outcome nobody knows may take effect at any later time, or never.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// How many events of a register are told with a contradiction.
const TOLD: usize = 24;
/// So many of the newest places in the log are kept with what was read there.
const FOLLOWED: usize = 1_000;
/// More states than this are not followed: the register is given up, and that is told as a contradiction as well.
const MOST: usize = 20_000;

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Read,
    /// Writes a value of its own over this version.
    Cas {
        expected: u64,
        value: u64,
    },
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// A read found this version and this value; 0 and 0 if the register does not exist.
    Found { version: u64, value: u64 },
    /// A write took effect and gave the register this version.
    Written { version: u64 },
    /// A write found another version than expected: this one.
    Conflict { version: u64 },
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok(Answer),
    /// It certainly has no effect.
    Failed,
    /// It may have an effect, now or later.
    Unknown,
}

/// An operation, within its register.
pub(super) type Id = u64;

/// One way in which the past can have been.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    version: u64,
    value: u64,
    /// Operations that took effect and have not returned, with what they must return.
    done: BTreeMap<Id, Answer>,
}

impl World {
    /// The world after this operation took effect in it.
    fn after(&self, id: Id, action: Action) -> World {
        let mut next = self.clone();
        let answer = match action {
            Action::Read => Answer::Found { version: self.version, value: self.value },
            Action::Cas { expected, value } if expected == self.version => {
                next.version += 1;
                next.value = value;
                Answer::Written { version: next.version }
            }
            Action::Cas { .. } => Answer::Conflict { version: self.version },
        };
        next.done.insert(id, answer);
        next
    }
}

/// One register.
#[derive(Debug)]
struct Register {
    worlds: BTreeSet<World>,
    /// Invoked and not returned, or of unknown outcome.
    open: BTreeMap<Id, Action>,
    unknown: BTreeSet<Id>,
    told: VecDeque<String>,
    given_up: bool,
    /// Versions that reads found, by the place in the log that they showed.
    indexed: BTreeMap<u64, u64>,
}

/// All registers.
#[derive(Debug, Default)]
pub(super) struct Histories {
    registers: BTreeMap<String, Register>,
    next: Id,
    pub(super) violations: Vec<String>,
    pub(super) counts: Counts,
}

/// How operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ok, {} failed, {} unknown", self.ok, self.failed, self.unknown)
    }
}

impl Histories {
    /// An operation is about to be sent.
    pub(super) fn invoke(&mut self, key: &str, action: Action) -> Id {
        self.next += 1;
        let id = self.next;
        let register = self.registers.entry(key.to_owned()).or_default();
        register.open.insert(id, action);
        register.tell(format!("{id} begins {action:?}"));
        id
    }

    /// An operation has ended, or whoever sent it has given up waiting.
    pub(super) fn complete(&mut self, key: &str, id: Id, outcome: Outcome) {
        match outcome {
            Outcome::Ok(_) => self.counts.ok += 1,
            Outcome::Failed => self.counts.failed += 1,
            Outcome::Unknown => self.counts.unknown += 1,
        }
        let Some(register) = self.registers.get_mut(key).filter(|register| !register.given_up) else {
            return;
        };
        register.tell(format!("{id} ends {outcome:?}"));
        let possible = match outcome {
            Outcome::Ok(answer) => register.returned(id, answer),
            Outcome::Failed => register.failed(id),
            Outcome::Unknown => register.unknown(id),
        };
        if let Err(why) = possible {
            register.given_up = true;
            let told = register.told.make_contiguous().join("\n    ");
            self.violations.push(format!("register {key} is not linearizable: {why}\n    {told}"));
        }
    }
}

impl Histories {
    /// A read showed this place in the log and found this version there. Whichever masters answer, versions follow the log.
    pub(super) fn indexed(&mut self, key: &str, index: u64, version: u64) {
        let Some(register) = self.registers.get_mut(key) else { return };
        let before = register.indexed.range(..=index).next_back().map(|(at, version)| (*at, *version));
        let after = register.indexed.range(index..).next().map(|(at, version)| (*at, *version));
        for (at, other) in [before, after].into_iter().flatten() {
            if (at.cmp(&index) != other.cmp(&version)) && (other != version) {
                self.violations.push(format!(
                    "register {key} is at version {other} at index {at} and at version {version} at index {index}"
                ));
            }
        }
        register.indexed.insert(index, version);
        if register.indexed.len() > FOLLOWED {
            register.indexed.pop_first();
        }
    }
}

impl Default for Register {
    fn default() -> Self {
        Register {
            worlds: BTreeSet::from([World::default()]),
            open: BTreeMap::new(),
            unknown: BTreeSet::new(),
            told: VecDeque::new(),
            given_up: false,
            indexed: BTreeMap::new(),
        }
    }
}

impl Register {
    fn tell(&mut self, what: String) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        self.told.push_back(what);
    }

    fn returned(&mut self, id: Id, answer: Answer) -> Result<(), String> {
        self.spread()?;
        let fits = |world: &World| world.done.get(&id) == Some(&answer);
        let mut kept = BTreeSet::new();
        for mut world in std::mem::take(&mut self.worlds).into_iter().filter(fits) {
            world.done.remove(&id);
            kept.insert(world);
        }
        self.worlds = kept;
        self.close(id)
    }

    fn failed(&mut self, id: Id) -> Result<(), String> {
        let mut kept = BTreeSet::new();
        for mut world in std::mem::take(&mut self.worlds) {
            // What would have been a conflict has no effect either.
            if !matches!(world.done.remove(&id), Some(Answer::Written { .. })) {
                kept.insert(world);
            }
        }
        self.worlds = kept;
        self.close(id)
    }

    fn unknown(&mut self, id: Id) -> Result<(), String> {
        if self.open.get(&id) == Some(&Action::Read) {
            return self.failed(id);
        }
        self.unknown.insert(id);
        self.prune();
        Ok(())
    }

    fn close(&mut self, id: Id) -> Result<(), String> {
        self.open.remove(&id);
        self.prune();
        if self.worlds.is_empty() {
            Err("nothing that can have happened explains it".to_owned())
        } else {
            Ok(())
        }
    }

    /// Forgets unknown writes that can have no effect any more.
    fn prune(&mut self) {
        let least = self.worlds.iter().map(|world| world.version).min().unwrap_or_default();
        let over: Vec<Id> = self
            .unknown
            .iter()
            .filter(|id| matches!(self.open.get(id), Some(Action::Cas { expected, .. }) if *expected < least))
            .copied()
            .collect();
        if over.is_empty() {
            return;
        }
        for id in &over {
            self.unknown.remove(id);
            self.open.remove(id);
        }
        let forget = |mut world: World| {
            world.done.retain(|id, _| !over.contains(id));
            world
        };
        self.worlds = std::mem::take(&mut self.worlds).into_iter().map(forget).collect();
    }

    /// Lets open operations take effect in every order.
    fn spread(&mut self) -> Result<(), String> {
        let mut new: Vec<World> = self.worlds.iter().cloned().collect();
        while let Some(world) = new.pop() {
            for (id, action) in self.open.iter().filter(|(id, _)| !world.done.contains_key(*id)) {
                let next = world.after(*id, *action);
                // A conflict of which nobody will ever hear changes nothing.
                let vain = self.unknown.contains(id) && next.version == world.version;
                if !vain && self.worlds.insert(next.clone()) {
                    new.push(next);
                }
            }
            if self.worlds.len() > MOST {
                return Err("too many states to follow".to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
