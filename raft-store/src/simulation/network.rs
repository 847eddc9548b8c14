//! The modelled network: requests and answers that take their time, get lost, arrive twice or late, and links that are cut, in one
//! direction or both.
//!
//! Owns what is on its way, and for each replica the way in and out. A request that nobody answers ends at the sender's own deadline; one
//! to a process that is not there ends at once, as on a real host. Greeting and encoding are not modelled: they travel as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tower::ServiceExt;

use super::dice::Dice;
use super::machine::lock;
use super::trace::{Trace, fold};
use crate::network::{Carrier, Content, Letter, Undelivered};
use crate::surroundings::Serve;

/// A connection on which nothing comes back is given up after this time, in milliseconds: one keep-alive and the wait for its answer.
const KEEP_ALIVE_MS: u64 = 3_000;
/// More than any message between replicas.
const MAX_BODY: usize = 64 << 20;

type Reply = Result<Response<Bytes>, Undelivered>;

/// A request, as it is on the wire.
#[derive(Clone)]
struct Packet {
    to: String,
    path: &'static str,
    headers: HeaderMap,
    body: Bytes,
}

/// What leaves a replica.
enum Out {
    Request { packet: Packet, reply: oneshot::Sender<Reply> },
    Answer { call: u64, response: Response<Bytes> },
}

/// What reaches a replica.
struct Arrival {
    call: u64,
    packet: Packet,
}

type Outbox = Arc<Mutex<Vec<Out>>>;

/// The way of one process to the network.
pub(super) struct Socket {
    outbox: Outbox,
    arrivals: Mutex<Option<mpsc::UnboundedReceiver<Arrival>>>,
}

impl Carrier for Socket {
    fn carry(&self, letter: Letter) -> BoxFuture<'static, Reply> {
        let outbox = Arc::clone(&self.outbox);
        Box::pin(async move {
            let body = match letter.content {
                Content::Whole(bytes) => bytes.into(),
                Content::Pieces(mut pieces) => {
                    let mut all = Vec::new();
                    while let Some(piece) = pieces.next().await {
                        all.extend_from_slice(&piece.map_err(|e| Undelivered::Broken(e.to_string()))?);
                    }
                    all.into()
                }
            };
            let packet = Packet { to: letter.to, path: letter.path, headers: letter.headers, body };
            let (reply, answer) = oneshot::channel();
            lock(&outbox).push(Out::Request { packet, reply });
            let answer = async { answer.await.unwrap_or(Err(Undelivered::Broken("reset".to_owned()))) };
            match letter.deadline {
                Some(deadline) => {
                    tokio::time::timeout(deadline, answer).await.unwrap_or(Err(Undelivered::TimedOut))
                }
                None => answer.await,
            }
        })
    }
}

impl Socket {
    /// What the replica serves its routes with.
    pub(super) fn listen(&self, addr: SocketAddr) -> (SocketAddr, Serve) {
        let arrivals = lock(&self.arrivals).take();
        let outbox = Arc::clone(&self.outbox);
        let serve: Serve = Box::new(move |router| Box::pin(serve(router, arrivals, outbox)));
        (addr, serve)
    }
}

async fn serve(
    router: Router,
    arrivals: Option<mpsc::UnboundedReceiver<Arrival>>,
    outbox: Outbox,
) -> io::Result<()> {
    let mut arrivals = arrivals.ok_or_else(|| io::Error::other("listens already"))?;
    let mut handling = tokio::task::JoinSet::new();
    while let Some(arrival) = arrivals.recv().await {
        while handling.try_join_next().is_some() {}
        handling.spawn(handle(router.clone(), arrival, Arc::clone(&outbox)));
    }
    Ok(())
}

async fn handle(router: Router, arrival: Arrival, outbox: Outbox) {
    let Arrival { call, packet } = arrival;
    let mut request = Request::post(packet.path).body(Body::from(packet.body)).unwrap_or_default();
    *request.headers_mut() = packet.headers;
    let Ok(response) = router.oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await.unwrap_or_default();
    lock(&outbox).push(Out::Answer { call, response: Response::from_parts(head, body) });
}

/// How the network is at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Weather {
    /// Ways, from and to, on which nothing arrives.
    pub(super) cut: BTreeSet<(u64, u64)>,
    /// Up to so much longer than usual, in milliseconds.
    pub(super) slow_ms: u64,
    /// So many of 100 messages are lost …
    pub(super) lost: u64,
    /// … or arrive twice.
    pub(super) twice: u64,
}

impl Weather {
    pub(super) fn is_fine(&self) -> bool {
        self.cut.is_empty() && self.slow_ms == 0 && self.lost == 0 && self.twice == 0
    }
}

struct Call {
    from: u64,
    /// The life of the process that asked.
    life: u64,
    /// The replica that is working on it.
    at: Option<u64>,
    reply: Option<oneshot::Sender<Reply>>,
}

enum Event {
    Request { call: u64, packet: Packet },
    Answer { call: u64, by: u64, response: Response<Bytes> },
    Reset { call: u64 },
}

/// One process on the network.
struct Host {
    replica: u64,
    life: u64,
    outbox: Outbox,
    arrivals: mpsc::UnboundedSender<Arrival>,
    paused: bool,
    /// Waits for a paused process.
    held: Vec<Event>,
}

/// The network. Stepped by the world.
pub(super) struct Network {
    hosts: BTreeMap<u64, Host>,
    addresses: BTreeMap<String, u64>,
    calls: BTreeMap<u64, Call>,
    under_way: BTreeMap<(u64, u64), Event>,
    pub(super) weather: Weather,
    dice: Dice,
    next: u64,
    pub(super) arrived: u64,
    /// When an answer of the second last reached the first.
    pub(super) answered: BTreeMap<(u64, u64), u64>,
}

impl Network {
    pub(super) fn new(seed: u64) -> Network {
        Network {
            hosts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            calls: BTreeMap::new(),
            under_way: BTreeMap::new(),
            weather: Weather::default(),
            dice: Dice::new(seed),
            next: 0,
            arrived: 0,
            answered: BTreeMap::new(),
        }
    }

    /// A process begins.
    pub(super) fn connect(&mut self, replica: u64, life: u64, addr: &str) -> Socket {
        let (sender, receiver) = mpsc::unbounded_channel();
        let outbox = Outbox::default();
        self.addresses.insert(addr.to_owned(), replica);
        let host = Host {
            replica,
            life,
            outbox: Arc::clone(&outbox),
            arrivals: sender,
            paused: false,
            held: Vec::new(),
        };
        self.hosts.insert(replica, host);
        Socket { outbox, arrivals: Mutex::new(Some(receiver)) }
    }

    /// A process is gone, and with it what it asked and was asked.
    pub(super) fn disconnect(&mut self, now: u64, replica: u64) {
        self.hosts.remove(&replica);
        self.calls.retain(|_, call| call.from != replica);
        self.answered.retain(|(asked, _), _| *asked != replica);
        // Whoever waits for it learns of the reset, if the way back is open.
        let cut = self.weather.cut.clone();
        let reset = |call: &Call| call.at == Some(replica) && !cut.contains(&(replica, call.from));
        let waiting: Vec<u64> =
            self.calls.iter().filter(|(_, call)| reset(call)).map(|(id, _)| *id).collect();
        for call in waiting {
            self.post(now, 1, Event::Reset { call });
        }
    }

    pub(super) fn pause(&mut self, replica: u64, paused: bool) {
        let Some(host) = self.hosts.get_mut(&replica) else { return };
        host.paused = paused;
        let held = if paused { Vec::new() } else { std::mem::take(&mut host.held) };
        for event in held {
            self.arrive(u64::MAX, event);
        }
    }

    fn post(&mut self, now: u64, delay: u64, event: Event) {
        self.next += 1;
        self.under_way.insert((now + delay, self.next), event);
    }

    /// What a message meets on its way: how long it takes, if it arrives.
    fn way(&mut self, from: u64, to: u64) -> Option<u64> {
        if self.weather.cut.contains(&(from, to)) || self.dice.percent(self.weather.lost) {
            return None;
        }
        let usual = if self.dice.percent(3) { self.dice.between(3, 25) } else { self.dice.between(0, 2) };
        let slow = self.weather.slow_ms;
        Some(if slow > 0 { usual + self.dice.between(0, slow) } else { usual })
    }

    /// Takes what the replicas sent in this step.
    pub(super) fn collect(&mut self, now: u64, trace: &mut Trace) {
        let boxes: Vec<(u64, u64, Outbox)> =
            self.hosts.values().map(|host| (host.replica, host.life, Arc::clone(&host.outbox))).collect();
        for (from, life, outbox) in boxes {
            for out in std::mem::take(&mut *lock(&outbox)) {
                match out {
                    Out::Request { packet, reply } => self.ask(now, from, life, packet, reply, trace),
                    Out::Answer { call, response } => {
                        let Some(asked) = self.calls.get_mut(&call) else { continue };
                        asked.at = None;
                        let to = asked.from;
                        match self.way(from, to) {
                            Some(delay) => self.post(now, delay, Event::Answer { call, by: from, response }),
                            None => self.post(now, KEEP_ALIVE_MS, Event::Reset { call }),
                        }
                    }
                }
            }
        }
        self.calls.retain(|_, call| call.reply.as_ref().is_none_or(|reply| !reply.is_closed()));
    }

    fn ask(
        &mut self,
        now: u64,
        from: u64,
        life: u64,
        packet: Packet,
        reply: oneshot::Sender<Reply>,
        trace: &mut Trace,
    ) {
        self.next += 1;
        let call = self.next;
        self.calls.insert(call, Call { from, life, at: None, reply: Some(reply) });
        let to = self.addresses.get(&packet.to).copied().unwrap_or(0);
        trace.note(now, packet.path, &[from, to, fold(0, &packet.body)]);
        if self.dice.percent(self.weather.twice)
            && let Some(delay) = self.way(from, to)
        {
            self.post(now, delay + 1, Event::Request { call, packet: packet.clone() });
        }
        match self.way(from, to) {
            Some(delay) => self.post(now, delay, Event::Request { call, packet }),
            None => self.post(now, KEEP_ALIVE_MS, Event::Reset { call }),
        }
    }

    /// Delivers what is due.
    pub(super) fn deliver(&mut self, now: u64) {
        while let Some(entry) = self.under_way.first_entry()
            && entry.key().0 <= now
        {
            let event = entry.remove();
            self.arrive(now, event);
        }
    }

    fn arrive(&mut self, now: u64, event: Event) {
        self.arrived += 1;
        match event {
            Event::Request { call, packet } => {
                let to = self.addresses.get(&packet.to).copied().unwrap_or(0);
                if let Some(waiting) = self.calls.get_mut(&call) {
                    waiting.at = Some(to);
                }
                match self.hosts.get_mut(&to) {
                    None => self.refuse(call, Undelivered::Unreachable("nobody listens".to_owned())),
                    Some(host) if host.paused => host.held.push(Event::Request { call, packet }),
                    Some(host) => {
                        // A process that is about to end takes nothing any more.
                        drop(host.arrivals.send(Arrival { call, packet }));
                    }
                }
            }
            Event::Answer { call, by, response } => {
                let Some(waiting) = self.calls.get_mut(&call) else { return };
                let (from, life) = (waiting.from, waiting.life);
                let Some(host) = self.hosts.get_mut(&from).filter(|host| host.life == life) else { return };
                if host.paused {
                    host.held.push(Event::Answer { call, by, response });
                    return;
                }
                if let Some(reply) = waiting.reply.take() {
                    if response.status().is_success() && now != u64::MAX {
                        self.answered.insert((from, by), now);
                    }
                    // It may have given up meanwhile.
                    drop(reply.send(Ok(response)));
                }
                self.calls.remove(&call);
            }
            Event::Reset { call } => self.refuse(call, Undelivered::Broken("reset".to_owned())),
        }
    }

    fn refuse(&mut self, call: u64, why: Undelivered) {
        if let Some(mut waiting) = self.calls.remove(&call)
            && let Some(reply) = waiting.reply.take()
        {
            drop(reply.send(Err(why)));
        }
    }
}
