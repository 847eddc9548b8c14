//! Simulated agents in a process of their own: real agent cores and real connections, one to each master, without processes, files or a
//! disk. `bench simulated-agents <first> <count> <secret file> <masters>` prints when all of them are registered in an epoch.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::Rng;
use tepui_agent_core::checkpoint::State;
use tepui_agent_core::{Agent, Config, Effect, Exit, Input, Note, Now};
use tepui_proto::MediaType;
use tepui_proto::recordio::Decoder;
use tepui_proto::tepui::agent_link::{Call, Event, call::Type};
use tepui_proto::tepui::masters::News;
use tepui_proto::{v1, wire};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What each of them has: more than the benchmark uses.
const CPUS: f64 = 64.0;
const MEM: f64 = 65_536.0;
const RETRY: Duration = Duration::from_millis(200);

/// How many agents of this process are registered, by epoch.
#[derive(Default)]
struct Count {
    total: usize,
    by_epoch: std::sync::Mutex<BTreeMap<u64, usize>>,
    connected: AtomicUsize,
}

impl Count {
    #[expect(clippy::print_stdout, reason = "what this process is for")]
    fn registered(&self, epoch: u64) {
        let mut by_epoch = self.by_epoch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = by_epoch.entry(epoch).or_default();
        *count += 1;
        for part in [10, 50, 90, 100] {
            if *count == (self.total * part).div_ceil(100) {
                println!("{part} {epoch}");
            }
        }
    }
}

/// What happens to one agent.
enum Heard {
    /// What the master of this number says; `None` at the end of its stream.
    News(usize, Option<News>),
    Connected(usize, SendRequest<Full<Bytes>>),
    Event(u64, Box<Event>),
    /// The stream of this number ended.
    Closed(u64),
}

struct Master {
    address: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    news: Option<News>,
}

struct Simulated {
    core: Agent,
    masters: Vec<Master>,
    secret: Arc<str>,
    count: Arc<Count>,
    heard: mpsc::UnboundedSender<Heard>,
    /// Where it is registered, or tries to be.
    link: Option<(usize, u64)>,
    streams: u64,
    calls: Option<mpsc::UnboundedSender<Call>>,
    begun: Instant,
    wake_at: Option<Instant>,
    seek_at: Option<Instant>,
    tasks: JoinSet<()>,
}

/// One process of simulated agents.
pub fn simulated_agents(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut run = move || -> anyhow::Result<()> {
        let mut next = |what: &str| arguments.next().with_context(|| format!("an argument: {what}"));
        let (first, count): (usize, usize) = (next("first")?.parse()?, next("count")?.parse()?);
        let secret: Arc<str> = std::fs::read_to_string(next("secret file")?)?.trim().into();
        let masters: Vec<String> = next("masters")?.split(',').map(str::to_owned).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async move {
            let total = Arc::new(Count { total: count, ..Count::default() });
            let mut agents = JoinSet::new();
            for number in first..first + count {
                agents.spawn(live(number, masters.clone(), secret.clone(), total.clone()));
                if number % 50 == 49 {
                    // The beginning is no storm: that is another benchmark.
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
            }
            while agents.join_next().await.is_some() {}
        });
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulated agents: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn live(number: usize, masters: Vec<String>, secret: Arc<str>, count: Arc<Count>) {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: Some(name.to_owned()),
        r#type: Some(v1::value::Type::Scalar as i32),
        scalar: Some(v1::value::Scalar { value: Some(value) }),
        ..v1::Resource::default()
    };
    let info = v1::AgentInfo {
        hostname: Some(format!("simulated-{number}")),
        port: Some(5051),
        resources: vec![scalar("cpus", CPUS), scalar("mem", MEM)],
        ..v1::AgentInfo::default()
    };
    let mut config = Config::new(info, "127.0.0.1", rand::rng().random());
    config.boot_id = uuid::Uuid::new_v4().to_string();
    let (heard, mut inbox) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for (index, address) in masters.iter().enumerate() {
        tasks.spawn(stay_connected(index, address.clone(), heard.clone()));
    }
    let masters = masters.into_iter().map(|address| Master { address, sender: None, news: None }).collect();
    let mut agent = Simulated {
        core: Agent::new(config, State::default()),
        masters,
        secret,
        count,
        heard,
        link: None,
        streams: 0,
        calls: None,
        begun: Instant::now(),
        wake_at: None,
        seek_at: None,
        tasks,
    };
    loop {
        let (wake_at, seek_at) = (agent.wake_at, agent.seek_at);
        tokio::select! {
            Some(heard) = inbox.recv() => agent.take(heard),
            () = until(wake_at) => {
                agent.wake_at = None;
                agent.input(Input::Tick);
            }
            () = until(seek_at) => {
                agent.seek_at = None;
                agent.seek();
            }
            Some(_ended) = agent.tasks.join_next(), if !agent.tasks.is_empty() => {}
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Keeps one connection to one master, and listens there.
async fn stay_connected(index: usize, address: String, heard: mpsc::UnboundedSender<Heard>) {
    let mut pause = Duration::from_millis(50);
    loop {
        if let Ok(mut body) = connect(index, &address, &heard).await {
            pause = Duration::from_millis(50);
            let mut decoder = Decoder::new(1 << 20);
            'reading: while let Some(Ok(frame)) = body.frame().await {
                let Ok(data) = frame.into_data() else { continue };
                decoder.push(&data);
                loop {
                    match decoder.next_record() {
                        Ok(Some(record)) => {
                            let Ok(news) = wire::decode::<News>(MediaType::Protobuf, &record) else {
                                break 'reading;
                            };
                            if heard.send(Heard::News(index, Some(news))).is_err() {
                                return;
                            }
                        }
                        Ok(None) => break,
                        Err(_) => break 'reading,
                    }
                }
            }
        }
        if heard.send(Heard::News(index, None)).is_err() {
            return;
        }
        let wait = pause.mul_f64(rand::rng().random_range(0.5..1.5));
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn connect(
    index: usize,
    address: &str,
    heard: &mpsc::UnboundedSender<Heard>,
) -> anyhow::Result<Incoming> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
    tokio::spawn(connection);
    let request = Request::get(format!("http://{address}/tepui/v1/masters"))
        .header("accept", MediaType::Protobuf.as_str())
        .body(Full::default())?;
    let answer = sender.send_request(request).await?;
    anyhow::ensure!(answer.status() == 200, "{}", answer.status());
    let _ = heard.send(Heard::Connected(index, sender));
    Ok(answer.into_body())
}

impl Simulated {
    fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Connected(index, sender) => {
                self.masters[index].sender = Some(sender);
                self.count.connected.fetch_add(1, Ordering::Relaxed);
            }
            Heard::News(index, news) => {
                if news.is_none() {
                    self.masters[index].sender = None;
                }
                self.masters[index].news = news;
                let known = self.link.map(|(linked, _)| linked);
                if let Some((leader, spread_ms)) = self.leader().filter(|(leader, _)| known != Some(*leader))
                {
                    tracing::trace!(leader, "another master leads");
                    self.seek_after(Duration::from_millis(spread_ms.into()));
                }
            }
            Heard::Event(stream, event) => {
                if self.link.is_some_and(|(_, current)| current == stream) {
                    self.input(Input::MasterEvent(event));
                }
            }
            Heard::Closed(stream) => {
                if self.link.is_some_and(|(_, current)| current == stream) {
                    self.leave();
                    self.input(Input::LinkDown);
                    self.seek_after(RETRY);
                }
            }
        }
    }

    /// The master that says that it leads, in the highest epoch, and over how long to spread.
    fn leader(&self) -> Option<(usize, u32)> {
        let said = self.masters.iter().enumerate().filter_map(|(index, one)| {
            let news = one.news.as_ref().filter(|news| news.serving())?;
            one.sender.as_ref().map(|_| (news.epoch(), index, news.spread_ms()))
        });
        said.max().map(|(_, index, spread_ms)| (index, spread_ms))
    }

    fn seek_after(&mut self, longest: Duration) {
        let at = Instant::now() + longest.mul_f64(rand::rng().random());
        self.seek_at = Some(self.seek_at.map_or(at, |known| known.min(at)));
    }

    fn leave(&mut self) {
        self.link = None;
        self.calls = None;
    }

    /// Goes to the leader, if it is not there.
    fn seek(&mut self) {
        let Some((leader, _)) = self.leader() else { return };
        if self.link.is_some_and(|(linked, _)| linked == leader) {
            return;
        }
        self.leave();
        self.streams += 1;
        self.link = Some((leader, self.streams));
        self.input(Input::LinkUp);
    }

    fn input(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mono_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut effects = Vec::new();
            self.core.handle(Now { mono_ms, wall_ms: 1_700_000_000_000 + mono_ms }, input, &mut effects);
            let mut follow = Vec::new();
            for effect in effects {
                match effect {
                    // There is no disk: what is written is durable.
                    Effect::Checkpoint { id, .. } => follow.push(Input::Checkpointed { id }),
                    Effect::Send(call) => self.send(*call),
                    Effect::Reconnect { .. } => {
                        self.leave();
                        self.seek_after(RETRY);
                    }
                    Effect::Launch(launch) => follow.push(Input::Launched { task: launch.task, pid: 1 }),
                    Effect::Kill { task, .. } => {
                        let exit = Exit::Status { status: 9, kill_asked: true };
                        follow.push(Input::Exited { task, exit });
                    }
                    Effect::WakeAt { mono_ms } => {
                        self.wake_at = Some(self.begun + Duration::from_millis(mono_ms));
                    }
                    Effect::Note(Note::Registered { epoch, .. }) => self.count.registered(epoch),
                    _nothing_to_do => {}
                }
            }
            // In their order.
            inputs.extend(follow.into_iter().rev());
        }
    }

    fn send(&mut self, call: Call) {
        let Some((index, stream)) = self.link else { return };
        let opens = matches!(call.r#type(), Type::Register | Type::Attach);
        if !opens {
            if let Some(calls) = &self.calls {
                let _ = calls.send(call);
            }
            return;
        }
        let Some(sender) = self.masters[index].sender.clone() else {
            let _ = self.heard.send(Heard::Closed(stream));
            return;
        };
        let (calls, queue) = mpsc::unbounded_channel();
        self.calls = Some(calls);
        let talk = Talk { sender, address: self.masters[index].address.clone(), secret: self.secret.clone() };
        let heard = self.heard.clone();
        self.tasks.spawn(async move {
            let _ = talk.carry(call, queue, stream, &heard).await;
            let _ = heard.send(Heard::Closed(stream));
        });
    }
}

/// One conversation with one master.
struct Talk {
    sender: SendRequest<Full<Bytes>>,
    address: String,
    secret: Arc<str>,
}

impl Talk {
    async fn post(&mut self, call: &Call, stream: Option<&str>) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::post(format!("http://{}/tepui/v1/agent", self.address))
            .header("content-type", MediaType::Protobuf.as_str())
            .header("tepui-cluster-secret", &*self.secret);
        if let Some(stream) = stream {
            request = request.header("tepui-agent-stream-id", stream);
        }
        let body = Full::new(wire::encode(MediaType::Protobuf, call));
        let answer = self.sender.send_request(request.body(body)?).await?;
        anyhow::ensure!(answer.status().is_success(), "{}", answer.status());
        Ok(answer)
    }

    async fn carry(
        mut self,
        first: Call,
        mut queue: mpsc::UnboundedReceiver<Call>,
        stream: u64,
        heard: &mpsc::UnboundedSender<Heard>,
    ) -> anyhow::Result<()> {
        let answer = self.post(&first, None).await?;
        let id = answer.headers().get("tepui-agent-stream-id").context("a stream id")?.to_str()?.to_owned();
        let mut body = answer.into_body();
        let reads = async {
            let mut decoder = Decoder::new(16 << 20);
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                decoder.push(&data);
                while let Some(record) = decoder.next_record()? {
                    let event = wire::decode::<Event>(MediaType::Protobuf, &record)?;
                    heard.send(Heard::Event(stream, Box::new(event)))?;
                }
            }
            anyhow::Ok(())
        };
        let writes = async {
            while let Some(call) = queue.recv().await {
                self.post(&call, Some(&id)).await?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = reads => ended,
            ended = writes => ended,
        }
    }
}
