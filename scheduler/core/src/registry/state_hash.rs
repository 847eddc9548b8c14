//! One number for the whole of a Registry: equal on replicas whose tables are equal, another one on replicas that differ.
//!
//! Each row is hashed with its kind (SHA-256), and the hashes are added, lane by lane: so the order of rows does not matter, and a row
//! that changed is taken out and put in again at the cost of that row. The construction is the multiset hash of Clarke et al. (2003),
//! after Bellare and Micciancio (1997); nobody here chooses rows to make sums collide, so 256 bits are plenty. What is not a row
//! (epoch, times, the leader, the schedule, frameworks that have ended) is hashed together with the sum.
//!
//! Derived tables are left out: they follow from the others. So is the order of a framework's ended tasks: it shows as soon as the
//! first one is forgotten.

use std::fmt;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, Vector};
use prost::Message;
use sha2::{Digest, Sha256};

use super::codec::{GoneAgent, kind};
use super::records::TaskRecord;
use super::settings::WeightRecord;
use super::tables::Registry;

/// The construction that this build computes. Hashes of different ones are never compared.
pub const STATE_HASH_VERSION: u32 = 1;

const LANES: usize = 4;

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateDigest(pub [u8; 32]);

impl StateDigest {
    /// Reads what another replica sent.
    pub fn from_slice(bytes: &[u8]) -> Option<StateDigest> {
        bytes.try_into().ok().map(StateDigest)
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of a Registry, with the Registry, so that the hash of a later one costs only what differs.
#[derive(Clone, Debug, Default)]
pub struct StateHash {
    of: Registry,
    sum: Sum,
}

impl StateHash {
    /// Counts everything.
    pub fn of(registry: &Registry) -> StateHash {
        let mut hash = StateHash::default();
        hash.advance(registry);
        hash
    }

    /// Goes on to a later Registry, or to any other.
    pub fn advance(&mut self, registry: &Registry) {
        let before = std::mem::replace(&mut self.of, registry.clone());
        let (old, new) = (&before, registry);
        let mut rows = Rows { sum: &mut self.sum, buffer: Vec::new() };
        rows.records(kind::AGENT, &old.agents, &new.agents);
        rows.records(kind::FRAMEWORK, &old.frameworks, &new.frameworks);
        rows.records(kind::TASK, &old.tasks, &new.tasks);
        rows.records(kind::EXECUTOR, &old.executors, &new.executors);
        rows.records(kind::DRIVER, &old.drivers, &new.drivers);
        rows.records(kind::REGISTER, &old.registers, &new.registers);
        rows.records(kind::QUOTA, &old.quotas, &new.quotas);
        rows.records(kind::OPERATION, &old.operations, &new.operations);
        rows.table(kind::GONE_AGENT, &old.gone_agents, &new.gone_agents, |id, at_ms| GoneAgent {
            agent_id: id.to_string(),
            at_ms: *at_ms,
        });
        rows.table(kind::WEIGHT, &old.weights, &new.weights, |role, weight| WeightRecord {
            role: role.to_string(),
            weight: *weight,
        });
        rows.histories(&old.history, &new.history);
    }

    /// The Registry that this is the hash of.
    pub fn registry(&self) -> &Registry {
        &self.of
    }

    /// What is compared with other replicas.
    pub fn digest(&self) -> StateDigest {
        let mut hash = Sha256::new();
        hash.update(STATE_HASH_VERSION.to_be_bytes());
        for lane in self.sum.0 {
            hash.update(lane.to_be_bytes());
        }
        let mut single = |bytes: Vec<u8>| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        single(self.of.meta().encode_to_vec());
        single(self.of.maintenance.encode_to_vec());
        for record in &self.of.completed_frameworks {
            single(record.encode_to_vec());
        }
        StateDigest(hash.finalize().into())
    }
}

/// Sum of the hashes of rows, modulo 2^64 in each lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum([u64; LANES]);

struct Rows<'a> {
    sum: &'a mut Sum,
    buffer: Vec<u8>,
}

impl Rows<'_> {
    fn lanes(&mut self, kind: u8, row: &impl Message) -> [u64; LANES] {
        self.buffer.clear();
        self.buffer.push(kind);
        // Writing into a vector cannot fail: it grows.
        let _ = row.encode(&mut self.buffer);
        let hash: [u8; 32] = Sha256::digest(&self.buffer).into();
        let mut lanes = [0; LANES];
        for (lane, bytes) in lanes.iter_mut().zip(hash.chunks_exact(8)) {
            *lane = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        lanes
    }

    fn add(&mut self, kind: u8, row: &impl Message) {
        let lanes = self.lanes(kind, row);
        self.sum.0.iter_mut().zip(lanes).for_each(|(sum, lane)| *sum = sum.wrapping_add(lane));
    }

    fn remove(&mut self, kind: u8, row: &impl Message) {
        let lanes = self.lanes(kind, row);
        self.sum.0.iter_mut().zip(lanes).for_each(|(sum, lane)| *sum = sum.wrapping_sub(lane));
    }

    fn records<K: Ord + Clone, R: Message + PartialEq>(
        &mut self,
        kind: u8,
        old: &OrdMap<K, Arc<R>>,
        new: &OrdMap<K, Arc<R>>,
    ) {
        for item in old.diff(new) {
            match item {
                DiffItem::Add(_, record) => self.add(kind, record.as_ref()),
                DiffItem::Remove(_, record) => self.remove(kind, record.as_ref()),
                DiffItem::Update { old: (_, before), new: (_, after) } => {
                    self.remove(kind, before.as_ref());
                    self.add(kind, after.as_ref());
                }
            }
        }
    }

    fn table<K: Ord + Clone, V: Clone + PartialEq, R: Message>(
        &mut self,
        kind: u8,
        old: &OrdMap<K, V>,
        new: &OrdMap<K, V>,
        row: impl Fn(&K, &V) -> R,
    ) {
        for item in old.diff(new) {
            match item {
                DiffItem::Add(key, value) => self.add(kind, &row(key, value)),
                DiffItem::Remove(key, value) => self.remove(kind, &row(key, value)),
                DiffItem::Update { old: (key, before), new: (_, after) } => {
                    self.remove(kind, &row(key, before));
                    self.add(kind, &row(key, after));
                }
            }
        }
    }

    /// Histories are long and there are few of them, so they are told apart by where they lie.
    fn histories<K: Ord>(
        &mut self,
        old: &OrdMap<K, Vector<Arc<TaskRecord>>>,
        new: &OrdMap<K, Vector<Arc<TaskRecord>>>,
    ) {
        let nothing = Vector::new();
        for (key, before) in old {
            self.history(before, new.get(key).unwrap_or(&nothing));
        }
        for (_, after) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
            self.history(&nothing, after);
        }
    }

    /// Ended tasks leave in front and come behind; what both have in common lies between.
    fn history(&mut self, old: &Vector<Arc<TaskRecord>>, new: &Vector<Arc<TaskRecord>>) {
        if old.ptr_eq(new) {
            return;
        }
        let same = |one: &&Arc<TaskRecord>, other: &&Arc<TaskRecord>| Arc::ptr_eq(one, other);
        let left = new.front().and_then(|first| old.iter().position(|one| same(&one, &first)));
        let left = left.unwrap_or(old.len());
        let kept = old.iter().skip(left).zip(new).take_while(|(one, other)| same(one, other)).count();
        old.iter()
            .take(left)
            .chain(old.iter().skip(left + kept))
            .for_each(|one| self.remove(kind::HISTORY, one.as_ref()));
        new.iter().skip(kept).for_each(|one| self.add(kind::HISTORY, one.as_ref()));
    }
}
