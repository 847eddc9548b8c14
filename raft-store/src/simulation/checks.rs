//! What must be true, looked at as it happens: one order of commands everywhere, one answer to each, acknowledged is kept, refused never
//! happens, leads are strictly ordered.
//!
//! Owns the account from which everybody is judged: it is written by the first replica that applies something, and everybody else must
//! agree with it. Changes nothing in the run.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::{Command, State};

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The seed of the run.
    pub seed: u64,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: String,
    /// The newest faults before it.
    pub faults: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} at {} ms: {}", self.seed, self.at_ms, self.what)?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n    {fault}"))
    }
}

impl std::error::Error for Violation {}

/// One command, as everybody must have it.
struct Canonical {
    command: Command,
    answer: u64,
    /// Of the state right after it.
    hash: u64,
}

/// See the module head.
#[derive(Default)]
pub(super) struct Checks {
    canonical: BTreeMap<u64, Canonical>,
    attempts: BTreeMap<u64, u64>,
    /// Where each replica is, in the life that is running.
    applied: BTreeMap<u64, (u64, Option<u64>)>,
    refused: BTreeSet<u64>,
    pub(super) highest_acknowledged: Option<u64>,
    leads: BTreeMap<u64, (u64, u64, u64)>,
    pub(super) installs: u64,
    pub(super) broken: Option<String>,
}

impl Checks {
    pub(super) fn fail(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// A process begins with an empty state.
    pub(super) fn begun(&mut self, replica: u64, life: u64) {
        self.applied.insert(replica, (life, None));
        self.leads.remove(&replica);
    }

    fn place(&mut self, replica: u64, life: u64) -> Option<Option<u64>> {
        let (current, at) = self.applied.get(&replica).copied()?;
        (current == life).then_some(at)
    }

    /// A replica applied a command.
    pub(super) fn applied(
        &mut self,
        replica: u64,
        life: u64,
        index: u64,
        command: &Command,
        answer: u64,
        hash: u64,
    ) {
        let Some(before) = self.place(replica, life) else {
            return self.fail(format!("replica {replica} applied entry {index} after its end"));
        };
        if before.is_some_and(|before| before >= index) {
            return self.fail(format!("replica {replica} applied entry {index} after {before:?}"));
        }
        self.applied.insert(replica, (life, Some(index)));
        let from = before.map_or(0, |before| before + 1);
        if let Some((missed, _)) = self.canonical.range(from..index).next() {
            return self.fail(format!("replica {replica} applied entry {index} but not entry {missed}"));
        }
        if self.refused.contains(&command.attempt) {
            let text = format!(
                "entry {index} of replica {replica} is attempt {}, which was refused",
                command.attempt
            );
            return self.fail(text);
        }
        match self.canonical.get(&index) {
            Some(known) if known.command != *command => {
                let text = format!(
                    "replica {replica} has {command:?} as entry {index}, others have {:?}",
                    known.command
                );
                self.fail(text);
            }
            Some(known) if known.answer != answer || known.hash != hash => {
                self.fail(format!("replica {replica} has another state after entry {index} than others"));
            }
            Some(_) => {}
            None => {
                if let Some((last, _)) = self.canonical.last_key_value()
                    && *last > index
                {
                    let text = format!(
                        "replica {replica} applied entry {index}, which others skipped before {last}"
                    );
                    return self.fail(text);
                }
                if let Some(first) = self.attempts.insert(command.attempt, index) {
                    let text =
                        format!("attempt {} is in the log twice: {first} and {index}", command.attempt);
                    return self.fail(text);
                }
                self.canonical.insert(index, Canonical { command: *command, answer, hash });
            }
        }
    }

    /// A replica took over a snapshot.
    pub(super) fn installed(
        &mut self,
        replica: u64,
        life: u64,
        last_index: u64,
        last_command: Option<u64>,
        hash: u64,
    ) {
        self.installs += 1;
        let Some(before) = self.place(replica, life) else {
            return self.fail(format!("replica {replica} installed a snapshot after its end"));
        };
        if before > last_command {
            let text = format!(
                "replica {replica} was at {before:?} and installed a snapshot that ends at {last_command:?}"
            );
            return self.fail(text);
        }
        let newest = self.canonical.range(..=last_index).next_back();
        if newest.map(|(index, _)| *index) != last_command {
            let text = format!(
                "the snapshot of replica {replica} through {last_index} ends with command {last_command:?}, others have {:?}",
                newest.map(|(index, _)| *index)
            );
            return self.fail(text);
        }
        if newest.is_some_and(|(_, canonical)| canonical.hash != hash) {
            let text = format!(
                "the snapshot of replica {replica} through {last_index} holds another state than others had"
            );
            return self.fail(text);
        }
        self.applied.insert(replica, (life, last_command));
    }

    /// A client was told that its command took effect. `floor` is what had been acknowledged when it asked.
    pub(super) fn acknowledged(&mut self, command: &Command, index: u64, answer: u64, floor: Option<u64>) {
        if floor.is_some_and(|floor| floor >= index) {
            self.fail(format!("entry {index} was asked for after entry {floor:?} had been acknowledged"));
        }
        match self.canonical.get(&index) {
            None => self.fail(format!("entry {index} was acknowledged, but nobody applied it")),
            Some(known) if known.command != *command => {
                self.fail(format!(
                    "entry {index} was acknowledged as {command:?}, but is {:?}",
                    known.command
                ));
            }
            Some(known) if known.answer != answer => {
                self.fail(format!("entry {index} answered {answer}, others say {}", known.answer));
            }
            Some(_) => {}
        }
        self.highest_acknowledged = self.highest_acknowledged.max(Some(index));
    }

    /// A client was told that its command surely has no effect.
    pub(super) fn refused(&mut self, attempt: u64) {
        if let Some(index) = self.attempts.get(&attempt) {
            self.fail(format!("attempt {attempt} was refused, but is entry {index}"));
        }
        self.refused.insert(attempt);
    }

    /// A client read: `reached` is the last command in the state that it saw, `barrier` what the store told.
    pub(super) fn read(&mut self, reached: Option<u64>, barrier: u64, floor: Option<u64>) {
        if reached < floor || Some(barrier) < floor {
            self.fail(format!("a read saw entry {reached:?} and was told {barrier} after entry {floor:?} had been acknowledged"));
        }
    }

    /// A replica reports to lead.
    pub(super) fn leads(&mut self, replica: u64, term: u64, node_id: u64, serial: u64) {
        let (last_term, last_node, last_serial) = self.leads.get(&replica).copied().unwrap_or_default();
        if node_id != replica
            || serial <= last_serial
            || (last_serial > 0 && (term, node_id) < (last_term, last_node))
        {
            self.fail(format!("replica {replica} leads term {term} with serial {serial} after {last_term} with {last_serial}"));
        }
        self.leads.insert(replica, (term, node_id, serial));
    }

    /// What was applied under a term must have been proposed under that term.
    pub(super) fn fenced(&mut self, index: u64, leader_term: u64) {
        if let Some(known) = self.canonical.get(&index)
            && known.command.term != leader_term
        {
            let text = format!(
                "entry {index} of term {leader_term} took effect, but was proposed under term {}",
                known.command.term
            );
            self.fail(text);
        }
    }

    /// How far a replica is.
    pub(super) fn reached(&self, replica: u64) -> Option<u64> {
        self.applied.get(&replica).and_then(|(_, at)| *at)
    }

    /// The end of the account.
    pub(super) fn last(&self) -> Option<u64> {
        self.canonical.last_key_value().map(|(index, _)| *index)
    }

    /// Does everything again from the beginning and compares each answer.
    pub(super) fn replay(&mut self) {
        let mut state = State::default();
        let mut wrong = None;
        for (index, known) in &self.canonical {
            let answer = state.apply(*index, &known.command);
            if answer != known.answer || state.hash() != known.hash {
                wrong = Some(*index);
                break;
            }
        }
        if let Some(index) = wrong {
            self.fail(format!("entry {index} answers differently when everything is done again"));
        }
        if self.highest_acknowledged > self.last() {
            self.fail(format!(
                "entry {:?} was acknowledged, the log ends with {:?}",
                self.highest_acknowledged,
                self.last()
            ));
        }
    }
}
