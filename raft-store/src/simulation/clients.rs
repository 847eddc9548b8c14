//! The clients: each writes registers and counters, one command at a time, wherever somebody says that it leads; tries again when it was
//! surely refused, sometimes when it does not know; now and then it reads.
//!
//! Owns what each of them is waiting for. Judges nothing: outcomes go to the checks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::dice::Dice;
use super::machine::{Command, Effect, State, lock};
use super::replica::Process;
use crate::error::ProposeError;
use crate::status::{Applied, Lead};

/// How long a client waits, in milliseconds.
const PATIENCE_MS: u64 = 3_000;

/// What became of something a client asked for.
pub(super) enum Outcome {
    Done(Applied),
    /// The newest command in the state that was read, and what the barrier told.
    Read(Option<u64>, u64),
    /// Surely without effect; why.
    Refused(String),
    Unknown,
}

struct Waiting {
    command: Option<Command>,
    /// What had been acknowledged before.
    floor: Option<u64>,
    replica: u64,
    until: u64,
}

struct Client {
    number: u64,
    waiting: Option<Waiting>,
    /// To be tried again.
    again: Option<Command>,
    idle_until: u64,
}

/// An outcome that has just become known.
pub(super) struct Told {
    pub(super) client: u32,
    pub(super) command: Option<Command>,
    pub(super) floor: Option<u64>,
    pub(super) outcome: Outcome,
}

/// Of which client, of which turn, and what became of it.
type Outcomes = Arc<Mutex<Vec<(u32, u64, Outcome)>>>;

/// All of them.
pub(super) struct Clients {
    all: Vec<Client>,
    outcomes: Outcomes,
    dice: Dice,
    attempts: u64,
    turns: Vec<u64>,
}

impl Clients {
    pub(super) fn new(count: usize, seed: u64) -> Clients {
        let client = || Client { number: 0, waiting: None, again: None, idle_until: 0 };
        Clients {
            all: (0..count).map(|_| client()).collect(),
            outcomes: Outcomes::default(),
            dice: Dice::new(seed),
            attempts: 0,
            turns: vec![0; count],
        }
    }

    /// Clients that have nothing under way.
    pub(super) fn idle(&mut self, now: u64) -> Vec<u32> {
        let idle = |client: &Client| client.waiting.is_none() && client.idle_until <= now;
        (0..).zip(&self.all).filter(|(_, client)| idle(client)).map(|(number, _)| number).collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.all.iter().filter(|client| client.waiting.as_ref().is_some_and(|w| w.command.is_some())).count()
    }

    /// One client asks a replica that says it leads.
    pub(super) fn ask(
        &mut self,
        number: u32,
        now: u64,
        replica: u64,
        process: &Process,
        lead: &Lead,
        floor: Option<u64>,
    ) {
        let Some(client) = self.all.get_mut(number as usize) else { return };
        let _clock = process.enter();
        self.turns[number as usize] += 1;
        let turn = self.turns[number as usize];
        let until = now + PATIENCE_MS;
        let outcomes = Arc::clone(&self.outcomes);
        if client.again.is_none() && self.dice.percent(10) {
            client.waiting = Some(Waiting { command: None, floor, replica, until });
            let (store, lead, state) = (process.store.clone(), lead.clone(), Arc::clone(&process.state));
            process.spawn(async move {
                let outcome = match store.read_barrier(&lead).await {
                    Ok(barrier) => read(&state, barrier),
                    Err(e) => Outcome::Refused(e.to_string()),
                };
                lock(&outcomes).push((number, turn, outcome));
            });
            return;
        }
        self.attempts += 1;
        let mut command = match client.again.take() {
            Some(again) => again,
            None => {
                client.number += 1;
                let value = self.dice.number();
                let place = u8::try_from(self.dice.between(0, 4)).unwrap_or(0);
                let effect = if self.dice.percent(50) {
                    Effect::Set { register: place, value }
                } else {
                    Effect::Add { counter: place, amount: value % 100 }
                };
                Command { client: number, number: client.number, attempt: 0, term: 0, effect }
            }
        };
        command.attempt = self.attempts;
        command.term = lead.term;
        client.waiting = Some(Waiting { command: Some(command), floor, replica, until });
        let proposed = process.store.propose(lead, command.encode());
        process.spawn(async move {
            let outcome = match tokio::time::timeout(Duration::from_millis(PATIENCE_MS), proposed).await {
                Ok(Ok(applied)) => Outcome::Done(applied),
                Ok(Err(ProposeError::Unknown(_))) | Err(_) => Outcome::Unknown,
                Ok(Err(e)) => Outcome::Refused(e.to_string()),
            };
            lock(&outcomes).push((number, turn, outcome));
        });
    }

    /// A process is gone: nobody will ever answer what was asked there.
    pub(super) fn lost(&mut self, replica: u64) {
        let mut outcomes = lock(&self.outcomes);
        for ((number, client), turn) in (0..).zip(&self.all).zip(&self.turns) {
            if client.waiting.as_ref().is_some_and(|waiting| waiting.replica == replica) {
                outcomes.push((number, *turn, Outcome::Unknown));
            }
        }
    }

    /// What has become known, in an order that does not depend on who was told first.
    pub(super) fn told(&mut self, now: u64) -> Vec<Told> {
        let mut outcomes = std::mem::take(&mut *lock(&self.outcomes));
        for ((number, client), turn) in (0..).zip(&self.all).zip(&self.turns) {
            // Its process sleeps, so that nobody tells it that its time is up.
            if client.waiting.as_ref().is_some_and(|waiting| waiting.until + 50 < now) {
                outcomes.push((number, *turn, Outcome::Unknown));
            }
        }
        outcomes.sort_by_key(|(number, turn, _)| (*number, *turn));
        let mut told = Vec::new();
        for (number, turn, outcome) in outcomes {
            let Some(client) = self.all.get_mut(number as usize) else { continue };
            if self.turns[number as usize] != turn {
                continue;
            }
            let Some(waiting) = client.waiting.take() else { continue };
            let (low, high) = match &outcome {
                Outcome::Done(_) | Outcome::Read(..) => (0, 20),
                Outcome::Refused(_) => (1, 30),
                Outcome::Unknown => (1, 100),
            };
            client.idle_until = now + self.dice.between(low, high);
            client.again = match &outcome {
                Outcome::Refused(_) => waiting.command,
                Outcome::Unknown if self.dice.percent(50) => waiting.command,
                _ => None,
            };
            told.push(Told { client: number, command: waiting.command, floor: waiting.floor, outcome });
        }
        told
    }
}

fn read(state: &Mutex<State>, barrier: u64) -> Outcome {
    Outcome::Read(lock(state).last_index, barrier)
}
