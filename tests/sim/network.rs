//! Who reaches whom, and the streams between clients and masters: in order, late, and dead for good once anything on them was lost.

use std::collections::{BTreeMap, BTreeSet};

use super::agenda::Micros;

/// Anything with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Master(usize),
    Agent(usize),
    Framework(usize),
    /// A driver process, by its number; it is reached like the agent it runs on.
    Driver(usize),
    /// Whoever operates the cluster.
    Operator,
}

/// One open stream from a client to a master.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) client: Place,
    /// Which life of the client opened it.
    pub(crate) client_life: u64,
    pub(crate) master: usize,
    pub(crate) master_life: u64,
    pub(crate) broken: bool,
    /// Deliveries in each direction never overtake each other.
    pub(crate) to_client_at: Micros,
    pub(crate) to_master_at: Micros,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    /// Ordered pairs between which nothing passes.
    blocked: BTreeSet<(Place, Place)>,
    /// Agents whose hosts nobody reaches, healed or not, until they are taken out again.
    pub(crate) away: BTreeSet<usize>,
    pub(crate) streams: BTreeMap<u64, Stream>,
    last: u64,
}

impl Network {
    pub(crate) fn reaches(&self, from: Place, to: Place) -> bool {
        let away = |place| matches!(place, Place::Agent(agent) if self.away.contains(&agent));
        !away(from) && !away(to) && !self.blocked.contains(&(from, to))
    }

    pub(crate) fn block(&mut self, from: Place, to: Place) {
        if from != to {
            self.blocked.insert((from, to));
        }
    }

    pub(crate) fn block_both(&mut self, one: Place, other: Place) {
        self.block(one, other);
        self.block(other, one);
    }

    pub(crate) fn heal(&mut self) {
        self.blocked.clear();
    }

    pub(crate) fn open(
        &mut self,
        client: Place,
        client_life: u64,
        master: usize,
        master_life: u64,
        now: Micros,
    ) -> u64 {
        self.last += 1;
        let stream = Stream {
            client,
            client_life,
            master,
            master_life,
            broken: false,
            to_client_at: now,
            to_master_at: now,
        };
        self.streams.insert(self.last, stream);
        self.last
    }
}
