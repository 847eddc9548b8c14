//! An agent in a folder of its own. Kills whatever its tasks left when the test is over.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tepui_agent::{Config, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::master::{Master, PATIENCE};

pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    pub(crate) masters: Vec<String>,
    pub(crate) client: reqwest::Client,
    pub(crate) address: String,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), tepui_agent::Error>>,
}

impl Rig {
    pub(crate) async fn start(master: &Master) -> Self {
        Self::start_with(vec![master.address.clone()], |_| {}).await
    }

    pub(crate) async fn start_with(masters: Vec<String>, change: impl FnOnce(&mut Config)) -> Self {
        // The server installs it for itself, but this client may come first.
        let client = {
            drop(rustls::crypto::ring::default_provider().install_default());
            reqwest::Client::builder().no_proxy().build().unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Self { folder, masters, client, address: String::new(), running: None };
        rig.start_agent(change).await;
        rig
    }

    /// Starts the agent over whatever is in its folder.
    pub(crate) async fn start_agent(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = Config::new(self.masters.clone(), self.work_dir());
        config.port = 0;
        config.resources = Some("cpus:4;mem:1024;disk:1024;ports:[31000-32000]".to_owned());
        config.attributes = Some("rack:a;zone:3".to_owned());
        config.executable = Some("/bin/true".into());
        config.origin.git_sha = Some("c0ffee");
        config.supervisor_command =
            Some(vec![env!("CARGO_BIN_EXE_tepui-agent-test").into(), "supervise".into()]);
        config.timers.reconnect_max = Duration::from_millis(200);
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        self.address = server.address().to_string();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let ended = runtime.spawn(server.run_until(async move {
            let _dropped = stopped.await;
        }));
        self.running = Some(Running { stop, ended });
    }

    /// Stops the agent as SIGTERM does.
    pub(crate) async fn stop_agent(&mut self) {
        let running = self.running.take().expect("the agent runs");
        running.stop.send(()).unwrap();
        running.ended.await.unwrap().unwrap();
    }

    /// Waits until the agent left by itself.
    pub(crate) async fn left(&mut self) {
        let running = self.running.take().expect("the agent runs");
        tokio::time::timeout(PATIENCE, running.ended).await.expect("the agent leaves").unwrap().unwrap();
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    /// The newest sandbox of a task.
    pub(crate) fn sandbox(&self, task: &str) -> PathBuf {
        let runs = format!("slaves/master-S0/frameworks/fw/executors/{task}/runs/latest");
        self.work_dir().join(runs)
    }

    pub(crate) fn containers(&self) -> usize {
        fs::read_dir(self.work_dir().join("meta/containers")).unwrap().count()
    }

    /// Where the only container's end is recorded.
    pub(crate) fn exit_record(&self) -> Option<PathBuf> {
        let container = fs::read_dir(self.work_dir().join("meta/containers")).unwrap().next()?;
        Some(container.unwrap().path().join("exit"))
    }

    /// Processes of this agent's tasks, supervising ones included.
    pub(crate) fn processes(&self) -> Vec<i32> {
        with_variable(&format!("TEPUI_WORK_DIR={}", self.work_dir().display()))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
        let response = self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.bytes().await.unwrap().to_vec())
    }

    pub(crate) async fn get_json(&self, path: &str) -> serde_json::Value {
        let (status, headers, body) = self.get(path).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/json"), "{path}");
        serde_json::from_slice(&body).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Until nothing is left: what is killed may just have started something that was not there when it was looked for.
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn with_variable(variable: &str) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
    })
    .collect()
}

/// Waits for a condition.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a file holds at least one line; returns all of it.
pub(crate) async fn lines(path: &Path) -> String {
    let read = || fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'));
    wait_for(&path.display().to_string(), read).await
}
