//! Who leads, as far as a user may rely on it: more careful than raft itself.
//!
//! Owns the judgement that turns raft's metrics into [`Leadership`]. This replica is reported to lead only once an entry of
//! its own term has been applied here, so that the state is complete, and only as long as a quorum answered recently and this
//! process was not asleep. Raft does not demote a leader that lost its quorum; this does. Every interruption ends one
//! [`Lead`] and begins another with a higher serial.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::{NodeId, Peer};
use crate::fatal::Fatal;
use crate::health::Health;
use crate::mutants::{self, Mutant};
use crate::roster::Roster;
use crate::silence::Silence;
use crate::status::{Lead, Leadership};
use crate::types::{Metrics, Raft};

/// What raft says, reduced to what matters here.
#[derive(Clone, Debug)]
struct Sight {
    /// The term in which this replica leads, with an entry of it applied here.
    leads: Option<u64>,
    /// Whether raft takes this replica for the leader, whatever was applied.
    in_office: bool,
    /// When the newest message that a quorum answered was sent.
    acknowledged: Option<Instant>,
    leader: Option<(NodeId, Peer)>,
    /// When a leader's message was last taken here.
    heard: Option<Instant>,
}

/// Decides. Knows no clock and no raft: both are told.
struct Judge {
    node_id: NodeId,
    timeout: Duration,
    serial: u64,
    last_look: Instant,
    /// Contact counts only if it is newer than this.
    distrust_until: Option<Instant>,
    current: Leadership,
}

impl Judge {
    fn new(node_id: NodeId, timeout: Duration, now: Instant) -> Judge {
        let current = Leadership::Following { leader: None };
        Judge { node_id, timeout, serial: 0, last_look: now, distrust_until: None, current }
    }

    /// `refused` says that raft refused something under the present lead, so that this lead is over.
    fn judge(&mut self, now: Instant, sight: Sight, refused: bool, handing_over: bool) -> &Leadership {
        let asleep = now.saturating_duration_since(self.last_look);
        self.last_look = now;
        if asleep > self.timeout || refused {
            // Whatever was true before may not be any more.
            self.distrust_until = Some(now);
        }
        let contact = mutants::on(Mutant::LeadAlone)
            || sight.acknowledged.is_some_and(|at| {
                now.saturating_duration_since(at) < self.timeout && self.distrust_until.is_none_or(|d| at > d)
            });
        let next = match sight.leads {
            Some(term) if contact && !handing_over => {
                self.distrust_until = None;
                match &self.current {
                    Leadership::Leading(lead) if lead.term == term => return &self.current,
                    _ => {}
                }
                self.serial += 1;
                Leadership::Leading(Lead { term, node_id: self.node_id, serial: self.serial })
            }
            Some(_) => Leadership::Following { leader: None },
            None => {
                // Raft remembers a leader until there is another one. One that is silent leads nobody.
                let lives = sight.heard.is_some_and(|at| now.saturating_duration_since(at) < self.timeout);
                Leadership::Following { leader: sight.leader.filter(|(id, _)| lives && *id != self.node_id) }
            }
        };
        self.current = next;
        &self.current
    }
}

/// What proposals and the judge know in common.
pub(crate) struct Gate {
    sender: watch::Sender<Leadership>,
    timeout: Duration,
    begun: Instant,
    last_look_ms: AtomicU64,
    /// When a leader was last heard, plus one; zero for never.
    heard_ms: AtomicU64,
    refused: AtomicU64,
    handing_over: AtomicBool,
    /// The newest term in which this replica gave up its office.
    abdicated: AtomicU64,
    silent: AtomicBool,
    health: Health,
    bell: Notify,
    /// Rings with every change of what is reported.
    changed: Notify,
}

impl Gate {
    pub(crate) fn new(timeout: Duration) -> Arc<Gate> {
        Arc::new(Gate {
            sender: watch::Sender::new(Leadership::Following { leader: None }),
            timeout,
            begun: Instant::now(),
            last_look_ms: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            handing_over: AtomicBool::new(false),
            abdicated: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            health: Health::default(),
            bell: Notify::new(),
            changed: Notify::new(),
        })
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Leadership> {
        self.sender.subscribe()
    }

    /// Whether this lead still holds. Also false right after this process was asleep, before anybody noticed.
    pub(crate) fn holds(&self, lead: &Lead) -> bool {
        let asleep = self.now_ms().saturating_sub(self.last_look_ms.load(Ordering::Acquire));
        u128::from(asleep) <= self.timeout.as_millis()
            && matches!(&*self.sender.borrow(), Leadership::Leading(current) if current == lead)
    }

    /// The leader other than this replica, if known.
    pub(crate) fn other_leader(&self) -> Option<(NodeId, Peer)> {
        match &*self.sender.borrow() {
            Leadership::Following { leader } => leader.clone(),
            Leadership::Leading(_) => None,
        }
    }

    /// Resolves when this lead is over.
    pub(crate) async fn ended(&self, lead: &Lead) {
        loop {
            // Made before looking: a change from here on is not missed. Not the watch itself, which wakes in an order of its own.
            let change = self.changed.notified();
            if !matches!(&*self.sender.borrow(), Leadership::Leading(current) if current == lead) {
                return;
            }
            change.await;
        }
    }

    /// Raft refused something under this lead: it is over.
    pub(crate) fn refused(&self, lead: &Lead) {
        self.refused.fetch_max(lead.serial, Ordering::AcqRel);
        self.bell.notify_one();
    }

    /// While set, this replica is not reported to lead.
    pub(crate) fn hand_over(&self, on: bool) {
        self.handing_over.store(on, Ordering::Release);
        self.bell.notify_one();
    }

    /// Gives up the office of this term for good: raft has been told that somebody else leads, so it takes no commands any more. The
    /// heartbeats end, so that the others elect.
    pub(crate) fn abdicate(&self, term: u64) {
        self.abdicated.fetch_max(term, Ordering::AcqRel);
        self.bell.notify_one();
    }

    /// Whether the office of this term was given up.
    pub(crate) fn abdicated(&self, term: u64) -> bool {
        self.abdicated.load(Ordering::Acquire) >= term
    }

    /// Whether this replica must not send what only a leader sends: nobody would answer, and others might obey.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    /// How the disk fares.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// How long no leader's message came, this replica's own included; at least since the start.
    pub(crate) fn unheard(&self) -> Duration {
        self.last_heard().unwrap_or(self.begun).elapsed()
    }

    /// A leader's message was taken.
    pub(crate) fn heard(&self) {
        self.heard_ms.store(self.now_ms().saturating_add(1), Ordering::Release);
    }

    /// How long no leader's message came; at least since the start.
    pub(crate) fn unheard_for(&self) -> Duration {
        self.last_heard().unwrap_or(self.begun).elapsed()
    }

    fn last_heard(&self) -> Option<Instant> {
        let ms = self.heard_ms.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.begun + Duration::from_millis(ms))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn publish(&self, next: &Leadership) {
        let changed = self.sender.send_if_modified(|current| {
            let changed = current != next;
            if changed {
                tracing::info!(?next, "leadership");
                *current = next.clone();
            }
            changed
        });
        if changed {
            self.changed.notify_waiters();
        }
    }
}

/// Keeps the gate up to date until cancelled; reports the end of raft as a fault.
pub(crate) async fn watch_raft(
    node_id: NodeId,
    raft: Raft,
    gate: Arc<Gate>,
    roster: Roster,
    look_every: Duration,
    fatal: Fatal,
    cancel: CancellationToken,
) {
    let mut metrics = raft.metrics();
    let mut judge = Judge::new(node_id, gate.timeout, Instant::now());
    let mut silence = Silence::new(gate.timeout);
    let mut clock = tokio::time::interval(look_every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            _ = clock.tick() => {}
            () = gate.bell.notified() => {}
            changed = metrics.changed() => if changed.is_err() {
                fatal.report("raft ended");
                break;
            }
        }
        let now = Instant::now();
        let (sight, end) = {
            let metrics = metrics.borrow_watched();
            roster.effective(metrics.membership_config.membership());
            (look(node_id, &metrics, now, gate.last_heard()), metrics.running_state.clone().err())
        };
        if let Some(end) = end {
            fatal.report(format!("raft ended: {end}"));
            break;
        }
        let silent = silence.look(now, sight.in_office, sight.acknowledged);
        if gate.silent.swap(silent, Ordering::AcqRel) != silent && silent {
            tracing::warn!(
                "no quorum answers this leader: it is silent for a while, so that others may elect"
            );
        }
        let refused = gate.refused.load(Ordering::Acquire) >= judge.serial && judge.serial > 0;
        let refused = refused && matches!(judge.current, Leadership::Leading(_));
        let gone = sight.leads.is_some_and(|term| gate.abdicated(term));
        let next = judge.judge(now, sight, refused, gone || gate.handing_over.load(Ordering::Acquire));
        gate.publish(next);
        gate.last_look_ms.store(gate.now_ms(), Ordering::Release);
    }
    gate.silent.store(false, Ordering::Release);
    gate.publish(&Leadership::Following { leader: None });
}

fn look(node_id: NodeId, metrics: &Metrics, now: Instant, heard: Option<Instant>) -> Sight {
    let applied_by = metrics.last_applied.map(|id| id.leader_id);
    let leads = metrics.state == ServerState::Leader && metrics.vote.committed;
    let complete = applied_by == Some(metrics.vote.leader_id);
    let membership = metrics.membership_config.membership();
    let alone = membership.voter_ids().eq([node_id]);
    let acknowledged =
        if alone { Some(now) } else { quorum_contact(metrics).and_then(|age| now.checked_sub(age)) };
    let leader = metrics.current_leader.and_then(|id| Some((id, membership.get_node(&id)?.peer.clone())));
    Sight {
        leads: (leads && complete).then_some(metrics.current_term),
        in_office: leads,
        acknowledged,
        leader,
        heard,
    }
}

/// How long ago the newest message that a quorum answered was sent, on the leader.
pub(crate) fn quorum_contact(metrics: &Metrics) -> Option<Duration> {
    use openraft::Instant as _;
    metrics.last_quorum_acked.map(|at| at.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(1000);

    struct Play {
        judge: Judge,
        begun: Instant,
    }

    impl Play {
        fn new() -> Play {
            let begun = Instant::now();
            Play { judge: Judge::new(1, TIMEOUT, begun), begun }
        }

        fn at(&self, ms: u64) -> Instant {
            self.begun + Duration::from_millis(ms)
        }

        /// The serial of the lead reported at `now`, when raft says that it leads `term` and a quorum answered at `acked`.
        fn look(&mut self, now: u64, term: Option<u64>, acked: Option<u64>) -> Option<u64> {
            self.look_refused(now, term, acked, false)
        }

        fn look_refused(
            &mut self,
            now: u64,
            term: Option<u64>,
            acked: Option<u64>,
            refused: bool,
        ) -> Option<u64> {
            let acknowledged = acked.map(|ms| self.at(ms));
            let sight =
                Sight { leads: term, in_office: term.is_some(), acknowledged, leader: None, heard: None };
            match self.judge.judge(self.at(now), sight, refused, false) {
                Leadership::Leading(lead) => Some(lead.serial),
                Leadership::Following { .. } => None,
            }
        }
    }

    #[test]
    fn a_silent_leader_is_not_named() {
        let mut play = Play::new();
        let peer = Peer { peer_addr: "p".to_owned(), api_addr: "a".to_owned() };
        for (now, heard, named) in [
            (500, None, false),
            (600, Some(590), true),
            (1500, Some(590), true),
            (1590, Some(590), false),
            (1600, Some(1595), true),
        ] {
            let leader = Some((2, peer.clone()));
            let sight = Sight {
                leads: None,
                in_office: false,
                acknowledged: None,
                leader,
                heard: heard.map(|ms| play.at(ms)),
            };
            let seen = play.judge.judge(play.at(now), sight, false, false).clone();
            let expected = Leadership::Following { leader: named.then(|| (2, peer.clone())) };
            assert_eq!(seen, expected, "at {now}");
        }
    }

    #[test]
    fn leads_once_a_quorum_answered() {
        let mut play = Play::new();
        assert_eq!(play.look(10, Some(3), None), None);
        assert_eq!(play.look(20, Some(3), Some(15)), Some(1));
        assert_eq!(play.look(30, Some(3), Some(25)), Some(1));
    }

    #[test]
    fn a_lost_quorum_ends_the_lead_and_its_return_begins_another() {
        let mut play = Play::new();
        assert_eq!(play.look(500, Some(3), Some(490)), Some(1));
        assert_eq!(play.look(1400, Some(3), Some(490)), Some(1));
        assert_eq!(play.look(1490, Some(3), Some(490)), None);
        assert_eq!(play.look(1500, Some(3), Some(1495)), Some(2));
    }

    #[test]
    fn a_pause_ends_the_lead_even_if_contact_looks_fresh() {
        let mut play = Play::new();
        assert_eq!(play.look(500, Some(3), Some(490)), Some(1));
        assert_eq!(play.look(1501, Some(3), Some(1500)), None);
        assert_eq!(play.look(1510, Some(3), Some(1500)), None, "acknowledged before the pause was noticed");
        assert_eq!(play.look(1520, Some(3), Some(1512)), Some(2));
    }

    #[test]
    fn a_refusal_ends_the_lead() {
        let mut play = Play::new();
        assert_eq!(play.look(100, Some(3), Some(90)), Some(1));
        assert_eq!(play.look_refused(110, Some(3), Some(105), true), None);
        assert_eq!(play.look(120, Some(3), Some(115)), Some(2));
    }

    #[test]
    fn another_term_is_another_lead() {
        let mut play = Play::new();
        assert_eq!(play.look(100, Some(3), Some(90)), Some(1));
        assert_eq!(play.look(110, Some(4), Some(105)), Some(2));
        assert_eq!(play.look(120, None, None), None);
    }
}
