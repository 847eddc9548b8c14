//! The event loop around the real core, over a log that commits at once: what a leadership begins with, and what is left of it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tepui_proto::MediaType;
use tepui_proto::recordio::Decoder;
use tepui_proto::v1::scheduler::Call;
use tepui_proto::wire;
use tepui_raft_store::{
    Applied, Entry, Lead, Leadership, Members, Peer, ProposeError, ReadError, StateMachine, Status,
};
use tepui_scheduler_core::registry::{Envelope, FEATURE_LEVEL, Operation, RaiseLevel, encode_envelope};
use tepui_scheduler_core::{Config, Master, MasterIdentity};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::http::metrics::Metrics;
use crate::runtime::board::Board;
use crate::runtime::effects::Hands;
use crate::runtime::event_loop::{EventLoop, Parts};
use crate::runtime::handle::{Handle, Unavailable};
use crate::runtime::registrar::Registrar;
use crate::runtime::replica::Replica;
use crate::runtime::role::Role;
use crate::runtime::streams::{Bounds, Inlet, Streams};
use crate::stats::Stats;

const LONG: Duration = Duration::from_secs(10);
const SUBSCRIBE: &[u8] = br#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;

/// A log of one replica. A proposal is applied where it is made, unless the test holds the log up.
struct InstantLog {
    leadership: watch::Sender<Leadership>,
    machine: Mutex<Registrar>,
    index: AtomicU64,
    refuse: std::sync::atomic::AtomicBool,
}

impl Replica for InstantLog {
    fn propose(&self, _: &Lead, command: Bytes) -> BoxFuture<'static, Result<Applied, ProposeError>> {
        if self.refuse.load(Ordering::SeqCst) {
            return async { Err(ProposeError::NotLeading { leader: None }) }.boxed();
        }
        let index = self.index.fetch_add(1, Ordering::SeqCst) + 1;
        let answers = self.machine.lock().unwrap().apply(vec![Entry { index, command }]);
        let answer = answers.into_iter().next().unwrap();
        async move { Ok(Applied { index, answer }) }.boxed()
    }

    fn read_barrier(&self, _: &Lead) -> BoxFuture<'static, Result<u64, ProposeError>> {
        async { Ok(0) }.boxed()
    }

    fn settle(&self) -> BoxFuture<'static, Result<u64, ReadError>> {
        async { Ok(0) }.boxed()
    }

    fn age(&self) -> Option<Duration> {
        None
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn members(&self) -> watch::Receiver<Members> {
        watch::channel(Members::default()).1
    }

    fn status(&self) -> Status {
        Status::default()
    }

    fn cluster_id(&self) -> Option<String> {
        Some("cluster".into())
    }
}

struct Fixture {
    log: Arc<InstantLog>,
    board: Arc<Board>,
    handle: Handle,
    role: watch::Receiver<Role>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Fixture {
    fn new() -> Fixture {
        let board = Board::new(Vec::new());
        let log = Arc::new(InstantLog {
            leadership: watch::Sender::new(Leadership::Following { leader: None }),
            machine: Mutex::new(Registrar::new(1, FEATURE_LEVEL, board.clone(), Arc::default())),
            index: AtomicU64::new(0),
            refuse: false.into(),
        });
        let (handle, messages) = Handle::new(16);
        let (streams, closed) = Streams::new(Bounds { records: 100, bytes: 1 << 20 });
        let (role_sender, role) = watch::channel(Role::Following { leader: None });
        let stop = CancellationToken::new();
        let event_loop = EventLoop::new(Parts {
            master: Master::new(Config::default()),
            identity: MasterIdentity { node_id: 1, version: "1.11.0".into(), ..Default::default() },
            node_id: 1,
            replica: log.clone(),
            board: board.clone(),
            hands: Hands::new(log.clone(), board.clone(), streams, Arc::new(Stats::new(true))),
            messages,
            closed,
            role: role_sender,
            metrics: Arc::new(Metrics::new()),
            whitelist: None,
            proposals_in_flight: 16,
            stop: stop.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(event_loop.run());
        Fixture { log, board, handle, role, stop, tasks }
    }

    fn lead(&self, serial: u64) {
        self.log.leadership.send_replace(Leadership::Leading(Lead { term: 1, node_id: 1, serial }));
    }

    fn follow(&self, leader: Option<(u64, &str)>) {
        let peer = |api: &str| Peer { peer_addr: String::new(), api_addr: api.to_owned() };
        let leader = leader.map(|(id, api)| (id, peer(api)));
        self.log.leadership.send_replace(Leadership::Following { leader });
    }

    async fn role(&mut self, wanted: impl FnMut(&Role) -> bool) -> Role {
        tokio::time::timeout(LONG, self.role.wait_for(wanted))
            .await
            .expect("the role in time")
            .unwrap()
            .clone()
    }

    async fn subscribe(&self) -> Result<Records, Unavailable> {
        let call: Call = wire::decode(MediaType::Json, SUBSCRIBE).unwrap();
        let opened = self.handle.subscribe(call, None, None, MediaType::Json).await?;
        Ok(Records { inlet: opened.inlet, decoder: Decoder::new(1 << 20) })
    }
}

struct Records {
    inlet: Inlet,
    decoder: Decoder,
}

impl Records {
    async fn next(&mut self) -> Option<Value> {
        let next = poll_fn(|context| self.inlet.poll_record(context));
        let record = tokio::time::timeout(LONG, next).await.expect("a record or the end in time")?;
        self.decoder.push(&record);
        let event = self.decoder.next_record().unwrap().expect("a queued record is whole");
        assert_eq!(self.decoder.next_record().unwrap(), None, "a queued record is one");
        Some(serde_json::from_slice(&event).unwrap())
    }
}

fn is_serving(role: &Role) -> bool {
    matches!(role, Role::Serving { .. })
}

#[tokio::test]
async fn a_leadership_begins_with_an_epoch_and_leaves_nothing_behind() {
    let mut fixture = Fixture::new();
    assert!(fixture.subscribe().await.is_err());
    fixture.lead(1);
    fixture.role(is_serving).await;
    assert_eq!(fixture.board.newest().registry.epoch, 1);
    assert!(fixture.board.local().is_some_and(|local| local.view.serving));
    let mut events = fixture.subscribe().await.unwrap();
    assert_eq!(events.next().await.unwrap()["type"], "SUBSCRIBED");
    assert_eq!(events.next().await.unwrap()["type"], "HEARTBEAT");

    fixture.follow(Some((2, "b:5050")));
    let role = fixture.role(|role| !role.is_leader()).await;
    assert_eq!(role, Role::Following { leader: Some("b:5050".into()) });
    assert_eq!(events.next().await, None);
    assert!(fixture.board.local().is_none());
    assert!(fixture.subscribe().await.is_err());

    fixture.lead(2);
    fixture.role(is_serving).await;
    assert_eq!(fixture.board.newest().registry.epoch, 2);
    fixture.stop.cancel();
    fixture.tasks.join_next().await.unwrap().unwrap();
    assert_eq!(*fixture.role.borrow(), Role::Following { leader: None });
}

#[tokio::test]
async fn a_new_leadership_without_a_pause_is_a_new_session() {
    let mut fixture = Fixture::new();
    fixture.lead(1);
    fixture.role(is_serving).await;
    let mut events = fixture.subscribe().await.unwrap();
    assert_eq!(events.next().await.unwrap()["type"], "SUBSCRIBED");
    fixture.lead(2);
    let second = |role: &Role| matches!(role, Role::Serving { lead } if lead.serial == 2);
    fixture.role(second).await;
    assert_eq!(fixture.board.newest().registry.epoch, 2);
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn a_leader_whose_first_entry_fails_never_serves() {
    let mut fixture = Fixture::new();
    fixture.log.refuse.store(true, Ordering::SeqCst);
    fixture.lead(1);
    fixture.role(|role| *role == Role::Recovering).await;
    assert!(fixture.subscribe().await.is_err());
    assert_eq!(fixture.board.newest().registry.epoch, 0);
}

#[tokio::test]
async fn a_draining_leader_says_so_and_nobody_is_sent_back_to_it() {
    let mut fixture = Fixture::new();
    fixture.lead(1);
    fixture.role(is_serving).await;
    fixture.handle.drain().await;
    fixture.role(|role| *role == Role::Draining).await;
    fixture.follow(Some((1, "a:5050")));
    let role = fixture.role(|role| !role.is_leader()).await;
    assert_eq!(role, Role::Following { leader: None });
}

#[tokio::test]
async fn an_entry_that_cannot_be_understood_takes_the_replica_out_of_service() {
    let fixture = Fixture::new();
    let mut machine = fixture.log.machine.lock().unwrap();
    let entry = |index| Entry { index, command: Bytes::from_static(&[0, 0, 0, 99, 1, 2]) };
    assert_eq!(machine.apply(vec![entry(7), entry(8)]).len(), 2);
    let reason = fixture.board.fatal().borrow().clone().unwrap();
    assert!(reason.contains("log entry 7") && reason.contains("99"), "{reason}");
    assert_eq!(fixture.board.newest().applied_index, 0);
    let frozen = machine.freeze();
    assert!(Registrar::write_snapshot(&frozen, &mut Vec::new()).is_err());
}

#[tokio::test]
async fn a_snapshot_brings_the_whole_registry() {
    let mut fixture = Fixture::new();
    fixture.lead(1);
    fixture.role(is_serving).await;
    let mut bytes = Vec::new();
    let frozen = fixture.log.machine.lock().unwrap().freeze();
    Registrar::write_snapshot(&frozen, &mut bytes).unwrap();
    let board = Board::new(Vec::new());
    let mut other = Registrar::new(2, FEATURE_LEVEL, board.clone(), Arc::default());
    other.install(&mut bytes.as_slice(), 5).unwrap();
    assert_eq!(board.newest().registry, fixture.board.newest().registry);
    assert_eq!(board.newest().applied_index, 5);
    assert!(other.install(&mut &bytes[..bytes.len() - 1], 6).is_err());
}

#[tokio::test]
async fn a_state_of_a_higher_level_keeps_this_build_out() {
    let mut fixture = Fixture::new();
    fixture.lead(1);
    fixture.role(is_serving).await;
    let raise = Envelope {
        epoch: fixture.board.newest().registry.epoch,
        operation: Some(Operation::RaiseLevel(RaiseLevel { level: FEATURE_LEVEL + 1 })),
        ..Envelope::default()
    };
    let entry = |index| Entry { index, command: encode_envelope(&raise) };
    let words = format!("at feature level {}, this build can only do {FEATURE_LEVEL}", FEATURE_LEVEL + 1);
    let before = fixture.board.newest().applied_index;
    let mut machine = fixture.log.machine.lock().unwrap();
    machine.apply(vec![entry(before + 1)]);
    let fatal = fixture.board.fatal().borrow().clone().unwrap();
    assert!(fatal.contains(&words), "{fatal}");
    assert_eq!(fixture.board.newest().applied_index, before, "nothing of it is shown");
    let frozen = machine.freeze();
    assert!(Registrar::write_snapshot(&frozen, &mut Vec::new()).is_err(), "nor written");
    // The same from a snapshot, at the start of a master.
    let mut registry = fixture.board.newest().registry.clone();
    registry.apply(&raise);
    let mut bytes = Vec::new();
    registry.write_snapshot(&mut bytes).unwrap();
    let mut other = Registrar::new(2, FEATURE_LEVEL, Board::new(Vec::new()), Arc::default());
    let error = other.install(&mut bytes.as_slice(), 9).unwrap_err().to_string();
    assert!(error.contains(&words), "{error}");
    let mut newer = Registrar::new(2, FEATURE_LEVEL + 1, Board::new(Vec::new()), Arc::default());
    newer.install(&mut bytes.as_slice(), 9).unwrap();
}
