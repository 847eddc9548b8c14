//! Folders of earlier builds: a master's and an agent's are kept below `tests/fixtures`, one pair for each feature level, and the present
//! build goes on with them.
//!
//! A pair is made anew with `cargo test -p tepui-tests --test it -- --ignored folders::make`; older ones stay as they are.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tepui_proto::tepui::operator;
use tepui_scheduler_core::registry::FEATURE_LEVEL;
use tepui_sdk::state_store::{Cas, RegisterClient};
use tepui_sdk::v1;
use tepui_sdk::v1::TaskState::{TaskFinished, TaskRunning, TaskStaging, TaskStarting, TaskUnreachable};
use tepui_sdk::v1::master::Call;
use tepui_sdk::v1::master::call::{ReserveResources, Type};
use tepui_tests::harness::{self, PATIENCE, TestCluster, TestFramework, task};

use crate::TEPUI;

const DRIVER: &str = "counter";
const ROLE: &str = "kept";
const FRAMEWORK: &str = "from an earlier build";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn options() -> tepui::cluster::Options {
    let mut options = harness::options(TEPUI, 1, 1);
    // So that there is a snapshot, and entries behind it.
    options.master_args.extend(["--raft-snapshot-entries".to_owned(), "20".to_owned()]);
    options
}

/// Every file below a folder, as its path, its length and its bytes, one after the other, compressed.
fn pack(folder: &Path, places: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    let mut open: Vec<PathBuf> = places.iter().map(|place| folder.join(place)).collect();
    while let Some(path) = open.pop() {
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            let mut inner: Vec<PathBuf> =
                fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
            inner.sort();
            open.extend(inner);
        } else if kind.is_file() {
            let (name, bytes) = (path.strip_prefix(folder)?.display().to_string(), fs::read(&path)?);
            out.write_all(&(name.len() as u64).to_le_bytes())?;
            out.write_all(name.as_bytes())?;
            out.write_all(&(bytes.len() as u64).to_le_bytes())?;
            out.write_all(&bytes)?;
        }
    }
    Ok(out.finish()?)
}

fn unpack(packed: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(packed)?).read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut next = |what| -> anyhow::Result<Option<&[u8]>> {
        let Some((length, after)) = rest.split_first_chunk::<8>() else { return Ok(None) };
        let length = usize::try_from(u64::from_le_bytes(*length))?;
        let (piece, after) = after.split_at_checked(length).context(what)?;
        rest = after;
        Ok(Some(piece))
    };
    while let Some(name) = next("a name is cut short")? {
        let path = folder.join(std::str::from_utf8(name)?);
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        fs::write(path, next("a file is cut short")?.context("a name without a file")?)?;
    }
    Ok(())
}

fn spec(folder: &Path) -> operator::DriverSpec {
    let command = format!("env > {0}/part && mv {0}/part {0}/env; exec sleep 1000", folder.display());
    operator::DriverSpec {
        name: Some(DRIVER.to_owned()),
        command: Some(v1::CommandInfo { value: Some(command), ..v1::CommandInfo::default() }),
        resources: task("driver", "").resources,
        lease_ms: Some(600_000),
        ..operator::DriverSpec::default()
    }
}

fn reserved() -> v1::Resource {
    let mut cpus = task("any", "").resources.remove(0);
    cpus.scalar = Some(v1::value::Scalar { value: Some(0.5) });
    cpus.reservations = vec![v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
        role: Some(ROLE.to_owned()),
        ..Default::default()
    }];
    cpus
}

/// The framework's own info; with its id it comes back.
fn info(id: Option<v1::FrameworkId>) -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        user: Some("root".to_owned()),
        name: Some(FRAMEWORK.to_owned()),
        id,
        failover_timeout: Some(1_000_000_000.0),
        checkpoint: Some(true),
        ..v1::FrameworkInfo::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into the source tree: run by hand when the feature level has risen"]
async fn make() -> anyhow::Result<()> {
    let mut test = harness::start(options()).await?;
    let (operator, folder) = (test.operator()?, tempfile::tempdir()?);
    let agent = operator.get_agents().await?.agents.remove(0).agent_info.context("an agent")?;
    let reserve = ReserveResources { agent_id: agent.id, resources: vec![reserved()], ..Default::default() };
    let reserve_resources = Some(reserve);
    operator
        .call(&Call { r#type: Some(Type::ReserveResources as i32), reserve_resources, ..Call::default() })
        .await?;
    operator.submit_driver(spec(folder.path())).await?;
    let environment = folder.path().join("env");
    let told = harness::eventually("the driver", || async { fs::read_to_string(&environment).ok() }).await?;
    let token = told.lines().find_map(|line| line.strip_prefix("TEPUI_DRIVER_TOKEN=")).unwrap_or_default();
    let register = RegisterClient::new(operator, DRIVER, 1, token);
    assert_eq!(register.cas("position", 0, Bytes::from_static(b"10")).await?, Cas::Ok(1));
    let mut framework = TestFramework::subscribe_as(test.cluster.masters(), info(None), None).await?;
    for number in 0..5 {
        let id = format!("done-{number}");
        framework.launch(vec![task(&id, "true")]).await?;
        framework.wait_state(&id, TaskFinished).await?;
    }
    framework.launch(vec![task("long", "exec sleep 1000")]).await?;
    framework.wait_state("long", TaskRunning).await?;
    let operator = test.operator()?;
    harness::eventually("the log's word of it", || async {
        let tasks = operator.get_tasks().await.ok()?.tasks;
        tasks.iter().any(|task| task.name() == "long" && task.state() == TaskRunning).then_some(())
    })
    .await?;
    let snapshots = test.cluster.master_dir(0).join("raft").join("snapshots");
    harness::eventually("a snapshot", || async { fs::read_dir(&snapshots).ok()?.next().map(drop) }).await?;
    // The agent's host goes first: nobody is told what becomes of its tasks.
    test.cluster.stop_master(0, PATIENCE).await?;
    test.cluster.kill_agent_host(0);
    let packed = pack(test.cluster.dir(), &["master-1/raft", "agent-1/meta"])?;
    fs::create_dir_all(fixtures())?;
    fs::write(fixtures().join(format!("folders-{FEATURE_LEVEL}.gz")), packed)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_every_earlier_build_go_on() -> anyhow::Result<()> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(fixtures())?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    all.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    assert!(!all.is_empty(), "there is no fixture");
    for packed in all {
        let mut test = harness::prepare(options())?;
        unpack(&packed, test.cluster.dir())?;
        test.cluster.start_master(0)?;
        let went_on = goes_on(&mut test).await;
        went_on.with_context(|| format!("{}\n{}", packed.display(), test.cluster.tails()))?;
    }
    Ok(())
}

async fn goes_on(test: &mut TestCluster) -> anyhow::Result<()> {
    test.cluster.wait_for_leader(PATIENCE).await?;
    let operator = test.operator()?;
    let awaited = operator.get_agents().await?.recovered_agents;
    let known = awaited.first().and_then(|agent| agent.id.clone()).context("the agent")?;
    let tasks = operator.get_tasks().await?.tasks;
    let long = tasks.iter().find(|task| task.name() == "long").context("the task")?;
    // The last reports may not have been committed when that build was stopped.
    assert!(matches!(long.state(), TaskStaging | TaskStarting | TaskRunning), "{:?}", long.state());
    let framework_id = long.framework_id.clone();
    let position = operator.state_get(DRIVER, "position").await?;
    assert_eq!((position.version(), position.value()), (1, &b"10"[..]));

    // The agent comes back under its old id, with its reservation, and says what became of the task.
    test.cluster.start_agent(0)?;
    test.wait_for_agents(1).await?;
    let agents = operator.get_agents().await?.agents;
    assert_eq!(agents.len(), 1, "{agents:?}");
    let agent = &agents[0];
    assert_eq!(agent.agent_info.as_ref().and_then(|info| info.id.clone()), Some(known));
    let kept = agent.total_resources.iter().any(|one| one.reservations == reserved().reservations);
    assert!(kept, "{:?}", agent.total_resources);
    let mut framework =
        TestFramework::subscribe_as(test.cluster.masters(), info(framework_id.clone()), None).await?;
    assert_eq!(Some(framework.id.clone()), framework_id);
    framework
        .wait("the end of the task", |event| match event {
            tepui_sdk::scheduler::Event::Update(update) => {
                let ours = update.task_id.as_ref().is_some_and(|id| id.value() == "long");
                let over =
                    !matches!(update.state(), TaskStarting | TaskRunning | TaskStaging | TaskUnreachable);
                (ours && over).then_some(update.state())
            }
            _other => None,
        })
        .await?;
    framework.launch(vec![task("new", "true")]).await?;
    framework.wait_state("new", TaskFinished).await?;
    // The driver's host was lost: it is launched again, and finds its register.
    harness::eventually("the driver's next generation", || async {
        let drivers = operator.get_drivers(Some(DRIVER)).await.ok()?;
        drivers.first().is_some_and(|driver| driver.generation() > 1).then_some(())
    })
    .await?;
    Ok(())
}
