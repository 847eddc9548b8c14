//! Backup, restore and the loss of a majority, by the commands of `docs/operating.md`: tasks run on, agents come over, and the former
//! cluster is a stranger.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tepui_sdk::scheduler::Event;
use tepui_sdk::v1::TaskState::{TaskFinished, TaskRunning};
use tepui_tests::harness::{self, PATIENCE, TestCluster, TestFramework, task};

use crate::TEPUI;
use crate::procedures::Page;

const BACKUP: &str = "tepui raft backup /backup/tepui --masters m1:5050,m2:5050,m3:5050";
const VERIFY: &str = "tepui raft backup --verify /backup/tepui --output json";
const RESTORE: &str =
    "tepui raft restore /backup/tepui --work-dir /var/lib/tepui/restored --master 1=m1:5060/5050";
const START: &str = "tepui master --node-id 1 --work-dir /var/lib/tepui/restored --masters 1=m1:5060/5050 --secret-file /etc/tepui/secret";
const COMPARE: &str = "tepui raft recover /var/lib/tepui/master";
const RECOVER: &str = "tepui raft recover /var/lib/tepui/master --into /var/lib/tepui/recovered";
const ASIDE: &str = "mv /var/lib/tepui/master /var/lib/tepui/former";
const IN_PLACE: &str = "mv /var/lib/tepui/recovered /var/lib/tepui/master";

/// Where the page's places are: `/var/lib/tepui/…` is the cluster's own folder, `m1` the first master.
fn page(test: &TestCluster) -> anyhow::Result<Page> {
    let masters = test.cluster.masters();
    let (peer, api) = (test.cluster.peer_ports()[0], masters[0].clone());
    let here = test.cluster.dir().display().to_string();
    Page::open(&[
        ("m1:5050,m2:5050,m3:5050", masters.join(",")),
        ("m1:5060/5050", format!("127.0.0.1:{peer}/{}", api.rsplit(':').next().unwrap_or_default())),
        ("/etc/tepui/secret", test.cluster.secret_file().display().to_string()),
        ("/backup/tepui", format!("{here}/backup")),
        ("/var/lib/tepui/master", test.cluster.master_dir(0).display().to_string()),
        ("/var/lib/tepui", here),
    ])
}

/// A task that writes down that it began, and runs until it is told to end.
fn marked(folder: &Path, id: &str) -> tepui_sdk::v1::TaskInfo {
    let folder = folder.display();
    task(id, &format!("echo {id} >> {folder}/marks; while [ ! -e {folder}/gate ]; do sleep 0.1; done"))
}

fn marks(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("marks")).unwrap_or_default();
    let mut marks: Vec<String> = text.lines().map(str::to_owned).collect();
    marks.sort();
    marks
}

async fn subscribed_again(framework: &mut TestFramework) -> anyhow::Result<()> {
    let again = |event: &Event| matches!(event, Event::Subscribed { again: true, .. }).then_some(());
    framework.wait("a new subscription", again).await
}

/// The ids of the tasks that the masters hold as running.
async fn running(test: &TestCluster) -> anyhow::Result<Vec<String>> {
    let tasks = test.operator()?.get_tasks().await?.tasks;
    let live = tasks.iter().filter(|task| task.state() == TaskRunning);
    let mut ids: Vec<String> = live.filter_map(|task| task.task_id.as_ref()?.value.clone()).collect();
    ids.sort();
    Ok(ids)
}

/// A master that a test started by itself.
struct Extra(Child);

impl Drop for Extra {
    fn drop(&mut self) {
        // Gone already, which is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_majority_is_lost_and_the_survivor_goes_on_with_every_task() -> anyhow::Result<()> {
    let mut test = harness::start(harness::options(TEPUI, 3, 2)).await?;
    let page = page(&test)?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "recovery").await?;
    let folder = tempfile::tempdir()?;
    let ids = ["t0", "t1", "t2", "t3"];
    framework.launch(ids.iter().map(|id| marked(folder.path(), id)).collect()).await?;
    for id in ids {
        framework.wait_state(id, TaskRunning).await?;
    }
    let before = test.operator()?.get_raft(&test.cluster.masters()[0]).await?;
    let said = page.fail(COMPARE, &[])?;
    assert!(said.contains("in use by another process"), "a running master is left alone: {said}");
    // The survivor has to have what was acknowledged: without that the loss would be a real one.
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    let committed = test.operator()?.get_raft(&test.cluster.masters()[leader]).await?.committed_index();
    harness::eventually("the survivor's log", || async {
        let status = test.operator().ok()?.get_raft(&test.cluster.masters()[0]).await.ok()?;
        (status.last_log_index() >= committed).then_some(())
    })
    .await?;
    for master in 0..3 {
        test.cluster.kill_master(master);
    }
    // The disk of one is gone; that of the other will come back when nobody needs it any more.
    fs::remove_dir_all(test.cluster.master_dir(1))?;

    let survivors = page.json(COMPARE, &["--output", "json"])?;
    assert_eq!(survivors[0]["node_id"], 1);
    assert_eq!(survivors[0]["cluster_id"], before.cluster_id());
    assert!(survivors[0]["index"].as_u64() >= Some(committed), "{survivors}");
    assert_eq!(survivors[0]["tasks"], 4);
    let said = page.fail(RECOVER, &[])?;
    assert!(said.contains("nobody is there to confirm"), "{said}");
    let founded = page.json(RECOVER, &["--yes", "--output", "json"])?;
    let cluster_id = founded["cluster_id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(founded["former_cluster_id"], before.cluster_id());
    assert_ne!(cluster_id, before.cluster_id());
    let said = page.fail(RECOVER, &["--yes"])?;
    assert!(said.contains("is not empty"), "{said}");
    page.succeed(ASIDE, &[])?;
    page.succeed(IN_PLACE, &[])?;
    test.cluster.start_master(0)?;

    subscribed_again(&mut framework).await?;
    test.wait_for_agents(2).await?;
    let after = test.operator()?.get_raft(&test.cluster.masters()[0]).await?;
    assert_eq!((after.cluster_id(), after.members.len()), (cluster_id.as_str(), 1));
    assert!(after.epoch() > before.epoch() + 1_000_000, "{after:?}");
    assert_eq!(running(&test).await?, ids);
    framework.launch(vec![task("after", "true")]).await?;
    framework.wait_state("after", TaskFinished).await?;

    // A master of the former cluster comes back: a stranger to the new one, and nobody follows it.
    test.cluster.start_master(2)?;
    harness::eventually("the refusal of the former master", || async {
        let log = test.cluster.log("master-1") + &test.cluster.log("master-3");
        log.contains("not to").then_some(())
    })
    .await?;
    test.wait_for_agents(2).await?;
    for agent in ["agent-1", "agent-2"] {
        let log = test.cluster.log(agent);
        assert!(log.contains(&format!("was founded anew as {cluster_id}")), "{log}");
    }
    assert_eq!(running(&test).await?, ids);
    fs::write(folder.path().join("gate"), "")?;
    for id in ids {
        framework.wait_state(id, TaskFinished).await?;
    }
    assert_eq!(marks(folder.path()), ids, "each task ran once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_standby_begins_a_new_cluster() -> anyhow::Result<()> {
    let mut test = harness::start(harness::options(TEPUI, 3, 1)).await?;
    let page = page(&test)?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "restore").await?;
    let folder = tempfile::tempdir()?;
    framework.launch(vec![marked(folder.path(), "kept")]).await?;
    framework.wait_state("kept", TaskRunning).await?;
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    let committed = test.operator()?.get_raft(&test.cluster.masters()[leader]).await?.committed_index();

    let taken = harness::eventually("a backup with the task", || async {
        let taken = page.json(BACKUP, &["--output", "json", "--force"]).ok()?;
        (taken["index"].as_u64()? >= committed).then_some(taken)
    })
    .await?;
    assert_ne!(taken["from"], test.cluster.masters()[leader], "a standby gave it: {taken}");
    let file = PathBuf::from(taken["file"].as_str().unwrap_or_default());
    assert_eq!(taken["bytes"], fs::metadata(&file)?.len());
    let said = page.fail(BACKUP, &[])?;
    assert!(said.contains("exists already"), "{said}");
    let verified = page.json(VERIFY, &[])?;
    for same in ["cluster_id", "index", "sha256", "bytes", "epoch"] {
        assert_eq!(verified[same], taken[same], "{same}");
    }
    assert_eq!((&verified["tasks"], &verified["agents"]), (&1.into(), &1.into()), "{verified}");
    assert!(!folder.path().join("backup.partial").exists());

    // Damage is found, and nothing is founded with it.
    let good = fs::read(&file)?;
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&file, &bad)?;
    for line in [VERIFY, RESTORE] {
        let said = page.fail(line, &[])?;
        assert!(said.contains("is damaged"), "{line}: {said}");
    }
    fs::write(&file, &good)?;

    // The drill, while the real cluster works: another address, and no agent.
    let restored = test.cluster.dir().join("restored");
    let ports: Vec<u16> = (0..2)
        .map(|_| Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()))
        .collect::<anyhow::Result<_>>()?;
    let founded = page.json(RESTORE, &["--output", "json"])?;
    assert_eq!(founded["index"], taken["index"]);
    assert!(restored.join("raft").exists());
    drill(&page, &test, &ports).await?;

    // In earnest. What is launched now is not in the backup, but its agent has it.
    framework.launch(vec![marked(folder.path(), "later")]).await?;
    framework.wait_state("later", TaskRunning).await?;
    for master in 0..3 {
        test.cluster.kill_master(master);
        fs::rename(test.cluster.master_dir(master), test.cluster.dir().join(format!("former-{master}")))?;
    }
    fs::remove_dir_all(&restored)?;
    page.succeed(RESTORE, &[])?;
    fs::rename(&restored, test.cluster.master_dir(0))?;
    test.cluster.start_master(0)?;
    subscribed_again(&mut framework).await?;
    test.wait_for_agents(1).await?;
    assert_eq!(running(&test).await?, ["kept", "later"]);
    framework.launch(vec![task("after", "true")]).await?;
    framework.wait_state("after", TaskFinished).await?;
    fs::write(folder.path().join("gate"), "")?;
    for id in ["kept", "later"] {
        framework.wait_state(id, TaskFinished).await?;
    }
    assert_eq!(marks(folder.path()), ["kept", "later"], "each task ran once");
    Ok(())
}

/// A restored master beside the real cluster shows what is in the backup.
async fn drill(page: &Page, test: &TestCluster, ports: &[u16]) -> anyhow::Result<()> {
    let mut words = page.words(START)?;
    words.extend(["--ip".to_owned(), "127.0.0.1".to_owned()]);
    words.extend(["--peer-port".to_owned(), ports[0].to_string(), "--port".to_owned(), ports[1].to_string()]);
    words.extend(harness::slow_timers());
    let log = fs::File::create(test.cluster.dir().join("logs").join("restored.log"))?;
    let child = Command::new(TEPUI).args(&words[1..]).stdout(log.try_clone()?).stderr(log).spawn()?;
    let _master = Extra(child);
    let client = tepui_sdk::operator::Client::new([format!("127.0.0.1:{}", ports[1])])?.patience(PATIENCE);
    let tasks = client.get_tasks().await?.tasks;
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    assert_eq!(client.get_agents().await?.recovered_agents.len(), 1);
    assert_eq!(running(test).await?, ["kept"], "the real cluster does not notice");
    Ok(())
}
