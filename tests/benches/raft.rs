//! P13: what the replicated log carries. Three processes with fsync on, commands of 256 bytes, proposed inside the leading one: by one client
//! after the other's answer, and by many at once.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tepui_raft_store::{Config, Entry, Lead, Leadership, Peer, RaftStore, StateMachine};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinSet;

use super::{Figure, Settings};
use crate::harness::{PATIENCE, lock};

const COMMAND_BYTES: usize = 256;
/// Proposals in flight together in the grouped measurement.
const IN_FLIGHT: usize = 512;

/// Counts what is applied.
struct Counter(u64);

impl StateMachine for Counter {
    type Frozen = u64;

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        self.0 += entries.len() as u64;
        vec![Bytes::new(); entries.len()]
    }

    fn freeze(&self) -> u64 {
        self.0
    }

    fn write_snapshot(frozen: &u64, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&frozen.to_le_bytes())
    }

    fn install(&mut self, input: &mut dyn Read, _last_index: u64) -> Result<(), anyhow::Error> {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// What the leading process measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    /// Milliseconds of each command, one client.
    single_ms: Vec<f64>,
    /// Commands per second, many clients, one figure for each slice of the run.
    grouped: Vec<f64>,
}

/// One process of the measurement: `bench raft-node <id> <dir> <peer ports>`.
pub fn node() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let outcome = tokio::runtime::Runtime::new()
        .context("start the runtime")
        .and_then(|runtime| runtime.block_on(serve(&arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "its parent reads the answers there")]
async fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let [id, dir, ports] = arguments else { anyhow::bail!("expected <id> <dir> <ports>") };
    let id: u64 = id.parse()?;
    let ports: Vec<u16> = ports.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let members: BTreeMap<u64, Peer> = (1..)
        .zip(&ports)
        .map(|(id, port)| (id, Peer { peer_addr: format!("127.0.0.1:{port}"), api_addr: String::new() }))
        .collect();
    let me = members.get(&id).cloned().context("a port for this node")?;
    let port = ports[usize::try_from(id)? - 1];
    let config = Config::new(id, dir, (Ipv4Addr::LOCALHOST, port).into(), me);
    let store = RaftStore::open(config, Counter(0)).await?;
    if id == 1 {
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
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await?;
    let seconds: u64 = line.trim().parse().context("read the duration")?;
    let measured = Measured {
        single_ms: single(&store, &lead, Duration::from_secs(seconds)).await?,
        grouped: grouped(&store, &lead, seconds).await?,
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

async fn single(store: &RaftStore, lead: &Lead, length: Duration) -> anyhow::Result<Vec<f64>> {
    let began = Instant::now();
    let mut samples = Vec::new();
    while began.elapsed() < length {
        let at = Instant::now();
        store.propose(lead, Bytes::from(vec![7; COMMAND_BYTES])).await?;
        samples.push(at.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(samples)
}

async fn grouped(store: &RaftStore, lead: &Lead, seconds: u64) -> anyhow::Result<Vec<f64>> {
    let mut rates = Vec::new();
    for _slice in 0..seconds.max(1) {
        let began = Instant::now();
        let mut clients: JoinSet<anyhow::Result<u64>> = JoinSet::new();
        for _client in 0..IN_FLIGHT {
            let (store, lead) = (store.clone(), lead.clone());
            clients.spawn(async move {
                let mut done = 0;
                while began.elapsed() < Duration::from_secs(1) {
                    store.propose(&lead, Bytes::from(vec![7; COMMAND_BYTES])).await?;
                    done += 1;
                }
                Ok(done)
            });
        }
        let mut done = 0;
        while let Some(client) = clients.join_next().await {
            done += client??;
        }
        rates.push(done as f64 / began.elapsed().as_secs_f64());
    }
    Ok(rates)
}

pub(super) async fn throughput(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let folder = tempfile::Builder::new().prefix("tepui-bench-").tempdir()?;
    let listeners: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port().to_string()))
        .collect::<anyhow::Result<Vec<_>>>()?
        .join(",");
    drop(listeners);
    let mut children = Vec::new();
    for id in 1..=3 {
        let child = tokio::process::Command::new(&settings.executable)
            .args([
                "raft-node",
                &id.to_string(),
                &folder.path().join(id.to_string()).display().to_string(),
                &ports,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        children.push(child);
    }
    let mut waiting = JoinSet::new();
    for mut child in children {
        waiting.spawn(async move {
            let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
            let line = lines.next_line().await?;
            Ok::<_, anyhow::Error>((child, lines, line))
        });
    }
    let first = tokio::time::timeout(PATIENCE, waiting.join_next()).await.context("no leader")?;
    let (mut leader, mut lines, line) = first.context("no process")???;
    anyhow::ensure!(line.as_deref() == Some("leading"), "a node ended early: {line:?}");
    let seconds = if settings.short { 1 } else { 5 };
    let stdin = leader.stdin.as_mut().context("its input")?;
    stdin.write_all(format!("{seconds}\n").as_bytes()).await?;
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.context("no result")??;
    let measured: Measured = serde_json::from_str(&line.context("the leader ended early")?)?;
    Ok(vec![
        Figure::of(
            "P13",
            "raft-store, 256 B, three processes, fsync, 512 proposals in flight",
            "/s",
            ">= 50000",
            measured.grouped,
        ),
        Figure::of(
            "P13",
            "raft-store, 256 B, three processes, fsync, one client",
            "ms",
            "p50 <= 2",
            measured.single_ms,
        ),
    ])
}
