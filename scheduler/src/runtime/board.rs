//! What the state machine shows to the rest of the process: the newest Registry for reads, the outcomes of this master's
//! own proposals for the event loop, and the keys that changed for the event streams.
//!
//! Owns the hand-over between the thread that applies committed entries, which must never wait, and everyone else. The
//! queues are bounded by what they hold: outcomes by the proposals in flight, keys by the objects that exist.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use tepui_scheduler_core::{Change, LocalView, Outcome, ProposalId, Registry};
use tokio::sync::{Notify, watch};

/// A Registry and where in the log it stands.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) registry: Registry,
    /// The log index of the last entry in it; 0 before the first.
    pub(crate) applied_index: u64,
}

/// What only the leading master knows, and the how-manieth it is.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) view: Arc<LocalView>,
    pub(crate) version: u64,
}

/// The outcome of an entry that this replica proposed, under whatever leadership.
pub(crate) struct Own {
    pub(crate) proposal: ProposalId,
    pub(crate) outcome: Outcome,
    /// The master id, if the entry is the first of a leadership.
    pub(crate) began: Option<String>,
}

/// What the event loop gets after one or more applied batches.
pub(crate) struct Batch {
    pub(crate) registry: Registry,
    pub(crate) outcomes: Vec<(ProposalId, Outcome)>,
}

/// The shared board.
pub(crate) struct Board {
    newest: ArcSwap<Published>,
    /// What only the leading master knows, published by its event loop.
    local: ArcSwapOption<Local>,
    /// Rises whenever readers would see something else of it.
    local_version: AtomicU64,
    outbox: Mutex<Outbox>,
    applied: Notify,
    feeds: Vec<Arc<ChangeFeed>>,
    fatal: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct Outbox {
    session: Session,
    /// Whether something was applied since the event loop last looked.
    fresh: bool,
    outcomes: Vec<(ProposalId, Outcome)>,
}

/// A leader that lost contact and found it again may see entries of its former leadership committed during the new one, and
/// their numbers mean something else by then. Only what follows the first entry of the present one is an outcome of it.
#[derive(Default)]
enum Session {
    /// The event loop does not lead.
    #[default]
    None,
    /// The first entry of this master id has not been applied yet.
    Begins(String),
    Open,
}

impl Board {
    /// A board that shows an empty Registry and tells `feeds` what changes.
    pub(crate) fn new(feeds: Vec<Arc<ChangeFeed>>) -> Arc<Board> {
        let empty = Published { registry: Registry::default(), applied_index: 0 };
        Arc::new(Board {
            newest: ArcSwap::from_pointee(empty),
            local: ArcSwapOption::empty(),
            local_version: AtomicU64::new(0),
            outbox: Mutex::default(),
            applied: Notify::new(),
            feeds,
            fatal: watch::Sender::new(None),
        })
    }

    /// The newest Registry of this replica.
    pub(crate) fn newest(&self) -> Arc<Published> {
        self.newest.load_full()
    }

    /// What only the leading master knows; `None` on the others.
    pub(crate) fn local(&self) -> Option<Local> {
        self.local.load().as_deref().cloned()
    }

    /// Shows what the leading master knows, or that this master does not lead. Called by one thread.
    pub(crate) fn publish_local(&self, local: Option<LocalView>) {
        let before = self.local.load();
        let same = match (before.as_ref(), &local) {
            (Some(before), Some(now)) => before.view.shows_the_same(now),
            (None, None) => true,
            _ => false,
        };
        let version = self.local_version.load(Ordering::Relaxed) + u64::from(!same);
        self.local_version.store(version, Ordering::Relaxed);
        self.local.store(local.map(|view| Arc::new(Local { view: Arc::new(view), version })));
    }

    /// Takes an applied batch from the state machine. `own` are the outcomes of this replica's own proposals.
    pub(crate) fn publish(&self, published: Published, own: Vec<Own>, changes: &[Change]) {
        {
            let mut outbox = self.outbox();
            // Under the lock, so that a session that begins sees either the entry in its Registry or its outcome later.
            self.newest.store(Arc::new(published));
            outbox.fresh = true;
            for own in own {
                outbox.take_in(own);
            }
        }
        self.applied.notify_one();
        for feed in &self.feeds {
            feed.extend(changes.iter().cloned());
        }
    }

    /// Tells the streams that something changed that is not in the Registry.
    pub(crate) fn touch(&self, changes: impl IntoIterator<Item = Change> + Clone) {
        for feed in &self.feeds {
            feed.extend(changes.clone());
        }
    }

    /// Replaces everything, after a snapshot was installed: whoever follows changes has to begin anew.
    pub(crate) fn reset(&self, published: Published) {
        self.newest.store(Arc::new(published));
        self.applied.notify_one();
        for feed in &self.feeds {
            feed.reset();
        }
    }

    /// Starts to collect the outcomes of the leadership of this master id, and returns the Registry as it is now.
    pub(crate) fn begin_session(&self, master_id: &str) -> Registry {
        let mut outbox = self.outbox();
        *outbox = Outbox { session: Session::Begins(master_id.to_owned()), ..Outbox::default() };
        self.newest.load().registry.clone()
    }

    /// Stops collecting outcomes.
    pub(crate) fn end_session(&self) {
        *self.outbox() = Outbox::default();
    }

    /// Waits until something may have been applied.
    pub(crate) async fn applied(&self) {
        self.applied.notified().await;
    }

    /// What was applied since the last call, if anything.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut outbox = self.outbox();
        if !outbox.fresh {
            return None;
        }
        outbox.fresh = false;
        let outcomes = std::mem::take(&mut outbox.outcomes);
        Some(Batch { registry: self.newest.load().registry.clone(), outcomes })
    }

    /// Outcomes that the event loop has not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox().outcomes.len()
    }

    /// Takes the replica out of service: its state can no longer be trusted, or it has no place in this cluster.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(%reason, "this master cannot go on");
        self.fatal.send_replace(Some(reason));
    }

    /// Becomes `Some` when the process must stop.
    pub(crate) fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.fatal.subscribe()
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // Nothing in the critical sections can panic half-way, so a poisoned lock still guards sound data.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    fn take_in(&mut self, own: Own) {
        if let (Session::Begins(awaited), Some(began)) = (&self.session, &own.began)
            && awaited == began
        {
            self.session = Session::Open;
        }
        if matches!(self.session, Session::Open) {
            self.outcomes.push((own.proposal, own.outcome));
        }
    }
}

/// The keys that changed since one follower last looked: each at most once, oldest first.
#[derive(Default)]
pub(crate) struct ChangeFeed {
    dirty: Mutex<Dirty>,
    ready: Notify,
}

#[derive(Default)]
struct Dirty {
    order: VecDeque<Change>,
    known: BTreeSet<Change>,
    reset: bool,
}

/// What a follower finds.
#[derive(Debug, PartialEq)]
pub(crate) struct Changes {
    /// The whole Registry was replaced; `keys` is empty then.
    pub(crate) reset: bool,
    pub(crate) keys: Vec<Change>,
}

impl ChangeFeed {
    /// Remembers keys.
    pub(crate) fn extend(&self, changes: impl IntoIterator<Item = Change>) {
        let mut any = false;
        {
            let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                if dirty.known.insert(change.clone()) {
                    dirty.order.push_back(change);
                    any = true;
                }
            }
        }
        if any {
            self.ready.notify_one();
        }
    }

    fn reset(&self) {
        *self.dirty.lock().unwrap_or_else(PoisonError::into_inner) =
            Dirty { reset: true, ..Dirty::default() };
        self.ready.notify_one();
    }

    /// Waits until there is something to take.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Takes up to `limit` keys; whatever is left makes the feed ready again.
    pub(crate) fn take(&self, limit: usize) -> Changes {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let count = dirty.order.len().min(limit);
        let keys: Vec<Change> = dirty.order.drain(..count).collect();
        for key in &keys {
            dirty.known.remove(key);
        }
        if !dirty.order.is_empty() {
            self.ready.notify_one();
        }
        Changes { reset: std::mem::take(&mut dirty.reset), keys }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(applied_index: u64) -> Published {
        let registry = Registry { epoch: applied_index, ..Registry::default() };
        Published { registry, applied_index }
    }

    fn own(proposal: ProposalId, began: Option<&str>) -> Own {
        Own { proposal, outcome: Outcome::Done, began: began.map(str::to_owned) }
    }

    fn proposals(batch: Option<Batch>) -> Vec<ProposalId> {
        batch.into_iter().flat_map(|batch| batch.outcomes).map(|(proposal, _)| proposal).collect()
    }

    #[test]
    fn outcomes_of_a_former_leadership_do_not_count() {
        let board = Board::new(Vec::new());
        board.publish(published(1), vec![own(1, Some("old"))], &[]);
        assert_eq!(board.begin_session("new").epoch, 1);
        assert!(board.take().is_none());
        board.publish(published(2), vec![own(7, None), own(1, Some("old"))], &[]);
        let batch = board.take().unwrap();
        assert_eq!((batch.registry.epoch, batch.outcomes.len()), (2, 0));
        board.publish(published(3), vec![own(8, None), own(1, Some("new")), own(2, None)], &[]);
        board.publish(published(4), vec![own(3, None)], &[]);
        let batch = board.take().unwrap();
        assert_eq!(batch.registry.epoch, 4);
        assert_eq!(proposals(Some(batch)), [1, 2, 3]);
        assert!(board.take().is_none());
        board.end_session();
        board.publish(published(5), vec![own(4, None)], &[]);
        assert!(proposals(board.take()).is_empty());
    }

    #[test]
    fn a_feed_names_each_key_once_and_in_order() {
        let feed = ChangeFeed::default();
        let driver = |name: &str| Change::Driver(name.to_owned());
        feed.extend([driver("b"), driver("a"), driver("b")]);
        assert_eq!(feed.take(1), Changes { reset: false, keys: vec![driver("b")] });
        feed.extend([driver("b")]);
        assert_eq!(feed.take(9), Changes { reset: false, keys: vec![driver("a"), driver("b")] });
        feed.extend([driver("c")]);
        feed.reset();
        assert_eq!(feed.take(9), Changes { reset: true, keys: Vec::new() });
        assert_eq!(feed.take(9), Changes { reset: false, keys: Vec::new() });
    }
}
