//! What each replica's build can do, as a number that means nothing here: passed on with every message and every answer.
//!
//! Owns what was last heard of each. A leader hears of all its followers within a heartbeat. Decides nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::NodeId;

/// See the module head. All clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    own: u32,
    heard: Arc<Mutex<BTreeMap<NodeId, u32>>>,
}

impl Levels {
    pub(crate) fn new(node_id: NodeId, own: u32) -> Levels {
        Levels { own, heard: Arc::new(Mutex::new(BTreeMap::from([(node_id, own)]))) }
    }

    /// Of this replica.
    pub(crate) fn own(&self) -> u32 {
        self.own
    }

    /// A replica told its level; one that tells none is of the first builds, which is level 0.
    pub(crate) fn heard(&self, from: NodeId, level: Option<u32>) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(from, level.unwrap_or(0));
    }

    /// What is known, this replica included.
    pub(crate) fn all(&self) -> BTreeMap<NodeId, u32> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
