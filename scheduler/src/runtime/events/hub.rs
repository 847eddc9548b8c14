//! The hub: renders each change once and hands it to all subscribers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use tepui_raft_store::NodeId;
use tepui_scheduler_core::Change;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use super::{objects, render};
use crate::runtime::board::{Board, ChangeFeed};
use crate::runtime::reads::ReadView;
use crate::runtime::replica::Replica;
use crate::runtime::role::Role;
use crate::view;

/// Chunks that wait for one subscriber; beyond that it is disconnected.
const BACKLOG: usize = 256;
/// Keys that are rendered in one round; whatever is left comes with the next.
const KEYS_PER_ROUND: usize = 5000;
/// Objects in one chunk of a snapshot.
const OBJECTS_PER_CHUNK: usize = 200;
/// Ended tasks of one framework in a snapshot.
const ENDED_PER_FRAMEWORK: usize = 20;
/// How often masters, leadership and counts are looked at.
const POLL: Duration = Duration::from_secs(1);

/// From this many tasks on, they are counted less often.
const LARGE: usize = 20_000;
const REST_WHEN_LARGE: Duration = Duration::from_secs(5);

/// What the hub is made of.
pub(crate) struct Parts {
    pub(crate) node_id: NodeId,
    pub(crate) cluster_name: Option<String>,
    pub(crate) board: Arc<Board>,
    pub(crate) feed: Arc<ChangeFeed>,
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) coalescing: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) subscribers: usize,
    pub(crate) tasks: usize,
}

/// The hub of one master.
pub(crate) struct Hub {
    parts: Parts,
    chunks: broadcast::Sender<Chunk>,
}

#[derive(Clone)]
enum Chunk {
    Events(Bytes),
    /// Everything changed: subscribers are to come back for a snapshot.
    End,
}

impl Hub {
    pub(crate) fn new(parts: Parts) -> Hub {
        let (chunks, _) = broadcast::channel(BACKLOG);
        Hub { parts, chunks }
    }

    /// How many subscribers there are.
    pub(crate) fn subscribers(&self) -> usize {
        self.chunks.receiver_count()
    }

    /// A snapshot and everything after it; `None` if there are too many subscribers already.
    pub(crate) fn subscribe(&self) -> Option<impl Stream<Item = Bytes> + Send + use<>> {
        if self.subscribers() >= self.parts.subscribers {
            return None;
        }
        // Before the snapshot is taken: what changes in between is told twice rather than never.
        let live = BroadcastStream::new(self.chunks.subscribe());
        let live = tokio_stream::StreamExt::map_while(live, |chunk| match chunk {
            Ok(Chunk::Events(bytes)) => Some(bytes),
            // A subscriber that lags has lost events and must begin anew.
            Ok(Chunk::End) | Err(_) => None,
        });
        Some(stream::iter(self.snapshot()).chain(live))
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut role = self.parts.role.clone();
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heartbeat = tokio::time::interval(self.parts.heartbeat_interval);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut polled = Polled::default();
        let mut earliest = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.next_round(earliest) => {
                    earliest = Instant::now() + self.parts.coalescing;
                    polled.counts_old |= self.round();
                }
                Ok(()) = role.changed() => self.poll(&mut polled),
                _ = poll.tick() => self.poll(&mut polled),
                _ = heartbeat.tick() => self.send(self.heartbeat()),
            }
        }
    }

    async fn next_round(&self, earliest: Instant) {
        tokio::time::sleep_until(earliest).await;
        self.parts.feed.ready().await;
    }

    /// Sends what changed since the last round; says whether the numbers of the cluster may have changed with it.
    fn round(&self) -> bool {
        let changes = self.parts.feed.take(KEYS_PER_ROUND);
        if changes.reset {
            // Fails only without subscribers.
            let _ = self.chunks.send(Chunk::End);
            return true;
        }
        if self.subscribers() == 0 {
            return true;
        }
        let view = ReadView::of(&self.parts.board);
        let mut keys: BTreeSet<Change> = changes.keys.into_iter().collect();
        let mut touched = Vec::new();
        if keys.contains(&Change::Leadership) {
            // Nobody is connected to a new leader until he comes back, and for those who do not there is no change of their own.
            touched.extend(view.registry.agents.keys().cloned().map(Change::Agent));
            touched.extend(view.registry.frameworks.keys().cloned().map(Change::Framework));
        }
        for key in &keys {
            // The numbers of an agent and a framework change with their tasks.
            let Change::Task(task) = key else { continue };
            touched.push(Change::Framework(task.framework.clone()));
            if let Some(record) = view::tasks::find(&view.registry, task) {
                touched.push(Change::Agent(record.agent_id()));
            }
        }
        keys.extend(touched);
        let mut events = BytesMut::new();
        for key in &keys {
            if let Some(event) = render::change(&view.registry, key) {
                events.extend_from_slice(&event);
            }
        }
        if keys.contains(&Change::Leadership) {
            events.extend_from_slice(&self.leadership(&view));
        }
        self.send(events.freeze());
        keys.iter().any(|key| matches!(key, Change::Agent(_) | Change::Framework(_) | Change::Task(_)))
    }

    /// Sends masters, leadership and counts, as far as they changed since the last time.
    fn poll(&self, polled: &mut Polled) {
        if self.subscribers() == 0 {
            *polled = Polled::default();
            return;
        }
        let view = ReadView::of(&self.parts.board);
        let mut now: BTreeMap<String, Bytes> = self.masters().collect();
        now.insert("leadership".to_owned(), self.leadership(&view));
        now.insert("cluster".to_owned(), polled.cluster(&view, || self.cluster(&view)));
        let mut events = BytesMut::new();
        for (key, event) in &now {
            if polled.last.get(key) != Some(event) {
                events.extend_from_slice(event);
            }
        }
        for key in polled.last.keys().filter(|key| !now.contains_key(*key)) {
            if let Some(id) = key.strip_prefix("master ") {
                events.extend_from_slice(&render::object::<objects::Master>("master", id, None));
            }
        }
        polled.last = now;
        self.send(events.freeze());
    }

    fn send(&self, events: Bytes) {
        if !events.is_empty() {
            // Fails only without subscribers.
            let _ = self.chunks.send(Chunk::Events(events));
        }
    }

    fn heartbeat(&self) -> Bytes {
        let view = ReadView::aged(&self.parts.board, &*self.parts.replica);
        let data = serde_json::json!({
            "applied_index": view.applied_index,
            "applied_age_ms": view.age_ms(),
            "wall_ms": crate::runtime::timers::wall_ms(),
        });
        render::event("heartbeat", &data).into()
    }

    fn masters(&self) -> impl Iterator<Item = (String, Bytes)> {
        let status = self.parts.replica.status();
        let applied = ReadView::of(&self.parts.board).applied_index;
        let (node_id, leader) = (self.parts.node_id, status.leader);
        let replication = status.replication;
        status.members.into_iter().map(move |(id, (peer, voter))| {
            let master = objects::Master {
                node_id: id,
                api: peer.api_addr,
                leader: leader == Some(id),
                this: id == node_id,
                voter,
                matched_index: replication.get(&id).copied().flatten(),
                applied_index: (id == node_id).then_some(applied),
            };
            (format!("master {id}"), render::object("master", &id.to_string(), Some(master)))
        })
    }

    fn leadership(&self, view: &ReadView) -> Bytes {
        let status = self.parts.replica.status();
        let record = view.registry.leader.as_deref();
        let leadership = objects::Leadership {
            leader: status.leader,
            leader_api: status.leader_peer.map(|peer| peer.api_addr),
            epoch: view.registry.epoch,
            standby: !self.parts.role.borrow().is_leader(),
            applied_index: view.applied_index,
            cluster_id: status.cluster_id.unwrap_or_default(),
            master_id: record.map(|record| record.master_id.clone()),
            elected_ms: record.map(|record| record.elected_wall_ms),
        };
        render::object("leadership", "leadership", Some(leadership))
    }

    fn cluster(&self, view: &ReadView) -> Bytes {
        let counts = view::counts::count(&view.registry);
        let cluster = objects::Cluster {
            cluster_id: view.registry.cluster_id.to_string(),
            name: self.parts.cluster_name.clone(),
            version: view::master::PRODUCT_VERSION,
            agents: view.registry.agents.len(),
            frameworks: view.registry.frameworks.len(),
            live_tasks: view::tasks::visible(&view.registry).count(),
            tasks: counts.tasks,
            total: counts.total,
            allocated: counts.allocated,
        };
        render::object("cluster", "cluster", Some(cluster))
    }

    /// Everything that there is, in chunks.
    fn snapshot(&self) -> Vec<Bytes> {
        let view = ReadView::of(&self.parts.board);
        let mut chunks = Chunks::default();
        chunks.push(&render::event("snapshot-begin", &"{}").into());
        chunks.push(&self.leadership(&view));
        chunks.push(&self.cluster(&view));
        self.masters().for_each(|(_, event)| chunks.push(&event));
        for key in self.keys(&view) {
            if let Some(event) = render::change(&view.registry, &key) {
                chunks.push(&event);
            }
        }
        chunks.push(&render::event("ready", &"{}").into());
        chunks.push(&self.heartbeat());
        chunks.finish()
    }

    /// The objects of a snapshot: everything but what is too much of tasks.
    fn keys(&self, view: &ReadView) -> Vec<Change> {
        let registry = &view.registry;
        let mut keys: Vec<Change> = registry.agents.keys().cloned().map(Change::Agent).collect();
        keys.extend(registry.frameworks.keys().cloned().map(Change::Framework));
        keys.extend(registry.drivers.keys().map(|name| Change::Driver(name.to_string())));
        keys.extend(registry.registers.keys().map(|register| Change::Register {
            scope: register.scope.to_string(),
            key: register.key.to_string(),
        }));
        let ended =
            registry.history.values().flat_map(|tasks| tasks.iter().rev().take(ENDED_PER_FRAMEWORK).rev());
        let ended = ended.map(|record| Change::Task(record.key()));
        keys.extend(ended.take(self.parts.tasks));
        let live = view::tasks::visible(registry).map(|record| Change::Task(record.key()));
        keys.extend(live.take(self.parts.tasks));
        keys
    }
}

/// What was sent at the last look at masters, leadership and counts.
#[derive(Default)]
struct Polled {
    last: BTreeMap<String, Bytes>,
    counts_old: bool,
    counted_at: Option<Instant>,
}

impl Polled {
    /// The counts, anew if they may have changed. A large cluster is not counted every second.
    fn cluster(&mut self, view: &ReadView, count: impl FnOnce() -> Bytes) -> Bytes {
        let rest = if view.registry.tasks.len() > LARGE { REST_WHEN_LARGE } else { Duration::ZERO };
        let due = self.counted_at.is_none_or(|at| self.counts_old && at.elapsed() >= rest);
        if let (false, Some(known)) = (due, self.last.get("cluster")) {
            return known.clone();
        }
        self.counts_old = false;
        self.counted_at = Some(Instant::now());
        count()
    }
}

/// Joins small events into larger chunks.
#[derive(Default)]
struct Chunks {
    done: Vec<Bytes>,
    open: BytesMut,
    objects: usize,
}

impl Chunks {
    fn push(&mut self, event: &Bytes) {
        self.open.extend_from_slice(event);
        self.objects += 1;
        if self.objects == OBJECTS_PER_CHUNK {
            self.objects = 0;
            self.done.push(std::mem::take(&mut self.open).freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.done.push(self.open.freeze());
        }
        self.done
    }
}
