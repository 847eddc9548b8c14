//! P7, a first form: launches end to end over real connections with three masters and fsync: offer, ACCEPT, commit, RUN_TASK to a simulated agent, its
//! RUNNING, the framework's acknowledgement. The agents are simulated: they answer each launch at once and run nothing.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures::StreamExt;
use tepui::cluster::{LocalCluster, Options};
use tepui_proto::media_type::MediaType;
use tepui_proto::recordio::Decoder;
use tepui_proto::tepui::agent_link::{self, Call, call, event};
use tepui_proto::v1;
use tepui_proto::wire;
use tepui_sdk::scheduler::Event;
use tokio::task::JoinSet;

use super::{Figure, Settings};
use crate::harness::{PATIENCE, TestFramework, eventually, lock, slow_timers, task};

const AGENTS: usize = 20;
/// Tasks of one ACCEPT.
const TASKS_PER_ACCEPT: usize = 200;

/// One simulated agent.
#[derive(Clone)]
struct Agent {
    http: reqwest::Client,
    master: String,
    secret: String,
    number: usize,
}

impl Agent {
    fn post(&self, call: &Call, stream: Option<&str>) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .post(format!("http://{}/tepui/v1/agent", self.master))
            .header("content-type", MediaType::Protobuf.as_str())
            .header("tepui-cluster-secret", &self.secret)
            .body(wire::encode(MediaType::Protobuf, call));
        if let Some(stream) = stream {
            request = request.header("tepui-agent-stream-id", stream);
        }
        request
    }

    /// Registers and answers launches until the stream ends.
    async fn live(self) -> anyhow::Result<()> {
        let scalar = |name: &str, value: f64| v1::Resource {
            name: Some(name.to_owned()),
            r#type: Some(v1::value::Type::Scalar as i32),
            scalar: Some(v1::value::Scalar { value: Some(value) }),
            ..v1::Resource::default()
        };
        let info = v1::AgentInfo {
            hostname: Some(format!("simulated-{}", self.number)),
            port: Some(5051),
            resources: vec![scalar("cpus", 100_000.0), scalar("mem", 100_000_000.0)],
            ..v1::AgentInfo::default()
        };
        let register = Call {
            format: Some(1),
            r#type: Some(call::Type::Register as i32),
            accepted_launch_seq: Some(0),
            register: Some(call::Register {
                boot_id: Some(uuid::Uuid::new_v4().to_string()),
                agent_info: Some(info),
                ..call::Register::default()
            }),
            ..Call::default()
        };
        // The others may name a leader that does not serve yet.
        let answer = eventually("registration", || async {
            self.post(&register, None).send().await.ok()?.error_for_status().ok()
        })
        .await?;
        let stream =
            answer.headers().get("tepui-agent-stream-id").context("a stream id")?.to_str()?.to_owned();
        let mut body = answer.bytes_stream();
        let mut decoder = Decoder::new(16 << 20);
        let mut agent_id = None;
        while let Some(piece) = body.next().await {
            decoder.push(&piece?);
            while let Some(record) = decoder.next_record()? {
                let told: agent_link::Event = wire::decode(MediaType::Protobuf, &record)?;
                match told.r#type() {
                    event::Type::Registered => agent_id = told.registered.and_then(|told| told.agent_id),
                    event::Type::Ping => {
                        self.say(&stream, &agent_id, call::Type::Pong, 0, None).await?;
                    }
                    event::Type::RunTask => {
                        let Some(run) = told.run_task else { continue };
                        let seq = run.launch_seq.unwrap_or_default();
                        let update = running(&run, agent_id.clone());
                        self.say(&stream, &agent_id, call::Type::Update, seq, Some(update)).await?;
                    }
                    _nothing_to_do => {}
                }
            }
        }
        Ok(())
    }

    async fn say(
        &self,
        stream: &str,
        agent_id: &Option<v1::AgentId>,
        kind: call::Type,
        launch_seq: u64,
        update: Option<call::Update>,
    ) -> anyhow::Result<()> {
        let call = Call {
            format: Some(1),
            r#type: Some(kind as i32),
            agent_id: agent_id.clone(),
            accepted_launch_seq: Some(launch_seq),
            update,
            ..Call::default()
        };
        self.post(&call, Some(stream)).send().await?.error_for_status()?;
        Ok(())
    }
}

fn running(run: &event::RunTask, agent_id: Option<v1::AgentId>) -> call::Update {
    let task = run.task.clone().unwrap_or_default();
    let status = v1::TaskStatus {
        task_id: task.task_id,
        agent_id,
        state: Some(v1::TaskState::TaskRunning as i32),
        source: Some(v1::task_status::Source::Executor as i32),
        uuid: Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())),
        ..v1::TaskStatus::default()
    };
    call::Update {
        framework_id: run.framework.as_ref().and_then(|framework| framework.id.clone()),
        status: Some(status),
        latest_state: Some(v1::TaskState::TaskRunning as i32),
    }
}

pub(super) async fn rate(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let folder = tempfile::Builder::new().prefix("tepui-bench-").tempdir()?;
    let mut options = Options::new(&settings.executable, folder.path().join("cluster"));
    options.agents = 0;
    options.log = "warn".to_owned();
    options.master_args = slow_timers();
    let cluster = LocalCluster::start(options)?;
    let leader = cluster.wait_for_leader(PATIENCE).await?;
    let secret = std::fs::read_to_string(cluster.secret_file())?.trim().to_owned();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut agents = JoinSet::new();
    for number in 0..AGENTS {
        let master = cluster.masters()[leader].clone();
        agents.spawn(Agent { http: http.clone(), master, secret: secret.clone(), number }.live());
    }
    let mut framework = TestFramework::subscribe(cluster.masters(), "launches").await?;
    let total = if settings.short { 1_000 } else { 40_000 };
    let mut rates = Vec::new();
    let (mut launched, mut running, mut slice) = (0, 0, (Instant::now(), 0));
    let began = Instant::now();
    while running < total {
        anyhow::ensure!(
            began.elapsed() < PATIENCE * 5,
            "{running} of {total} tasks ran\n{}",
            cluster.tails()
        );
        let event = tokio::select! {
            event = framework.next() => event?,
            ended = agents.join_next() => {
                anyhow::bail!("a simulated agent ended: {ended:?}\n{}", cluster.tails());
            }
        };
        match event {
            Event::Offers(offers) => {
                for offer in offers {
                    let count = TASKS_PER_ACCEPT.min(total - launched);
                    if count == 0 {
                        continue;
                    }
                    let tasks = (launched..launched + count)
                        .map(|number| v1::TaskInfo {
                            agent_id: offer.agent_id.clone(),
                            ..task(&format!("t{number}"), "true")
                        })
                        .collect();
                    launched += count;
                    let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
                    let operation = v1::offer::Operation {
                        r#type: Some(v1::offer::operation::Type::Launch as i32),
                        launch: Some(v1::offer::operation::Launch { task_infos: tasks }),
                        ..v1::offer::Operation::default()
                    };
                    framework.handle.accept(offer.id.into_iter().collect(), vec![operation], filters).await?;
                }
            }
            Event::Update(status) if status.state() == v1::TaskState::TaskRunning => running += 1,
            _other => {}
        }
        if slice.0.elapsed() > Duration::from_secs(1) {
            rates.push((running - slice.1) as f64 / slice.0.elapsed().as_secs_f64());
            slice = (Instant::now(), running);
        }
    }
    rates.push(total as f64 / began.elapsed().as_secs_f64());
    let what = "launches end to end, 20 simulated agents, three masters, fsync, one framework";
    Ok(vec![Figure::of("P7", what, "/s", ">= 20000", rates)])
}
