//! What snapshots of a large state cost those who write: the longest time between two acknowledged writes while nothing else happens,
//! while a snapshot is taken, and while a new replica is sent one and installs it. Three processes and then a fourth, each with the
//! Registry of 50,000 agents and 500,000 tasks.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tepui_raft_store::{Config, Entry, Lead, Leadership, Peer, RaftStore, StateMachine};
use tepui_scheduler_core::registry::Registry;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use super::registry_cluster::{Cluster, Size};
use super::{Figure, Settings};
use crate::harness::lock;

/// Building the state takes a while, three times at once on two cores.
const PATIENCE: Duration = Duration::from_secs(300);
const CALM: Duration = Duration::from_secs(5);
const MEMBERS: u64 = 3;

/// A Registry that does not change, and how much was applied.
struct Large {
    registry: Registry,
    applied: u64,
}

impl StateMachine for Large {
    type Frozen = (Registry, u64);

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        self.applied += entries.len() as u64;
        vec![Bytes::new(); entries.len()]
    }

    fn freeze(&self) -> Self::Frozen {
        (self.registry.clone(), self.applied)
    }

    fn write_snapshot((registry, applied): &Self::Frozen, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&applied.to_le_bytes())?;
        registry.write_snapshot(out)
    }

    fn install(&mut self, input: &mut dyn Read, _last_index: u64) -> Result<(), anyhow::Error> {
        let mut applied = [0; 8];
        input.read_exact(&mut applied)?;
        *self = Large { registry: Registry::read_snapshot(input)?, applied: u64::from_le_bytes(applied) };
        Ok(())
    }
}

/// What the leading process measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    phases: Vec<Phase>,
    snapshot_bytes: u64,
    /// How much smaller the quickest gzip makes it, and how long that takes in one thread.
    gzip_ratio: f64,
    gzip_ms: f64,
}

#[derive(Serialize, Deserialize)]
struct Phase {
    what: String,
    took_ms: f64,
    /// The times between acknowledged writes, milliseconds.
    gaps_ms: Vec<f64>,
}

/// One process of the measurement: `bench snapshot-node <id> <dir> <peer ports> <short>`.
pub fn node() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let outcome = tokio::runtime::Runtime::new()
        .context("start the runtime")
        .and_then(|runtime| runtime.block_on(serve(&arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snapshot node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn peer(port: u16) -> Peer {
    Peer { peer_addr: format!("127.0.0.1:{port}"), api_addr: String::new() }
}

#[expect(clippy::print_stdout, reason = "its parent reads the answers there")]
async fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let [id, dir, ports, short] = arguments else { anyhow::bail!("expected <id> <dir> <ports> <short>") };
    let id: u64 = id.parse()?;
    let ports: Vec<u16> = ports.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let registry = if id <= MEMBERS {
        let mut cluster = Cluster::new(if short == "true" { Size::short() } else { Size::full() });
        cluster.build();
        cluster.into_registry()
    } else {
        Registry::default()
    };
    let port = ports[usize::try_from(id)? - 1];
    let mut config = Config::new(id, dir, (Ipv4Addr::LOCALHOST, port).into(), peer(port));
    // The new replica finds no log that reaches back to the beginning.
    config.keep_entries = 0;
    config.snapshot_every_entries = u64::MAX;
    config.snapshot_every_bytes = u64::MAX;
    let store = RaftStore::open(config, Large { registry, applied: 0 }).await?;
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    if lines.next_line().await?.as_deref() == Some("bootstrap") {
        let members: BTreeMap<u64, Peer> =
            (1..=MEMBERS).zip(&ports).map(|(id, port)| (id, peer(*port))).collect();
        store.bootstrap(members).await?;
    }
    let mut leadership = store.leadership();
    let lead = loop {
        let now = leadership.borrow_and_update().clone();
        if let Leadership::Leading(lead) = now {
            break lead;
        }
        leadership.changed().await?;
    };
    println!("leading");
    lines.next_line().await?;
    let writer = Writer::start(store.clone(), lead);
    let calm = writer.phase("nothing else happens", tokio::time::sleep(CALM)).await;
    let taken = writer.phase("a snapshot is taken", store.trigger_snapshot()).await;
    println!("taken");
    lines.next_line().await?;
    let joining = store.add_member(MEMBERS + 1, peer(ports[usize::try_from(MEMBERS)?]), PATIENCE);
    let sent = writer.phase("a new replica is sent one and installs it", joining).await;
    let snapshot_bytes = store.storage().snapshot_bytes.unwrap_or_default();
    let phases = vec![calm.0, taken.0, sent.0];
    taken.1?;
    sent.1?;
    let folder = std::path::Path::new(dir).join("snapshots");
    let (gzip_ratio, gzip_ms) = tokio::task::spawn_blocking(move || compressed(&folder)).await??;
    println!("{}", serde_json::to_string(&Measured { phases, snapshot_bytes, gzip_ratio, gzip_ms })?);
    Ok(())
}

/// What compression would bring.
fn compressed(folder: &std::path::Path) -> anyhow::Result<(f64, f64)> {
    let files =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let newest = files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "snap")).max();
    let bytes = std::fs::read(newest.context("a snapshot")?)?;
    let began = Instant::now();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bytes)?;
    let length = encoder.finish()?.len();
    Ok((bytes.len() as f64 / length as f64, began.elapsed().as_secs_f64() * 1_000.0))
}

/// One client that writes again as soon as it was answered.
struct Writer {
    gaps: Arc<Mutex<(Instant, Vec<f64>)>>,
    /// Ends with it.
    _writing: JoinSet<()>,
}

impl Writer {
    fn start(store: RaftStore, lead: Lead) -> Writer {
        let gaps = Arc::new(Mutex::new((Instant::now(), Vec::new())));
        let noted = gaps.clone();
        let mut writing = JoinSet::new();
        writing.spawn(async move {
            while store.propose(&lead, Bytes::from_static(&[7; 256])).await.is_ok() {
                let mut noted = noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let now = Instant::now();
                let gap = (now - noted.0).as_secs_f64() * 1_000.0;
                noted.0 = now;
                noted.1.push(gap);
            }
        });
        Writer { gaps, _writing: writing }
    }

    /// Measures while something happens.
    async fn phase<T>(&self, what: &str, work: impl Future<Output = T>) -> (Phase, T) {
        self.take();
        let began = Instant::now();
        let done = work.await;
        let took_ms = began.elapsed().as_secs_f64() * 1_000.0;
        (Phase { what: what.to_owned(), took_ms, gaps_ms: self.take() }, done)
    }

    /// The gaps since the last call, the one that is still open included.
    fn take(&self) -> Vec<f64> {
        let mut noted = self.gaps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let open = noted.0.elapsed().as_secs_f64() * 1_000.0;
        let mut gaps = std::mem::take(&mut noted.1);
        gaps.push(open);
        gaps
    }
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(settings: &Settings, id: u64, folder: &std::path::Path, ports: &str) -> anyhow::Result<Process> {
        let mut child = Command::new(&settings.executable)
            .arg("snapshot-node")
            .arg(id.to_string())
            .arg(folder.join(id.to_string()))
            .args([ports, &settings.short.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        Ok(Process { child, lines })
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.context("no answer")??;
        line.context("it ended early")
    }

    async fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("its input")?;
        Ok(stdin.write_all(format!("{line}\n").as_bytes()).await?)
    }
}

pub(super) async fn pauses(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let folder = tempfile::Builder::new().prefix("tepui-bench-").tempdir()?;
    let listeners: Vec<TcpListener> =
        (0..=MEMBERS).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port().to_string()))
        .collect::<anyhow::Result<Vec<_>>>()?
        .join(",");
    drop(listeners);
    let mut processes = (1..=MEMBERS)
        .map(|id| Process::start(settings, id, folder.path(), &ports))
        .collect::<anyhow::Result<Vec<_>>>()?;
    for process in &mut processes {
        process.line().await?;
    }
    processes[0].tell("bootstrap").await?;
    for process in &mut processes[1..] {
        process.tell("join").await?;
    }
    let leader = {
        let waiting = processes
            .iter_mut()
            .enumerate()
            .map(|(place, process)| Box::pin(async move { process.line().await.map(|line| (place, line)) }));
        let ((place, line), _others) =
            futures::future::select_ok(waiting.collect::<Vec<_>>()).await.context("no leader")?;
        anyhow::ensure!(line == "leading", "{line}");
        place
    };
    processes[leader].tell("go").await?;
    processes[leader].line().await?;
    let mut fourth = Process::start(settings, MEMBERS + 1, folder.path(), &ports)?;
    fourth.line().await?;
    fourth.tell("join").await?;
    processes[leader].tell("go").await?;
    let measured: Measured = serde_json::from_str(&processes[leader].line().await?)?;
    let size = if settings.short { Size::short() } else { Size::full() }.name();
    let mut figures = vec![Figure::of(
        "snapshots",
        &format!("size of a snapshot, {size}"),
        "MB",
        "",
        vec![measured.snapshot_bytes as f64 / 1e6],
    )];
    figures.push(Figure::of(
        "snapshots",
        "the quickest gzip makes it smaller by",
        "x",
        "",
        vec![measured.gzip_ratio],
    ));
    figures.push(Figure::of("snapshots", "and takes, one thread", "ms", "", vec![measured.gzip_ms]));
    for Phase { what, took_ms, gaps_ms } in measured.phases {
        let what = format!("between acknowledged writes while {what} ({took_ms:.0} ms)");
        let mut figure = Figure::of("snapshots", &what, "ms", "longest within an election timeout", gaps_ms);
        figure.value = figure.max;
        figures.push(figure);
    }
    Ok(figures)
}
