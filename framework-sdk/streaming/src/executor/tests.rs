//! Drivers and executors over real connections in one process: executors outlive their driver, lost ones are replaced by the
//! others, and strangers get nowhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::HighestGeneration;
use super::locate::{Locate, Location};
use super::main::{ExecutorEnd, serve_driver};
use crate::driver::pool::{self, Gate, Listener, PoolSlots, Roster};
use crate::driver::{Engine, EngineError, Point, Probe, Setup, Stopped};
use crate::files::Disk;
use crate::job::Job;
use crate::local::{MemoryRegister, published_files};
use crate::register::{Register, RegisterStore};
use crate::wire::auth::JobKey;
use crate::wire::{FromExecutor, ToExecutor, read_frame, write_frame};

const RECORDS: i64 = 600;
const PATIENCE: Duration = Duration::from_secs(60);

/// Stops a driver when it reaches a point of a batch.
#[derive(Clone, Copy)]
struct StopAt(Option<(Point, u64)>);

impl Probe for StopAt {
    async fn reach(&self, point: Point, batch: u64) -> Result<(), Stopped> {
        match self.0 {
            Some((at, from)) if at == point && batch >= from => Err(Stopped(point)),
            _ => Ok(()),
        }
    }
}

/// Finds the driver in the register, as executors do, but without masters.
struct MemoryLocate(MemoryRegister);

impl Locate for MemoryLocate {
    async fn locate(&self) -> Result<Location, String> {
        let found = self.0.writer(0).get().await.map_err(|error| error.to_string())?;
        let Some(found) = found else { return Ok(Location::Nowhere) };
        let register: Register = serde_json::from_slice(&found.value).map_err(|error| error.to_string())?;
        Ok(match register.driver {
            _ if register.finished => Location::Finished,
            Some(driver) => Location::Driver { address: driver.address, generation: driver.generation },
            None => Location::Nowhere,
        })
    }
}

struct World {
    folder: TempDir,
    job: Job,
    register: MemoryRegister,
    executors: JoinSet<ExecutorEnd>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        std::fs::create_dir_all(folder.path().join("in")).unwrap();
        let lines: String = (0..RECORDS).map(|n| format!("{n},k{},{}\n", n % 7, n * 10)).collect();
        std::fs::write(folder.path().join("in/a.csv"), format!("seq,key,time\n{lines}")).unwrap();
        let text = format!(
            "name = 'net'\nslots = 4\n[source]\nkind = 'files'\npath = '{root}/in'\nfinite = true\n\
             columns = [{{ name = 'seq', type = 'int' }}, {{ name = 'key' }}, {{ name = 'time', type = 'int' }}]\n\
             event_time = {{ column = 'time', format = 'unix_ms' }}\n\
             [window]\nsize = '1s'\n[aggregate]\nkeys = ['key']\n\
             values = [{{ function = 'count', as = 'n' }}, {{ function = 'sum', column = 'seq', as = 'sum' }}]\n\
             [sink]\nkind = 'files'\npath = '{root}/out'\n[checkpoint]\npath = '{root}/state'\n\
             [batch]\ninterval_ms = 20\nmax_records = 40\n[backpressure]\nenabled = false\n"
        );
        let job = Job::from_toml_str(&text).unwrap();
        Self { folder, job, register: MemoryRegister::default(), executors: JoinSet::new() }
    }

    fn start_executor(&mut self, name: &str) -> AbortHandle {
        let (job, locate, name) = (self.job.clone(), MemoryLocate(self.register.clone()), name.to_owned());
        let sandbox = self.folder.path().join(&name);
        std::fs::create_dir_all(&sandbox).unwrap();
        self.executors.spawn(async move {
            let mut highest = HighestGeneration::load(&sandbox).unwrap();
            serve_driver(&job, &name, &locate, &mut highest, Disk::VOLATILE, PATIENCE).await
        })
    }

    /// Runs one driver generation to its end.
    async fn drive(&self, stop: StopAt) -> (Result<(), EngineError>, Register) {
        let generation = self.register.next_generation();
        let key = JobKey::load_or_create(&self.job.checkpoint.path).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, inbox) = pool::events();
        let gate = Gate::new(&self.job, generation, key);
        let listener = Listener::new(listener, gate, Roster::default(), events);
        let mut engine = Engine::new(Setup {
            job: self.job.clone(),
            store: self.register.writer(generation),
            slots: PoolSlots::new(inbox, Duration::from_secs(5), stop),
            probe: stop,
            disk: Disk::VOLATILE,
            generation,
            address: Some(address),
        });
        engine.claim().await.unwrap();
        let end = tokio::select! {
            end = timeout(PATIENCE, engine.run()) => end.expect("the driver is stuck"),
            () = listener.run() => unreachable!("it runs until it is dropped"),
        };
        (end, engine.register().clone())
    }

    fn assert_counted_once(&self) {
        let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let mut rows = 0;
        for file in published_files(&self.job.sink.path).unwrap() {
            for record in csv::Reader::from_path(file).unwrap().records() {
                let record = record.unwrap();
                let sum = sums.entry(record[2].to_owned()).or_default();
                *sum = (sum.0 + record[3].parse::<i64>().unwrap(), sum.1 + record[4].parse::<i64>().unwrap());
                rows += 1;
            }
        }
        assert_eq!(rows, 7 * 6, "seven keys in six windows");
        assert_eq!(sums.values().map(|sum| sum.0).sum::<i64>(), RECORDS);
        assert_eq!(sums.values().map(|sum| sum.1).sum::<i64>(), RECORDS * (RECORDS - 1) / 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executors_outlive_their_drivers() {
    let mut world = World::new();
    world.start_executor("e1");
    world.start_executor("e2");
    for (point, batch) in [(Point::MidSlots, 3), (Point::BeforeCommit, 5), (Point::Committed, 9)] {
        let (end, _) = world.drive(StopAt(Some((point, batch)))).await;
        assert!(end.is_err(), "it was to stop at {point:?}");
    }
    let (end, register) = world.drive(StopAt(None)).await;
    end.unwrap();
    assert_eq!(register.totals.records, RECORDS as u64);
    world.assert_counted_once();
    while let Some(end) = timeout(PATIENCE, world.executors.join_next()).await.expect("executors end") {
        assert_eq!(end.unwrap(), ExecutorEnd::Dismissed, "the same executors served all four drivers");
    }
    let highest = HighestGeneration::load(&world.folder.path().join("e1")).unwrap();
    assert_eq!(highest.get(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_executors_slots_are_run_by_the_others() {
    let mut world = World::new();
    let first = world.start_executor("e1");
    let sink = world.job.sink.path.clone();
    let replace = async {
        let deadline = Instant::now() + PATIENCE;
        while published_files(&sink).map_or(0, |files| files.len()) == 0 {
            assert!(Instant::now() < deadline, "nothing is published");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        first.abort();
    };
    let locate = MemoryLocate(world.register.clone());
    let (job, sandbox) = (world.job.clone(), tempfile::tempdir().unwrap());
    let second = async {
        replace.await;
        let mut highest = HighestGeneration::load(sandbox.path()).unwrap();
        serve_driver(&job, "e2", &locate, &mut highest, Disk::VOLATILE, PATIENCE).await
    };
    let ((end, _), end_of_second) = tokio::join!(world.drive(StopAt(None)), second);
    end.unwrap();
    assert_eq!(end_of_second, ExecutorEnd::Dismissed);
    world.assert_counted_once();
}

fn hello(job: &Job, highest_generation: u64, nonce: &str) -> FromExecutor {
    FromExecutor::Hello {
        job: job.name.clone(),
        topology_hash: job.topology_hash(),
        executor: "x".into(),
        capacity: 1,
        highest_generation,
        nonce: nonce.into(),
    }
}

/// Greets a listener of generation 5, and returns what it says after the proof; none if it hangs up.
async fn knock(folder: &Path, greeting: FromExecutor, proof: impl Fn(&str) -> String) -> Option<ToExecutor> {
    let key = JobKey::load_or_create(folder).unwrap();
    let job = World::new().job;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (events, _inbox) = pool::events();
    let listener = Listener::new(listener, Gate::new(&job, 5, key), Roster::default(), events);
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        write_frame(&mut stream, &greeting).await.unwrap();
        let Ok(ToExecutor::Welcome { generation: 5, nonce, .. }) = read_frame(&mut stream).await else {
            return None;
        };
        write_frame(&mut stream, &FromExecutor::Proof { mac: proof(&nonce) }).await.unwrap();
        read_frame(&mut stream).await.ok()
    };
    tokio::select! {
        answer = timeout(PATIENCE, client) => answer.expect("the listener is stuck"),
        () = listener.run() => unreachable!("it runs until it is dropped"),
    }
}

#[tokio::test]
async fn strangers_and_newer_executors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = JobKey::load_or_create(folder.path()).unwrap();
    let job = World::new().job;
    let knows = |nonce: &str| key.mac(&crate::wire::auth::proof_parts("net", "x", nonce, "mine"));
    let guesses = |_: &str| "guess".to_owned();
    let replayed = |_: &str| knows("an older nonce");

    assert_eq!(knock(folder.path(), hello(&job, 5, "mine"), knows).await, Some(ToExecutor::Ping));
    assert_eq!(knock(folder.path(), hello(&job, 0, "mine"), guesses).await, None);
    assert_eq!(knock(folder.path(), hello(&job, 0, "mine"), replayed).await, None);
    assert_eq!(knock(folder.path(), FromExecutor::Pong, knows).await, None);
    let newer = knock(folder.path(), hello(&job, 6, "mine"), knows).await;
    assert!(
        matches!(newer, Some(ToExecutor::Stop { exit: false, .. })),
        "the driver is the left-over: {newer:?}"
    );
    let FromExecutor::Hello { job: name, executor, capacity, nonce, .. } = hello(&job, 0, "mine") else {
        unreachable!("it is a greeting")
    };
    let other = FromExecutor::Hello {
        job: name,
        topology_hash: "other".into(),
        executor,
        capacity,
        highest_generation: 0,
        nonce,
    };
    let other = knock(folder.path(), other, knows).await;
    assert!(matches!(other, Some(ToExecutor::Stop { exit: true, .. })), "{other:?}");
}

#[tokio::test]
async fn a_driver_of_a_lower_generation_is_refused() {
    let world = World::new();
    let sandbox = tempfile::tempdir().unwrap();
    let mut highest = HighestGeneration::load(sandbox.path()).unwrap();
    highest.raise(7).unwrap();
    let key = JobKey::load_or_create(&world.job.checkpoint.path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let driver = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let Ok(FromExecutor::Hello { highest_generation: 7, nonce, .. }) = read_frame(&mut stream).await
        else {
            panic!("no greeting")
        };
        let mac = key.mac(&crate::wire::auth::welcome_parts("net", "6", &nonce, "mine"));
        let welcome = ToExecutor::Welcome { generation: 6, nonce: "mine".into(), mac };
        write_frame(&mut stream, &welcome).await.unwrap();
        read_frame::<FromExecutor>(&mut stream).await.is_err()
    };
    let worker = super::session::Worker::new(&world.job, "x", 1, Disk::VOLATILE);
    let serve = worker.serve(&address, &mut highest, || panic!("nothing was proved"));
    let (hung_up, end) = tokio::join!(driver, serve);
    assert!(hung_up);
    assert!(format!("{end:?}").contains("left-over"), "{end:?}");
}
