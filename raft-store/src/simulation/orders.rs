//! What operators do in a run: hand-overs, snapshots, members that come and go.
//!
//! Owns their orders and what became of them. When one is given is the world's business.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::machine::lock;
use super::replica::{Replica, peer};
use super::world::World;

/// How long an operator waits for a change, in milliseconds.
const ORDER_MS: u64 = 3_000;

/// What operators' orders came to.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) hand_overs: u64,
    pub(super) member_changes: u64,
    pub(super) under_way: u64,
}

/// What operators do.
impl World {
    fn order<F>(&mut self, id: u64, work: impl FnOnce(crate::RaftStore, Arc<Mutex<Orders>>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(process) = self.replicas.get(&id).and_then(|r| r.process.as_ref()) else { return };
        let under_way = UnderWay::new(&self.orders);
        let work = work(process.store.clone(), Arc::clone(&self.orders));
        process.spawn(async move {
            work.await;
            drop(under_way);
        });
    }

    pub(super) fn order_hand_over(&mut self) {
        let Some(id) = self.leading().keys().next().copied() else { return };
        self.order(id, |store, orders| async move {
            if store.hand_over(Duration::from_millis(ORDER_MS)).await.is_ok() {
                lock(&orders).hand_overs += 1;
            }
        });
    }

    pub(super) fn order_snapshot(&mut self, id: u64) {
        self.order(id, |store, _| async move {
            let taken = store.trigger_snapshot();
            drop(tokio::time::timeout(Duration::from_millis(ORDER_MS), taken).await);
        });
    }

    pub(super) fn order_add(&mut self) {
        let Some(leader) = self.leading().keys().next().copied() else { return };
        let id = self.next_id;
        self.next_id += 1;
        self.replicas.insert(id, Replica::new(id, self.dir.0.join(id.to_string()), self.dice.number()));
        if let Err(text) = self.start(id) {
            return lock(&self.checks).fail(text);
        }
        self.order(leader, move |store, orders| async move {
            if store.add_member(id, peer(id), Duration::from_millis(ORDER_MS)).await.is_ok() {
                lock(&orders).member_changes += 1;
            }
        });
    }

    pub(super) fn order_remove(&mut self) {
        let Some(leader) = self.leading().keys().next().copied() else { return };
        let candidates: Vec<u64> = self.voters.iter().copied().filter(|id| *id != leader).collect();
        let Some(id) = self.dice.one_of(&candidates) else { return };
        self.order(leader, move |store, orders| async move {
            if store.remove_member(id, Duration::from_millis(ORDER_MS)).await.is_ok() {
                lock(&orders).member_changes += 1;
            }
        });
    }
}

/// Counts an order as long as somebody works on it, however that ends.
struct UnderWay(Arc<Mutex<Orders>>);

impl UnderWay {
    fn new(orders: &Arc<Mutex<Orders>>) -> UnderWay {
        lock(orders).under_way += 1;
        UnderWay(Arc::clone(orders))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.0).under_way -= 1;
    }
}
