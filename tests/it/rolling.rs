//! Every master is restarted while somebody writes, as `docs/operating.md` says: standbys first, the leader last, each waited for.
//! The same with a build that can do more, and the way back that is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Context;
use tepui_scheduler_core::registry::FEATURE_LEVEL;
use tepui_sdk::operator::Client;
use tepui_sdk::tepui::operator::response::GetRaft;
use tepui_sdk::v1::TaskState::{TaskFinished, TaskRunning, TaskStarting};
use tepui_sdk::v1::WeightInfo;
use tepui_sdk::v1::master::Call;
use tepui_sdk::v1::master::call::{Type, UpdateWeights};
use tepui_tests::harness::{self, PATIENCE, TestCluster, TestFramework, task};

use crate::TEPUI;
use crate::procedures::Page;

const BACKUP: &str = "tepui raft backup /backup/before-upgrade --masters m1:5050,m2:5050,m3:5050";
const ROLE: &str = "rolling";

/// Sets the weight of a role to 1, 2, 3 …, one after the other, each until it is acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writing: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Writer {
    fn start(client: Client) -> Writer {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), acknowledged.clone());
        let client = client.patience(PATIENCE);
        #[expect(clippy::disallowed_methods, reason = "owned by the value, awaited when it is finished")]
        let writing = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let next = counted.load(Ordering::Relaxed) + 1;
                #[expect(clippy::cast_precision_loss, reason = "a test writes no 2^52 weights")]
                let weight = Some(next as f64);
                let weight_infos = vec![WeightInfo { role: Some(ROLE.to_owned()), weight }];
                let update_weights = Some(UpdateWeights { weight_infos });
                let call =
                    Call { r#type: Some(Type::UpdateWeights as i32), update_weights, ..Call::default() };
                client.call(&call).await.with_context(|| format!("write {next}"))?;
                counted.store(next, Ordering::Relaxed);
            }
            Ok(())
        });
        Writer { stop, acknowledged, writing }
    }

    fn written(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many more were acknowledged.
    async fn goes_on(&self, more: u64) -> anyhow::Result<()> {
        let until = self.written() + more;
        harness::eventually("writes", || async { (self.written() >= until).then_some(()) }).await
    }

    /// Stops, and holds the masters' word against what was acknowledged.
    async fn finish(self, client: &Client) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.writing.await??;
        let written = self.acknowledged.load(Ordering::Relaxed);
        let call = Call { r#type: Some(Type::GetWeights as i32), ..Call::default() };
        let weights = client.call(&call).await?.get_weights.unwrap_or_default().weight_infos;
        #[expect(clippy::cast_precision_loss, reason = "a test writes no 2^52 weights")]
        let expected = written as f64;
        let found = weights.iter().find(|one| one.role() == ROLE).map(WeightInfo::weight);
        assert_eq!(found, Some(expected), "the last acknowledged write counts");
        Ok(written)
    }
}

async fn status(test: &TestCluster, master: usize) -> Option<GetRaft> {
    test.operator().ok()?.get_raft(&test.cluster.masters()[master]).await.ok()
}

/// Stops one master, changes what it is started with, starts it, and waits until it has what the leader had by then.
async fn restart(
    test: &mut TestCluster,
    master: usize,
    change: impl FnOnce(&mut Vec<String>),
) -> anyhow::Result<()> {
    test.cluster.stop_master(master, PATIENCE).await?;
    change(test.cluster.master_arguments(master));
    test.cluster.start_master(master)?;
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    let committed = harness::eventually("the leader's word", || async {
        Some(status(test, leader).await?.committed_index())
    })
    .await?;
    harness::eventually("the restarted master", || async {
        (status(test, master).await?.applied_index() >= committed).then_some(())
    })
    .await
}

/// Standbys first.
async fn order(test: &TestCluster) -> anyhow::Result<Vec<usize>> {
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    let mut order: Vec<usize> = (0..3).filter(|master| *master != leader).collect();
    order.push(leader);
    Ok(order)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_nobody() -> anyhow::Result<()> {
    let mut test = harness::start(harness::options(TEPUI, 3, 1)).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "rolling").await?;
    framework.launch(vec![task("long", "exec sleep 1000")]).await?;
    framework.wait_state("long", TaskRunning).await?;
    let writer = Writer::start(test.operator()?);
    let order = order(&test).await?;
    for master in &order {
        writer.goes_on(5).await?;
        restart(&mut test, *master, |_| {}).await?;
    }
    let last = order[2];
    let log = test.cluster.log(&format!("master-{}", last + 1));
    assert!(log.contains("handed the leadership over"), "the leader was the last, and handed over:\n{log}");
    writer.goes_on(5).await?;
    let written = writer.finish(&test.operator()?).await?;
    assert!(written >= 20, "{written}");
    test.wait_for_agents(1).await?;
    framework.launch(vec![task("after", "true")]).await?;
    framework.wait_state("after", TaskFinished).await?;
    let spurious = framework.updates().filter(|status| {
        status.task_id.as_ref().is_some_and(|id| id.value() == "long")
            && !matches!(status.state(), TaskStarting | TaskRunning)
    });
    assert_eq!(spurious.count(), 0, "the task never noticed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_rises_with_the_last_master_and_there_is_no_way_back() -> anyhow::Result<()> {
    let mut options = harness::options(TEPUI, 3, 1);
    // What stands for the older build.
    options.master_args.extend(["--feature-level".to_owned(), "0".to_owned()]);
    let mut test = harness::start(options).await?;
    let masters = test.cluster.masters().join(",");
    let backup = test.cluster.dir().join("before-upgrade").display().to_string();
    let page = Page::open(&[("m1:5050,m2:5050,m3:5050", masters), ("/backup/before-upgrade", backup)])?;
    let taken = page.json(BACKUP, &["--output", "json"])?;
    assert_eq!(taken["feature_level"], 0);
    let writer = Writer::start(test.operator()?);
    let order = order(&test).await?;
    let newer = |arguments: &mut Vec<String>| {
        let at = arguments.iter().position(|word| word == "--feature-level").unwrap_or(arguments.len());
        arguments.drain(at..(at + 2).min(arguments.len()));
    };
    let levels = async |test: &TestCluster| {
        let leader = test.cluster.wait_for_leader(PATIENCE).await?;
        let status = status(test, leader).await.context("ask the leader")?;
        let mut levels: Vec<u32> = status.members.iter().filter_map(|one| one.feature_level).collect();
        levels.sort_unstable();
        anyhow::Ok((status.cluster_feature_level(), levels))
    };
    for (number, master) in order.iter().enumerate() {
        writer.goes_on(5).await?;
        if number == 1 {
            // There is a way back as long as one of them is older.
            restart(&mut test, order[0], |arguments| {
                arguments.extend(["--feature-level".to_owned(), "0".to_owned()]);
            })
            .await?;
            assert_eq!(levels(&test).await?, (0, vec![0, 0, 0]));
            restart(&mut test, order[0], newer).await?;
        }
        restart(&mut test, *master, newer).await?;
        if number == 1 {
            assert_eq!(
                levels(&test).await?,
                (0, vec![0, FEATURE_LEVEL, FEATURE_LEVEL]),
                "one of them is older"
            );
        }
    }
    harness::eventually("the new level", || async {
        levels(&test).await.ok().filter(|levels| *levels == (FEATURE_LEVEL, vec![FEATURE_LEVEL; 3]))
    })
    .await?;
    writer.goes_on(5).await?;
    writer.finish(&test.operator()?).await?;

    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    let victim = (leader + 1) % 3;
    harness::eventually("the level at the standby", || async {
        (status(&test, victim).await?.cluster_feature_level() == FEATURE_LEVEL).then_some(())
    })
    .await?;
    test.cluster.stop_master(victim, PATIENCE).await?;
    test.cluster.master_arguments(victim).extend(["--feature-level".to_owned(), "0".to_owned()]);
    test.cluster.start_master(victim)?;
    harness::eventually("the end of the older build", || {
        let ended = test.cluster.master_has_ended(victim);
        async move { ended.then_some(()) }
    })
    .await?;
    let log = test.cluster.log(&format!("master-{}", victim + 1));
    let words = format!("the cluster is at feature level {FEATURE_LEVEL}, this build can only do 0");
    assert!(log.rsplit("--- start of").next().is_some_and(|log| log.contains(&words)), "{log}");
    // Its folder is as it was.
    newer(test.cluster.master_arguments(victim));
    restart(&mut test, victim, |_| {}).await?;
    Ok(())
}
