//! P5: the leader is killed under a fleet of simulated agents and running tasks; all agents and frameworks have to be back, and whoever
//! reads meanwhile must not see a part of the state.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use tepui::cluster::{LocalCluster, Options};
use tepui_proto::v1;
use tepui_sdk::scheduler::Event;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Figure, Settings};
use crate::harness::{PATIENCE, TestFramework, lock, task};

const FRAMEWORKS: usize = 4;
const PROCESSES: usize = 2;
/// Connections that each master, and each process of agents, needs beside those of agents.
const SPARE_FILES: usize = 1_000;

/// How large it is.
#[derive(Clone, Copy)]
struct Size {
    agents: usize,
    tasks: usize,
    rounds: usize,
}

/// What a framework or a process of agents has to say.
#[derive(Debug)]
enum Said {
    Subscribed {
        again: bool,
        at: Instant,
    },
    Running,
    /// So many of a hundred agents of one process are registered.
    Part {
        process: usize,
        percent: u32,
        at: Instant,
    },
    Ended(String),
}

fn size(settings: &Settings) -> Size {
    if settings.short {
        return Size { agents: 300, tasks: 3_000, rounds: 1 };
    }
    // One connection an agent at each master; each process of agents has one to every master.
    let files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_or(1_024, |(_, most)| usize::try_from(most).unwrap_or(usize::MAX));
    let room = files.saturating_sub(SPARE_FILES);
    Size { agents: 10_000.min(room).min(room * PROCESSES / 3), tasks: 100_000, rounds: 5 }
}

pub(super) async fn storm(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let size = size(settings);
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    // Children inherit it. What cannot be raised is said by the number of agents.
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most)?;
    let folder = tempfile::Builder::new().prefix("tepui-bench-").tempdir()?;
    let mut options = Options::new(&settings.executable, folder.path().join("cluster"));
    options.agents = 0;
    options.log = "warn".to_owned();
    let mut cluster = LocalCluster::start(options)?;
    cluster.wait_for_leader(PATIENCE).await?;
    let (said, mut heard) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let mut processes = Vec::new();
    for process in 0..PROCESSES {
        let count = size.agents / PROCESSES;
        processes.push(agents(settings, &cluster, process, count, &said, &mut tasks)?);
    }
    let mut back = [0_u32; PROCESSES];
    wait(&mut heard, "agents", |said| {
        if let Said::Part { process, percent, .. } = said {
            back[*process] = *percent;
        }
        back.iter().all(|percent| *percent == 100)
    })
    .await?;
    for number in 0..FRAMEWORKS {
        let framework = TestFramework::subscribe(cluster.masters(), &format!("storm-{number}")).await?;
        tasks.spawn(launch(framework, size.tasks / FRAMEWORKS, said.clone()));
    }
    let mut running = 0;
    wait(&mut heard, "running tasks", |said| {
        running += usize::from(matches!(said, Said::Running));
        running == size.tasks
    })
    .await?;
    let mut figures = Samples::default();
    for _ in 0..size.rounds {
        round(&mut cluster, size, &mut heard, &mut figures).await?;
    }
    drop(processes);
    let at = format!("{} simulated agents, {} tasks, {FRAMEWORKS} frameworks", size.agents, size.tasks);
    let of = |what: &str, target, samples| Figure::of("P5", &format!("{what}; {at}"), "ms", target, samples);
    Ok(vec![
        of("leader kill -9 to the first answer of the next one", "", figures.served),
        of("leader kill -9 to half of the agents back", "", figures.half),
        of("leader kill -9 to all agents back", "<= 2000", figures.agents),
        of("leader kill -9 to all frameworks resubscribed", "<= 2000", figures.frameworks),
    ])
}

#[derive(Default)]
struct Samples {
    served: Vec<f64>,
    half: Vec<f64>,
    agents: Vec<f64>,
    frameworks: Vec<f64>,
}

async fn round(
    cluster: &mut LocalCluster,
    size: Size,
    heard: &mut mpsc::UnboundedReceiver<Said>,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let leader = cluster.wait_for_leader(PATIENCE).await?;
    // Updates are committed, and the last round is over for everybody.
    tokio::time::sleep(Duration::from_secs(2)).await;
    while heard.try_recv().is_ok() {}
    let mut others = cluster.masters();
    others.remove(leader);
    let at = cluster.kill_master(leader);
    let reader = {
        let others = others.clone();
        read(others, size)
    };
    let mut frameworks = Vec::new();
    let (mut agents, mut half) = ([None; PROCESSES], [None; PROCESSES]);
    let all = wait(heard, "everybody back", |said| {
        match said {
            Said::Subscribed { again: true, at } => frameworks.push(*at),
            Said::Part { process, percent: 100, at, .. } => agents[*process] = Some(*at),
            Said::Part { process, percent: 50, at, .. } => half[*process] = Some(*at),
            _other => {}
        }
        frameworks.len() == FRAMEWORKS && agents.iter().all(Option::is_some)
    });
    let (served, all) = tokio::join!(reader, all);
    all.with_context(|| cluster.tails())?;
    let ms = |instant: Instant| instant.saturating_duration_since(at).as_secs_f64() * 1_000.0;
    samples.served.push(ms(served?));
    samples.agents.extend(agents.into_iter().flatten().max().map(ms));
    samples.half.extend(half.into_iter().flatten().max().map(ms));
    samples.frameworks.extend(frameworks.into_iter().max().map(ms));
    cluster.start_master(leader)?;
    Ok(())
}

/// Reads counts from the new leader from its first answer on: each must be whole. Returns when it first answered.
async fn read(masters: Vec<String>, size: Size) -> anyhow::Result<Instant> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_millis(200))
        .build()?;
    let began = Instant::now();
    let (mut first, mut whole) = (None, 0);
    while began.elapsed() < Duration::from_secs(3) {
        for master in &masters {
            let url = format!("http://{master}/metrics/snapshot");
            let Ok(answer) = http.get(url).send().await else { continue };
            if answer.status() != 200 {
                continue;
            }
            let shown: serde_json::Value = answer.json().await?;
            let number = |name: &str| shown[name].as_f64().unwrap_or(-1.0);
            if number("master/elected") != 1.0 {
                continue;
            }
            first.get_or_insert_with(Instant::now);
            let tasks = number("master/tasks_running");
            let frameworks = number("master/frameworks_connected") + number("master/frameworks_disconnected");
            anyhow::ensure!(
                tasks == size.tasks as f64 && frameworks >= FRAMEWORKS as f64,
                "a new leader showed {tasks} running tasks and {frameworks} frameworks"
            );
            whole += 1;
            if whole == 1 {
                whole_state(&http, master, size).await?;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    first.context("no new leader answered")
}

/// The whole state, once: nothing is missing in it.
async fn whole_state(http: &reqwest::Client, master: &str, size: Size) -> anyhow::Result<()> {
    let shown: serde_json::Value = http.get(format!("http://{master}/state")).send().await?.json().await?;
    let count = |list: &str| shown[list].as_array().map_or(0, Vec::len);
    let agents = count("slaves") + count("recovered_slaves");
    let frameworks = shown["frameworks"].as_array().cloned().unwrap_or_default();
    let tasks: usize = frameworks.iter().map(|one| one["tasks"].as_array().map_or(0, Vec::len)).sum();
    anyhow::ensure!(
        agents == size.agents && tasks == size.tasks,
        "/state of a new leader showed {agents} agents and {tasks} tasks"
    );
    Ok(())
}

/// Starts one process of agents and passes on what it says.
fn agents(
    settings: &Settings,
    cluster: &LocalCluster,
    process: usize,
    count: usize,
    said: &mpsc::UnboundedSender<Said>,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Child> {
    let mut child = Command::new(&settings.executable)
        .arg("simulated-agents")
        .args([(process * count).to_string(), count.to_string()])
        .arg(cluster.secret_file())
        .arg(cluster.masters().join(","))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start simulated agents")?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let said = said.clone();
    tasks.spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let at = Instant::now();
            let mut words = line.split(' ');
            let percent = words.next().and_then(|word| word.parse().ok());
            if let Some(percent) = percent {
                let _ = said.send(Said::Part { process, percent, at });
            }
        }
        let _ = said.send(Said::Ended(format!("process {process} of agents")));
    });
    Ok(child)
}

/// Launches so many tasks, each agent's share on its offer, and stays subscribed; refuses all offers after that.
async fn launch(mut framework: TestFramework, total: usize, said: mpsc::UnboundedSender<Said>) {
    let name = framework.id.value().to_owned();
    let mut launched = 0;
    // Few, so that every agent gets some.
    const PER_OFFER: usize = 10;
    loop {
        let event = match framework.next().await {
            Ok(event) => event,
            Err(error) => {
                let _ = said.send(Said::Ended(format!("framework {name}: {error}")));
                return;
            }
        };
        match event {
            Event::Subscribed { again, .. } => {
                let _ = said.send(Said::Subscribed { again, at: Instant::now() });
            }
            Event::Update(status) if status.state() == v1::TaskState::TaskRunning => {
                let _ = said.send(Said::Running);
            }
            Event::Offers(offers) => {
                for offer in offers {
                    let count = PER_OFFER.min(total - launched);
                    let tasks = (launched..launched + count)
                        .map(|number| v1::TaskInfo {
                            agent_id: offer.agent_id.clone(),
                            ..task(&format!("t{number}"), "sleep")
                        })
                        .collect();
                    launched += count;
                    let refuse_seconds = Some(if launched < total { 0.1 } else { 86_400.0 });
                    let operation = v1::offer::Operation {
                        r#type: Some(v1::offer::operation::Type::Launch as i32),
                        launch: Some(v1::offer::operation::Launch { task_infos: tasks }),
                        ..v1::offer::Operation::default()
                    };
                    let filters = Some(v1::Filters { refuse_seconds });
                    let ids = offer.id.into_iter().collect();
                    let sent = match count {
                        0 => framework.handle.decline(ids, refuse_seconds).await,
                        _ => framework.handle.accept(ids, vec![operation], filters).await,
                    };
                    if sent.is_err() {
                        return;
                    }
                }
            }
            _other => {}
        }
    }
}

async fn wait(
    heard: &mut mpsc::UnboundedReceiver<Said>,
    what: &str,
    mut until: impl FnMut(&Said) -> bool,
) -> anyhow::Result<()> {
    let waiting = async {
        while let Some(said) = heard.recv().await {
            if let Said::Ended(who) = &said {
                anyhow::bail!("{who} ended");
            }
            if until(&said) {
                break;
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE * 3, waiting).await.with_context(|| format!("no {what} in time"))?
}
