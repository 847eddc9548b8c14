//! Real clusters for tests: one at a time on a machine, slow timers unless timing is the subject, everything cleaned up at the end.
//! Owns no assertions.

mod framework;

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tepui::cluster::{LocalCluster, Options};

pub use framework::{TestFramework, task};

/// How long anything may take on the slowest machine. No test judges speed by it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The right to run a cluster: held by one test of the whole machine at a time.
#[derive(Debug)]
pub struct ClusterLock(#[expect(dead_code, reason = "held for its lock")] nix::fcntl::Flock<File>);

/// Waits for the right to run a cluster.
///
/// # Errors
/// When the lock file cannot be had.
pub fn lock() -> anyhow::Result<ClusterLock> {
    let file = File::create(std::env::temp_dir().join("tepui-tests-cluster.lock"))?;
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive)
        .map_err(|(_, error)| anyhow::anyhow!("lock the machine: {error}"))?;
    Ok(ClusterLock(lock))
}

/// A cluster with its folder and the lock.
#[derive(Debug)]
pub struct TestCluster {
    pub cluster: LocalCluster,
    _folder: tempfile::TempDir,
    _lock: ClusterLock,
}

/// Timers for tests in which timing is not the subject: two cores in a debug build would elect spuriously with the real ones.
pub fn slow_timers() -> Vec<String> {
    ["--raft-heartbeat", "100ms", "--raft-election-min", "600ms", "--raft-election-max", "1200ms"]
        .map(str::to_owned)
        .to_vec()
}

/// Options of a test cluster with slow timers, run by `executable`.
pub fn options(executable: &str, masters: usize, agents: usize) -> Options {
    let mut options = Options::new(PathBuf::from(executable), PathBuf::new());
    options.masters = masters;
    options.agents = agents;
    options.master_args = slow_timers();
    options.log = "info".to_owned();
    options
}

/// Starts a cluster and waits until it has a leader and all its agents.
///
/// # Errors
/// When it does not come up; the message holds the servers' last lines.
pub async fn start(options: Options) -> anyhow::Result<TestCluster> {
    let lock = lock()?;
    let folder = tempfile::Builder::new().prefix("tepui-test-").tempdir()?;
    let agents = options.agents;
    let cluster = LocalCluster::start(Options { dir: folder.path().join("cluster"), ..options })?;
    let started = TestCluster { cluster, _folder: folder, _lock: lock };
    started.cluster.wait_for_leader(PATIENCE).await?;
    started.wait_for_agents(agents).await?;
    Ok(started)
}

/// Lays out a cluster and starts nothing of it.
///
/// # Errors
/// When folders or ports cannot be had.
pub fn prepare(options: Options) -> anyhow::Result<TestCluster> {
    let lock = lock()?;
    let folder = tempfile::Builder::new().prefix("tepui-test-").tempdir()?;
    let cluster = LocalCluster::prepare(Options { dir: folder.path().join("cluster"), ..options })?;
    Ok(TestCluster { cluster, _folder: folder, _lock: lock })
}

impl TestCluster {
    /// An operator's client of this cluster.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn operator(&self) -> anyhow::Result<tepui_sdk::operator::Client> {
        Ok(tepui_sdk::operator::Client::new(self.cluster.masters())?)
    }

    /// Waits until this many agents are active at the leading master.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn wait_for_agents(&self, count: usize) -> anyhow::Result<()> {
        let operator = self.operator()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let active = match operator.get_agents().await {
                Ok(answer) => answer.agents.iter().filter(|agent| agent.active == Some(true)).count(),
                Err(_no_leader) => 0,
            };
            if active == count {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{active} of {count} agents after {PATIENCE:?}\n{}",
                self.cluster.tails()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits until `condition` gives something.
///
/// # Errors
/// When it has not after [`PATIENCE`].
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < deadline, "no {what} after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
