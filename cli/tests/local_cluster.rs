//! The executable on a cluster of real processes.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui::cluster::{LocalCluster, Options, find_processes};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tepui");
const LIMIT: Duration = Duration::from_secs(60);

struct Fixture {
    cluster: LocalCluster,
    _dir: tempfile::TempDir,
}

async fn cluster(masters: usize, agents: usize) -> Fixture {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = Options::new(EXECUTABLE, dir.path());
    options.masters = masters;
    options.agents = agents;
    let cluster = LocalCluster::start(options).expect("the cluster starts");
    cluster.wait_for_leader(LIMIT).await.expect("a leader");
    Fixture { cluster, _dir: dir }
}

fn command(cluster: &LocalCluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(EXECUTABLE);
    command
        .args(arguments)
        .env("TEPUI_MASTERS", cluster.masters().join(","))
        .env("NO_COLOR", "1")
        .env_remove("TEPUI_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn tepui(cluster: &LocalCluster, arguments: &[&str]) -> Output {
    let mut command = command(cluster, arguments);
    tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until a command prints what is wanted.
async fn until(cluster: &LocalCluster, arguments: &[&str], is_good: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let output = tepui(cluster, arguments).await;
        let out = text(&output.stdout);
        if output.status.success() && is_good(&out) {
            return out;
        }
        assert!(
            Instant::now() < deadline,
            "{arguments:?}: {out}{}\n{}",
            text(&output.stderr),
            cluster.tails()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reads a child's output up to a word.
fn read_until(child: &mut Child, word: &str) -> String {
    let stdout = child.stdout.as_mut().expect("a pipe");
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !text(&seen).contains(word) {
        assert_eq!(stdout.read(&mut byte).expect("readable"), 1, "ended after {}", text(&seen));
        seen.push(byte[0]);
    }
    text(&seen)
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("a signal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_as_if_it_ran_here() {
    let Fixture { cluster, _dir } = cluster(1, 1).await;
    let output =
        tepui(&cluster, &["run", "--env", "WHO=you", "echo hello $WHO; echo oops >&2; exit 7"]).await;
    assert_eq!(text(&output.stdout), "hello you\n");
    assert!(text(&output.stderr).contains("oops\n"));
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));

    let large = tepui(&cluster, &["run", "--quiet", "--", "seq", "1", "100000"]).await;
    assert_eq!(large.status.code(), Some(0), "{}", text(&large.stderr));
    assert_eq!(text(&large.stdout).lines().count(), 100_000);
    assert_eq!(text(&large.stderr), "");

    let killed = tepui(&cluster, &["run", "kill -9 $$"]).await;
    assert_eq!(killed.status.code(), Some(137), "{}", text(&killed.stderr));

    let tasks = until(&cluster, &["tasks", "--all", "-o", "json"], |out| {
        let tasks: serde_json::Value = serde_json::from_str(out).expect("JSON");
        tasks["completed_tasks"].as_array().is_some_and(|tasks| tasks.len() == 3)
    });
    let tasks: serde_json::Value = serde_json::from_str(&tasks.await).expect("JSON");
    let failed = tasks["completed_tasks"].as_array().expect("a list");
    let failed = failed.iter().find(|task| task["state"] == "TASK_FAILED").expect("the failed one");
    let task_id = failed["task_id"]["value"].as_str().expect("an id");
    let logs = tepui(&cluster, &["logs", task_id]).await;
    assert!(logs.status.success(), "{}", text(&logs.stderr));
    assert!(["hello you\n", ""].contains(&text(&logs.stdout).as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_command_does_not_notice_that_its_leader_dies() {
    let Fixture { mut cluster, _dir } = cluster(3, 1).await;
    let mut child = command(&cluster, &["run", "echo begin; sleep 3; echo end"]).spawn().expect("it runs");
    read_until(&mut child, "begin\n");
    let leader = cluster.leader().await.expect("a leader");
    cluster.kill_master(leader);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("it ends");
    let output = output.expect("it ends");
    assert_eq!(text(&output.stdout), "end\n", "{}\n{}", text(&output.stderr), cluster.tails());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_kills_the_task_with_all_its_processes() {
    let Fixture { cluster, _dir } = cluster(1, 1).await;
    let mut child = command(&cluster, &["run", "sleep 1000 & echo begin; wait"]).spawn().expect("it runs");
    read_until(&mut child, "begin\n");
    interrupt(&child);
    let status = tokio::task::spawn_blocking(move || child.wait()).await.expect("it ends").expect("it ends");
    assert_eq!(status.code(), Some(130));
    let work_dir = cluster.agent_dir(0).to_path_buf();
    let is_task = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("sleep")
    };
    let deadline = Instant::now() + LIMIT;
    while find_processes(&[("TEPUI_WORK_DIR", &work_dir)]).iter().any(is_task) {
        assert!(Instant::now() < deadline, "the task lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervised_command_is_launched_again_followed_and_ended() {
    let Fixture { cluster, _dir } = cluster(1, 1).await;
    let script =
        "echo generation $TEPUI_DRIVER_GENERATION; test $TEPUI_DRIVER_GENERATION -ge 2 && sleep 1000; exit 1";
    let submit =
        ["submit", "--name", "job", "--backoff", "50ms", "--lease", "1000secs", "--", "sh", "-c", script];
    for expected in ["submitted", "before"] {
        let output = tepui(&cluster, &submit).await;
        assert!(text(&output.stdout).contains(expected), "{}", text(&output.stderr));
    }
    until(&cluster, &["drivers"], |out| out.contains("RUNNING") && out.contains("job.g2")).await;
    let detail = tepui(&cluster, &["status", "job"]).await;
    assert!(text(&detail.stdout).contains("exited with status 1"), "{}", text(&detail.stdout));
    let first = tepui(&cluster, &["logs", "job", "--generation", "1"]).await;
    assert_eq!(text(&first.stdout), "generation 1\n", "{}", text(&first.stderr));
    until(&cluster, &["logs", "job"], |out| out == "generation 2\n").await;

    let following = command(&cluster, &["logs", "job", "-f"]).spawn().expect("it runs");
    let killed = tepui(&cluster, &["kill-driver", "job", "--grace", "100ms"]).await;
    assert!(killed.status.success(), "{}", text(&killed.stderr));
    until(&cluster, &["drivers"], |out| out.contains("KILLED")).await;
    let followed = tokio::task::spawn_blocking(move || following.wait_with_output()).await.expect("it ends");
    assert_eq!(text(&followed.expect("it ends").stdout), "generation 2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_cluster_ends_with_everything_on_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().canonicalize().expect("a folder");
    let mut local = Command::new(EXECUTABLE)
        .args(["local", "--masters", "1", "--agents", "1", "--output", "json", "--dir"])
        .arg(&dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let addresses: serde_json::Value = serde_json::from_str(&read_until(&mut local, "\n}\n")).expect("JSON");
    let masters = addresses["masters"][0].as_str().expect("an address").to_owned();
    let mut task = Command::new(EXECUTABLE)
        .args(["run", "--masters", &masters, "--", "sh", "-c", "echo begin; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    read_until(&mut task, "begin\n");
    let markers = [("LOCAL_TEPUI_CLUSTER", dir.as_path())];
    assert!(find_processes(&markers).len() >= 4, "master, agent, supervisor, task");
    interrupt(&local);
    let status = tokio::task::spawn_blocking(move || local.wait()).await.expect("it ends").expect("it ends");
    assert!(status.success());
    assert_eq!(left_over(&dir), Vec::<String>::new());
    let _ = task.kill();
    let _ = task.wait();
}

fn left_over(dir: &Path) -> Vec<String> {
    let line = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    find_processes(&[("LOCAL_TEPUI_CLUSTER", dir)]).into_iter().map(line).collect()
}
