//! The state machine of the simulated replicas: registers and counters, with a memory of each client's last command, so that a command
//! that is tried again takes effect once.
//!
//! Owns the commands, their effect and their form in a snapshot. Tells the checks whatever it applies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::checks::Checks;
use super::trace::fold;
use crate::codec;
use crate::machine::{Entry, StateMachine};

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Effect {
    /// Sets a register; answers with what was there.
    Set { register: u8, value: u64 },
    /// Adds to a counter; answers with the sum.
    Add { counter: u8, amount: u64 },
}

/// One try of one command of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Command {
    pub(super) client: u32,
    /// Rises with every command of the client, not with every try.
    pub(super) number: u64,
    /// Unique to the try.
    pub(super) attempt: u64,
    /// The term of the lead that it is proposed under.
    pub(super) term: u64,
    pub(super) effect: Effect,
}

impl Command {
    pub(super) fn encode(&self) -> Bytes {
        codec::to_bytes(self).into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Command> {
        codec::from_bytes(bytes).ok()
    }
}

/// The state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    registers: BTreeMap<u8, u64>,
    counters: BTreeMap<u8, u64>,
    /// The newest command of each client, and its answer.
    sessions: BTreeMap<u32, (u64, u64)>,
    /// The last command that was applied.
    pub(super) last_index: Option<u64>,
}

impl State {
    pub(super) fn apply(&mut self, index: u64, command: &Command) -> u64 {
        self.last_index = Some(index);
        if let Some((number, answer)) = self.sessions.get(&command.client)
            && *number >= command.number
        {
            return *answer;
        }
        let answer = match command.effect {
            Effect::Set { register, value } => self.registers.insert(register, value).unwrap_or(0),
            Effect::Add { counter, amount } => {
                let sum = self.counters.entry(counter).or_default();
                *sum = sum.wrapping_add(amount);
                *sum
            }
        };
        self.sessions.insert(command.client, (command.number, answer));
        answer
    }

    pub(super) fn hash(&self) -> u64 {
        fold(0, &codec::to_bytes(self))
    }
}

pub(super) type SharedChecks = Arc<Mutex<Checks>>;

/// One replica's state, in one life of its process.
pub(super) struct Machine {
    replica: u64,
    life: u64,
    state: Arc<Mutex<State>>,
    checks: SharedChecks,
}

impl Machine {
    pub(super) fn new(replica: u64, life: u64, checks: SharedChecks) -> Machine {
        Machine { replica, life, state: Arc::default(), checks }
    }

    /// The state, as it changes.
    pub(super) fn shared(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.state)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StateMachine for Machine {
    type Frozen = State;

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        let mut state = lock(&self.state);
        let mut checks = lock(&self.checks);
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(command) = Command::decode(&entry.command) else {
                checks.fail(format!("replica {} was given bytes that nobody proposed", self.replica));
                answers.push(Bytes::new());
                continue;
            };
            let answer = state.apply(entry.index, &command);
            checks.applied(self.replica, self.life, entry.index, &command, answer, state.hash());
            answers.push(Bytes::copy_from_slice(&answer.to_le_bytes()));
        }
        answers
    }

    fn freeze(&self) -> State {
        lock(&self.state).clone()
    }

    fn write_snapshot(frozen: &State, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&codec::to_bytes(frozen))
    }

    fn install(&mut self, input: &mut dyn Read, last_index: u64) -> Result<(), anyhow::Error> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        let state: State = codec::from_bytes(&bytes)?;
        lock(&self.checks).installed(self.replica, self.life, last_index, state.last_index, state.hash());
        *lock(&self.state) = state;
        Ok(())
    }
}
