//! The task that owns the subscribers of the operator event stream.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tepui_proto::MediaType;
use tepui_proto::v1::master::Event;
use tepui_proto::v1::master::event::{Subscribed, Type};
use tepui_proto::wire::encode_record;
use tepui_scheduler_core::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::diff;
use crate::runtime::board::{Board, ChangeFeed};
use crate::runtime::handle::Unavailable;
use crate::runtime::role::Role;
use crate::runtime::streams::{ConnectionId, Inlet, Streams};
use crate::view;

/// Subscriptions that wait to be served.
const WAITING: usize = 64;

/// Opens subscriptions.
#[derive(Clone)]
pub(crate) struct Handle {
    requests: mpsc::Sender<Request>,
    count: Arc<AtomicUsize>,
}

struct Request {
    media: MediaType,
    opened: oneshot::Sender<Inlet>,
}

impl Handle {
    /// Opens the stream of one subscriber.
    pub(crate) async fn subscribe(&self, media: MediaType) -> Result<Inlet, Unavailable> {
        let (opened, inlet) = oneshot::channel();
        self.requests.send(Request { media, opened }).await.map_err(|_| Unavailable)?;
        inlet.await.map_err(|_| Unavailable)
    }

    /// How many subscribers there are.
    pub(crate) fn subscribers(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// What the task is made of.
pub(crate) struct Parts {
    pub(crate) board: Arc<Board>,
    pub(crate) feed: Arc<ChangeFeed>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) streams: Streams,
    pub(crate) gone: mpsc::UnboundedReceiver<ConnectionId>,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) subscribers: usize,
}

/// The subscribers, and what they know.
pub(crate) struct OperatorEvents {
    parts: Parts,
    requests: mpsc::Receiver<Request>,
    subscribers: BTreeSet<(ConnectionId, MediaType)>,
    count: Arc<AtomicUsize>,
    told: Registry,
}

impl OperatorEvents {
    pub(crate) fn new(parts: Parts) -> (Handle, OperatorEvents) {
        let (requests, queue) = mpsc::channel(WAITING);
        let count = Arc::new(AtomicUsize::new(0));
        let task = OperatorEvents {
            parts,
            requests: queue,
            subscribers: BTreeSet::new(),
            count: count.clone(),
            told: Registry::default(),
        };
        (Handle { requests, count }, task)
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut heartbeat = tokio::time::interval(self.parts.heartbeat_interval);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.parts.role.changed() => self.on_role(),
                () = self.parts.feed.ready() => self.on_changes(),
                Some(id) = self.parts.gone.recv() => self.forget(id),
                Some(request) = self.requests.recv() => self.on_request(request),
                _ = heartbeat.tick() => self.tell(&[of(Type::Heartbeat)]),
            }
            self.count.store(self.subscribers.len(), Ordering::Relaxed);
        }
    }

    /// Only the leading master knows everything; its subscribers have to look for the new one.
    fn on_role(&mut self) {
        if !self.parts.role.borrow_and_update().is_leader() {
            self.parts.streams.close_all();
            self.subscribers.clear();
        }
    }

    fn on_changes(&mut self) {
        let changes = self.parts.feed.take(usize::MAX);
        let newest = self.parts.board.newest().registry.clone();
        if !self.subscribers.is_empty() {
            let events: Vec<Event> =
                changes.keys.iter().flat_map(|key| diff::events(&self.told, &newest, key)).collect();
            self.tell(&events);
        }
        if changes.reset {
            self.parts.streams.close_all();
            self.subscribers.clear();
        }
        self.told = newest;
    }

    fn on_request(&mut self, request: Request) {
        if !matches!(*self.parts.role.borrow(), Role::Serving { .. }) {
            return;
        }
        // Whatever is new but not yet told belongs into the snapshot and to the others.
        self.on_changes();
        if self.subscribers.len() >= self.parts.subscribers
            && let Some((oldest, _)) = self.subscribers.first().copied()
        {
            self.parts.streams.close(oldest);
            self.forget(oldest);
        }
        let (id, inlet) = self.parts.streams.open(request.media);
        if request.opened.send(inlet).is_err() {
            self.parts.streams.close(id);
            return;
        }
        self.subscribers.insert((id, request.media));
        let local = self.parts.board.local();
        let snapshot = Event {
            subscribed: Some(Subscribed {
                get_state: Some(view::get_state(&self.told, local.as_ref().map(|local| &*local.view))),
                heartbeat_interval_seconds: Some(self.parts.heartbeat_interval.as_secs_f64()),
            }),
            ..of(Type::Subscribed)
        };
        self.send(id, request.media, &snapshot);
        self.send(id, request.media, &of(Type::Heartbeat));
    }

    fn tell(&mut self, events: &[Event]) {
        if self.subscribers.is_empty() {
            return;
        }
        for event in events {
            // Encoded once for all, so that many slow readers hold no more than one does.
            let records = [MediaType::Json, MediaType::Protobuf].map(|media| (media, OnceCell::new()));
            for (id, media) in self.subscribers.clone() {
                let Some((_, record)) = records.iter().find(|(known, _)| *known == media) else { continue };
                let record: &Bytes = record.get_or_init(|| encode_record(media, event));
                self.push(id, record.clone());
            }
        }
    }

    fn send(&mut self, id: ConnectionId, media: MediaType, event: &Event) {
        self.push(id, encode_record(media, event));
    }

    fn push(&mut self, id: ConnectionId, record: Bytes) {
        if self.parts.streams.push(id, record).is_err() {
            tracing::warn!(subscriber = id, "disconnected a subscriber that does not read its stream");
            self.forget(id);
        }
    }

    fn forget(&mut self, id: ConnectionId) {
        self.parts.streams.close(id);
        self.subscribers.retain(|(subscriber, _)| *subscriber != id);
    }
}

/// An event without a member.
pub(super) fn of(kind: Type) -> Event {
    Event { r#type: Some(kind as i32), ..Default::default() }
}
