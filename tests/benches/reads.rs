//! P11: how long the whole state of a big cluster takes to read, and what readers cost everybody else. A real master, whose log begins
//! with that cluster; readers, and those who are measured beside them, in this process on the same cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tepui::cluster::{LocalCluster, Options};
use tepui_proto::v1::TaskState;
use tepui_raft_store::{Founding, Peer, Position};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::registry::TaskRecord;
use tokio::task::JoinSet;

use super::registry_cluster::{Cluster, Size};
use super::{Figure, Settings};
use crate::harness::{PATIENCE, lock};

const POLLERS: usize = 20;

/// What is read, and with which body if it is posted.
struct Read {
    what: &'static str,
    path: &'static str,
    call: Option<&'static str>,
    accept: &'static str,
    gzip: bool,
    target: &'static str,
}

const READS: [Read; 4] = [
    Read { what: "/state, JSON", path: "/state", call: None, accept: "*/*", gzip: false, target: "<= 700" },
    Read { what: "/state, JSON, packed", path: "/state", call: None, accept: "*/*", gzip: true, target: "" },
    Read {
        what: "GET_STATE, JSON",
        path: "/api/v1",
        call: Some(r#"{"type":"GET_STATE"}"#),
        accept: "application/json",
        gzip: false,
        target: "<= 700",
    },
    Read {
        what: "GET_STATE, protobuf",
        path: "/api/v1",
        call: Some(r#"{"type":"GET_STATE"}"#),
        accept: "application/x-protobuf",
        gzip: false,
        target: "",
    },
];

/// What one read took, in milliseconds, and its length in bytes.
struct Took {
    first: f64,
    whole: f64,
    bytes: usize,
}

struct Bench {
    cluster: LocalCluster,
    http: reqwest::Client,
    size: Size,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn start(settings: &Settings) -> anyhow::Result<Bench> {
        let (agents, frameworks) = if settings.short { (200, 10) } else { (20_000, 250) };
        let size = Size { agents, tasks_each: 10, frameworks, returning: 0 };
        let registry = tokio::task::spawn_blocking(move || with_history(size)).await?;
        let folder = tempfile::Builder::new().prefix("tepui-bench-").tempdir()?;
        let mut options = Options::new(&settings.executable, folder.path().join("cluster"));
        (options.masters, options.agents) = (1, 0);
        options.master_args = settings.master_args();
        options.log = "warn".to_owned();
        let mut cluster = LocalCluster::prepare(options)?;
        let api_addr = cluster.masters().first().cloned().context("there is a master")?;
        let peer_addr = format!("127.0.0.1:{}", cluster.peer_ports().first().context("it has a port")?);
        let founding = Founding {
            cluster_id: uuid::Uuid::new_v4().to_string(),
            node_id: 1,
            me: Peer { peer_addr, api_addr },
            after: Some(Position { term: 1, node_id: 1, index: 1_000_000 }),
            term: 1,
        };
        let dir = cluster.master_dir(0).join("raft");
        tepui_raft_store::found(&dir, founding, move |out| registry.write_snapshot(out)).await?;
        cluster.start_master(0)?;
        cluster.wait_for_leader(PATIENCE).await?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Bench { cluster, http, size, _folder: folder })
    }

    fn url(&self, path: &str) -> anyhow::Result<String> {
        let master = self.cluster.masters().first().cloned().context("there is a master")?;
        Ok(format!("http://{master}{path}"))
    }

    async fn read(&self, read: &Read) -> anyhow::Result<Took> {
        let url = self.url(read.path)?;
        let mut request = match read.call {
            Some(call) => self.http.post(url).header("content-type", "application/json").body(call),
            None => self.http.get(url),
        };
        request = request.header("accept", read.accept);
        if read.gzip {
            request = request.header("accept-encoding", "gzip");
        }
        let began = Instant::now();
        let mut answer = request.send().await?;
        anyhow::ensure!(answer.status() == 200, "{} answered {}", read.what, answer.status());
        let mut took = Took { first: 0.0, whole: 0.0, bytes: 0 };
        while let Some(piece) = answer.chunk().await? {
            if took.bytes == 0 {
                took.first = began.elapsed().as_secs_f64() * 1e3;
            }
            took.bytes += piece.len();
        }
        took.whole = began.elapsed().as_secs_f64() * 1e3;
        Ok(took)
    }

    /// How long answers take that need next to nothing, milliseconds: the process' health, and a change that goes through the event loop and
    /// the log.
    async fn probe(&self, samples: usize) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        let (health, weights) = (self.url("/health")?, self.url("/weights")?);
        let (mut alive, mut changed) = (Vec::new(), Vec::new());
        for sample in 0..samples {
            let began = Instant::now();
            self.http.get(&health).send().await?.error_for_status()?;
            alive.push(began.elapsed().as_secs_f64() * 1e3);
            let body = format!(r#"[{{"role":"role-1","weight":{}}}]"#, 1 + sample % 5);
            let began = Instant::now();
            self.http.put(&weights).body(body).send().await?.error_for_status()?;
            changed.push(began.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok((alive, changed))
    }
}

/// Half of all tasks run, as many have ended.
fn with_history(size: Size) -> Registry {
    let mut cluster = Cluster::new(size);
    cluster.build();
    let mut registry = cluster.into_registry();
    let tasks: Vec<Arc<TaskRecord>> = registry.tasks.values().cloned().collect();
    for record in tasks {
        let framework = record.key().framework;
        let mut ended = record.as_ref().clone();
        if let Some(task) = &mut ended.task {
            task.state = Some(TaskState::TaskFinished as i32);
            task.task_id = task.task_id.as_ref().map(|id| tepui_proto::v1::TaskId {
                value: id.value.as_ref().map(|id| format!("{id}.ended")),
            });
        }
        let mut history = registry.history.get(&framework).cloned().unwrap_or_default();
        history.push_back(Arc::new(ended));
        registry.history.insert(framework, history);
    }
    registry
}

pub(super) async fn state(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let bench = Arc::new(Bench::start(settings).await?);
    let tasks = bench.size.agents * bench.size.tasks_each;
    let name = format!("{} agents, {tasks} running and {tasks} ended tasks", bench.size.agents);
    let mut figures = Vec::new();
    for read in &READS {
        let (mut first, mut whole, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..if settings.short { 2 } else { 10 } {
            let took = bench.read(read).await?;
            first.push(took.first);
            whole.push(took.whole);
            bytes = took.bytes;
        }
        let what = format!("{}, {name}: all of {} MB", read.what, bytes / 1_000_000);
        figures.push(Figure::of("P11", &what, "ms", read.target, whole));
        figures.push(Figure::of("P11", &format!("{}: first byte", read.what), "ms", "<= 20", first));
    }
    let samples = if settings.short { 20 } else { 1000 };
    let (alive, changed) = bench.probe(samples).await?;
    figures.push(Figure::of("P11", "/health, nobody else there (compare p99)", "ms", "", alive));
    figures.push(Figure::of("P11", "a weight is changed, nobody else there", "ms", "", changed));

    let (stop, whole) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut pollers = JoinSet::new();
    for _ in 0..POLLERS {
        let (bench, stop, whole) = (Arc::clone(&bench), Arc::clone(&stop), Arc::clone(&whole));
        pollers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                bench.read(&READS[1]).await?;
                whole.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let began = Instant::now();
    let (alive, changed) = bench.probe(samples).await?;
    let seconds = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let read = whole.load(Ordering::Relaxed) as f64 / seconds;
    while let Some(poller) = pollers.join_next().await {
        poller??;
    }
    let beside = format!("beside {POLLERS} readers of the whole state ({read:.1} states/s)");
    figures.push(Figure::of("P11", &format!("/health {beside} (compare p99)"), "ms", "p99 <= 5", alive));
    figures.push(Figure::of("P11", &format!("a weight is changed {beside}"), "ms", "", changed));
    Ok(figures)
}
