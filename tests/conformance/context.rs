//! What a scenario works with: a cluster, a client in the scenario's encoding, and the ways to disturb servers. Mends the cluster
//! after each scenario, so that the next one finds it as new.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui::cluster::{LocalCluster, Options};
use tepui_proto::MediaType;
use tepui_proto::v1;
use tepui_proto::v1::master;
use tepui_proto::v1::master::call::Type;
use tepui_proto::v1::scheduler::{Call, Event, event};

use super::scenarios;
use super::wire::messages::{Named, reactivate, subscribe};
use super::wire::operations::undo;
use super::wire::{Answer, Framework, Http, SCHEDULER, Stream, next_in_time};
use super::{Needs, PATIENCE};
use crate::chaos::gateways::Gateways;

/// Heartbeats of the masters under test come this often.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
/// The least life of a filter there.
pub(crate) const ALLOCATION_INTERVAL: Duration = Duration::from_millis(500);
/// An agent of the quick cluster is given up after this long without an answer.
pub(crate) const GIVEN_UP: Duration = Duration::from_millis(1_200);
/// Between two agents that are given up in the limited cluster.
pub(crate) const REMOVAL_PAUSE: Duration = Duration::from_secs(3);
/// An unreachable agent of the limited cluster is forgotten after this long.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(8);
/// An offer of the quick cluster is taken back after this long.
pub(crate) const OFFER_TIMEOUT: Duration = Duration::from_secs(2);
/// Long enough for anything that should not happen to have happened: several allocations and batches.
pub(crate) const QUIET: Duration = Duration::from_millis(1_200);

/// So many may follow the operator events of the quick cluster at once.
pub(crate) const SUBSCRIBERS: usize = 4;
/// So much may wait there for one reader of a stream.
pub(crate) const STREAM_BYTES: usize = 1 << 20;

/// CPUs and megabytes of memory of each agent.
pub(crate) const AGENT: (f64, f64) = (2.0, 1024.0);

/// Hosts of the mixed cluster's agents: a plain one, one with GPUs, one in another region.
pub(crate) const MIXED_HOSTS: [&str; 3] = ["plain.example", "gpus.example", "south.example"];
/// What the one with GPUs has besides: as much as one small task needs.
pub(crate) const TINY: (f64, f64) = (0.1, 32.0);
/// Name of the mixed cluster's list of hosts.
const WHITELIST: &str = "whitelist";

/// A domain as flags have it.
fn domain(region: &str) -> String {
    let fault_domain =
        serde_json::json!({ "region": { "name": region }, "zone": { "name": format!("{region}-1") } });
    serde_json::json!({ "fault_domain": fault_domain }).to_string()
}

fn mixed_agents(resources: &str) -> Vec<(String, Vec<String>)> {
    let gpus = format!("cpus:{};mem:{};disk:64;ports:[31010-31011];gpus:2", TINY.0, TINY.1);
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let south = domain("south");
    vec![
        (resources.to_owned(), owned(&["--hostname", MIXED_HOSTS[0], "--attributes", "rack:r1;rack:r9"])),
        (gpus, owned(&["--hostname", MIXED_HOSTS[1], "--attributes", "rack:g1"])),
        (
            resources.to_owned(),
            owned(&["--hostname", MIXED_HOSTS[2], "--attributes", "rack:r2;row:7", "--domain", &south]),
        ),
    ]
}

/// A cluster and a client.
#[derive(Debug)]
pub struct Context {
    pub(crate) cluster: LocalCluster,
    /// Between the three masters of [`Needs::Trio`].
    pub(crate) gateways: Gateways,
    pub(crate) http: Http,
    /// The scenario's encoding.
    pub(crate) media: MediaType,
    /// A folder for what tasks write, empty at the start of each scenario.
    scratch: PathBuf,
    /// What the scenario has measured, to be printed; nobody judges it.
    pub(crate) timings: Vec<(&'static str, Duration)>,
    _folder: tempfile::TempDir,
}

impl Context {
    /// Starts a cluster of this kind and waits until it is complete.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(needs: Needs, executable: &Path) -> anyhow::Result<Self> {
        let http = Http::new(MediaType::Json)?;
        let folder = tempfile::Builder::new().prefix("tepui-conformance-").tempdir()?;
        let mut options = Options::new(executable, folder.path().join("cluster"));
        let trio = matches!(needs, Needs::Trio | Needs::Swift);
        options.masters = if trio { 3 } else { 1 };
        options.agents = if needs == Needs::Limited { 3 } else { 2 };
        options.distinct_hosts = true;
        options.resources = format!("cpus:{};mem:{};disk:1024;ports:[31000-31009]", AGENT.0, AGENT.1);
        if needs != Needs::Swift {
            options.master_args = crate::harness::slow_timers();
        }
        let mut flag = |name: &str, value: String| options.master_args.extend([name.to_owned(), value]);
        flag("--heartbeat-interval", format!("{}ms", HEARTBEAT.as_millis()));
        flag("--allocation-interval", format!("{}ms", ALLOCATION_INTERVAL.as_millis()));
        match needs {
            Needs::Calm => {
                // Where its output goes anyway, so that it can be read over HTTP, too.
                let log = folder.path().join("cluster/logs/master-1.log");
                flag("--log-file", log.display().to_string());
            }
            Needs::Mixed => {
                let whitelist = folder.path().join(WHITELIST);
                std::fs::write(&whitelist, MIXED_HOSTS.join("\n"))?;
                flag("--agent-whitelist", whitelist.display().to_string());
                flag("--fair-sharing-excluded-resource-names", "gpus".to_owned());
                flag("--domain", domain("north"));
                options.distinct_hosts = false;
                options.agents = MIXED_HOSTS.len();
                options.agent_variants = mixed_agents(&options.resources);
            }
            Needs::Quick | Needs::Limited => {
                flag("--agent-ping-timeout", format!("{}ms", GIVEN_UP.as_millis() / 4));
                flag("--max-agent-ping-timeouts", "4".to_owned());
                flag("--offer-timeout", format!("{}ms", OFFER_TIMEOUT.as_millis()));
                flag("--max-operator-event-stream-subscribers", SUBSCRIBERS.to_string());
                flag("--max-stream-bytes", STREAM_BYTES.to_string());
                if needs == Needs::Limited {
                    flag("--agent-removal-rate-limit", format!("1/{}ms", REMOVAL_PAUSE.as_millis()));
                    flag("--registry-gc-interval", "300ms".to_owned());
                    flag("--registry-max-agent-count", "1".to_owned());
                    flag("--registry-max-agent-age", format!("{}ms", FORGOTTEN.as_millis()));
                }
                options.agent_args =
                    ["--update-retry-min", "500ms", "--executor-registration-timeout", "3secs"]
                        .map(str::to_owned)
                        .to_vec();
            }
            Needs::Trio | Needs::Swift => {
                flag("--framework-failover-grace", "3secs".to_owned());
                flag("--framework-disconnected-grace", "1secs".to_owned());
                flag("--agent-failover-grace", "20secs".to_owned());
                // Agents of a master that is paused notice it soon.
                flag("--agent-ping-timeout", "500ms".to_owned());
                flag("--max-agent-ping-timeouts", "6".to_owned());
                options.agent_args = ["--update-retry-min", "1secs"].map(str::to_owned).to_vec();
            }
        }
        let mut gateways = Gateways::listen(options.masters).await?;
        if trio {
            options.peer_gateways = gateways.ports()?;
        }
        let (masters, agents) = (options.masters, options.agents);
        let mut cluster = LocalCluster::prepare(options)?;
        let folders: Vec<&Path> = (0..masters).map(|index| cluster.master_dir(index)).collect();
        gateways.open(&cluster.peer_ports(), &folders);
        for index in 0..masters {
            cluster.start_master(index)?;
        }
        for index in 0..agents {
            cluster.start_agent(index)?;
        }
        let scratch = folder.path().join("scratch");
        let context = Context {
            cluster,
            gateways,
            http,
            media: MediaType::Json,
            scratch,
            timings: Vec::new(),
            _folder: folder,
        };
        context.settled().await.with_context(|| context.cluster.tails())?;
        Ok(context)
    }

    /// Prepares for one scenario.
    pub(super) fn begin(&mut self, media: MediaType) -> anyhow::Result<()> {
        self.media = media;
        self.timings.clear();
        self.http = self.http.speaking(media);
        if self.scratch.exists() {
            std::fs::remove_dir_all(&self.scratch)?;
        }
        std::fs::create_dir_all(&self.scratch)?;
        Ok(())
    }

    /// Brings the cluster back to where it was: everything runs, no framework, no task.
    pub(super) async fn mend(&mut self) -> anyhow::Result<()> {
        if self.whitelist_path().exists() {
            self.whitelist(&MIXED_HOSTS)?;
        }
        self.gateways.heal();
        for index in 0..self.cluster.masters().len() {
            self.cluster.resume_master(index);
            if self.cluster.master_pid(index).is_none() {
                self.cluster.start_master(index)?;
            }
        }
        for index in 0..self.cluster.agents().len() {
            self.thaw_agent(index);
            if self.cluster.agent_pid(index).is_none() {
                self.cluster.start_agent(index)?;
            }
        }
        // A master that has just been elected refuses everything for a moment.
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.undo_operators().await {
            anyhow::ensure!(Instant::now() < until, "what operators wanted stays: {error:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.settled().await
    }

    /// Takes back what operators wanted of roles, agents and machines.
    async fn undo_operators(&self) -> anyhow::Result<()> {
        let weights = self.ask(Type::GetWeights).await?.get_weights.unwrap_or_default().weight_infos;
        let changed: Vec<_> = weights.into_iter().filter(|info| info.weight() != 1.0).collect();
        if !changed.is_empty() {
            let roles: Vec<_> = changed.iter().map(|info| (info.role(), 1.0)).collect();
            scenarios::h_quota::set_weights(self, &roles).await?;
        }
        let quotas = scenarios::h_quota::quotas(self).await?;
        if !quotas.is_empty() {
            let none = quotas.iter().map(|one| scenarios::h_quota::config(one.role(), &[], &[]));
            scenarios::h_quota::set_quota(self, none.collect()).await?;
        }
        let status = self.ask(Type::GetMaintenanceStatus).await?.get_maintenance_status.unwrap_or_default();
        let status = status.status.unwrap_or_default();
        if !status.down_machines.is_empty() {
            self.operate(&scenarios::h_maintenance::stop(status.down_machines)).await?;
        }
        if !status.draining_machines.is_empty() {
            self.operate(&scenarios::h_maintenance::update(Vec::new())).await?;
        }
        for agent in self.agents().await?.iter().filter(|agent| agent.deactivated()) {
            let id = agent.agent_info.as_ref().map_or("", |info| info.id.named());
            self.operate(&reactivate(id)).await?;
        }
        Ok(())
    }

    /// Makes an operator call at the leading master, whatever comes of it.
    pub(crate) async fn operate(&self, call: &master::Call) -> anyhow::Result<Answer> {
        self.http.post(&self.leader().await?, "/api/v1", &[], call).await
    }

    /// Whether the process of an agent has ended by itself.
    pub(crate) fn agent_has_exited(&self, index: usize) -> bool {
        let Some(pid) = self.cluster.agent_pid(index) else { return true };
        // Nobody has asked for its end yet, so what is left of it is a zombie.
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
    }

    /// Waits until a master leads, all agents are there, and nothing is left of earlier frameworks, which it ends.
    async fn settled(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = match self.leftovers().await {
                Ok(left) if left.is_empty() => return Ok(()),
                Ok(left) => left,
                Err(error) => format!("{error:#}"),
            };
            anyhow::ensure!(Instant::now() < until, "the cluster does not come to rest: {left}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What keeps the cluster from being as new; ends frameworks.
    async fn leftovers(&self) -> anyhow::Result<String> {
        let leader = self.cluster.leader().await.context("no leading master")?;
        let address = &self.cluster.masters()[leader];
        let http = self.http.speaking(MediaType::Protobuf);
        let state = http.ask(address, Type::GetState).await?.get_state.unwrap_or_default();
        let mut left = Vec::new();
        for framework in state.get_frameworks.unwrap_or_default().frameworks {
            let info = framework.framework_info.unwrap_or_default();
            if info.name() != "tepui-drivers" {
                left.push(format!("framework {}", info.id.named()));
                let teardown = master::call::Teardown { framework_id: info.id.clone() };
                let call = master::Call {
                    r#type: Some(Type::Teardown as i32),
                    teardown: Some(teardown),
                    ..Default::default()
                };
                // It may end by itself meanwhile.
                http.post(address, "/api/v1", &[], &call).await?;
            }
        }
        let agents = state.get_agents.unwrap_or_default().agents;
        for agent in &agents {
            let id = agent.agent_info.as_ref().and_then(|info| info.id.clone()).unwrap_or_default();
            if let Some(call) = undo(&id, &agent.total_resources) {
                left.push(format!("reservations on agent {}", id.value()));
                http.post(address, "/api/v1", &[], &call).await?;
            }
        }
        let active = agents.iter().filter(|agent| agent.active()).count();
        if active != self.cluster.agents().len() {
            left.push(format!("{active} active agents"));
        }
        left.extend(agents.iter().filter(|agent| !agent.allocated_resources.is_empty()).map(|agent| {
            format!("resources in use on {}", agent.agent_info.as_ref().map_or("", |info| info.hostname()))
        }));
        let tasks = state.get_tasks.unwrap_or_default();
        left.extend(tasks.tasks.iter().map(|task| format!("task {}", task.task_id.named())));
        Ok(left.join(", "))
    }

    /// `host:port` of the leading master.
    ///
    /// # Errors
    /// When none leads in time.
    pub(crate) async fn leader(&self) -> anyhow::Result<String> {
        let masters = self.cluster.masters();
        match masters.as_slice() {
            [only] => Ok(only.clone()),
            _several => Ok(masters[self.cluster.wait_for_leader(PATIENCE).await?].clone()),
        }
    }

    /// Waits until some master other than `former` serves; returns its address.
    pub(crate) async fn new_leader(&self, former: &str) -> anyhow::Result<String> {
        self.eventually("a new leading master", async || {
            let index = self.cluster.leader().await?;
            let address = self.cluster.masters()[index].clone();
            let serves = self.http.get(&address, "/state").await.is_ok_and(|answer| answer.status == 200);
            (address != former && serves).then_some(address)
        })
        .await
    }

    /// Index of a master by its address.
    pub(crate) fn master_index(&self, address: &str) -> anyhow::Result<usize> {
        self.cluster.masters().iter().position(|known| known == address).context("no such master")
    }

    /// Subscribes a framework at the leading master.
    pub(crate) async fn subscribe(&self, info: v1::FrameworkInfo) -> anyhow::Result<Framework> {
        self.subscribe_call(&subscribe(info)).await
    }

    /// Subscribes with a whole call at the leading master.
    pub(crate) async fn subscribe_call(&self, call: &Call) -> anyhow::Result<Framework> {
        Framework::subscribe(&self.http, &self.leader().await?, call).await
    }

    /// Subscribes, which must be refused inside the stream; returns what the ERROR says.
    pub(crate) async fn refused(&self, call: &Call) -> anyhow::Result<String> {
        let mut stream = self.http.open(&self.leader().await?, SCHEDULER, &[], call).await?;
        anyhow::ensure!(stream.header("mesos-stream-id").is_some(), "a refused stream has an id, too");
        let message = match next_in_time::<Event>(&mut stream).await? {
            Some(event) if event.r#type() == event::Type::Error => event.error.unwrap_or_default(),
            other => anyhow::bail!("{other:?} instead of ERROR"),
        };
        let after = next_in_time::<Event>(&mut stream).await?;
        anyhow::ensure!(after.is_none(), "{after:?} after ERROR instead of the end");
        anyhow::ensure!(!message.message().is_empty(), "ERROR without a reason");
        Ok(message.message().to_owned())
    }

    /// Opens the operator stream at the leading master, which answers SUBSCRIBED first.
    pub(crate) async fn operator_stream(&self) -> anyhow::Result<Stream> {
        let call = master::Call { r#type: Some(Type::Subscribe as i32), ..Default::default() };
        self.http.open(&self.leader().await?, "/api/v1", &[], &call).await
    }

    /// A read of the leading master without parameters.
    pub(crate) async fn ask(&self, kind: Type) -> anyhow::Result<master::Response> {
        self.http.ask(&self.leader().await?, kind).await
    }

    /// An operator's call; returns the status of the answer and its text.
    pub(crate) async fn outcome(&self, call: &master::Call) -> anyhow::Result<(u16, String)> {
        let answer = self.operate(call).await?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// All resources of one agent as the leading master shows them.
    pub(crate) async fn total(&self, id: &str) -> anyhow::Result<Vec<v1::Resource>> {
        let is_it = |agent: &master::response::get_agents::Agent| {
            agent.agent_info.as_ref().is_some_and(|info| info.id.named() == id)
        };
        let agent = self.agents().await?.into_iter().find(is_it);
        Ok(agent.with_context(|| format!("no agent {id}"))?.total_resources)
    }

    /// Agents as the leading master shows them.
    pub(crate) async fn agents(&self) -> anyhow::Result<Vec<master::response::get_agents::Agent>> {
        Ok(self.ask(Type::GetAgents).await?.get_agents.context("no get_agents")?.agents)
    }

    /// Frameworks that the leading master shows as not completed.
    pub(crate) async fn frameworks(
        &self,
    ) -> anyhow::Result<Vec<master::response::get_frameworks::Framework>> {
        let all = self.ask(Type::GetFrameworks).await?.get_frameworks.context("no get_frameworks")?;
        let user = |one: &master::response::get_frameworks::Framework| {
            one.framework_info.as_ref().is_some_and(|info| info.name() != "tepui-drivers")
        };
        Ok(all.frameworks.into_iter().filter(user).collect())
    }

    /// One framework, if it is not completed.
    pub(crate) async fn framework(
        &self,
        id: &str,
    ) -> anyhow::Result<Option<master::response::get_frameworks::Framework>> {
        let is_it = |one: &master::response::get_frameworks::Framework| {
            one.framework_info.as_ref().is_some_and(|info| info.id.named() == id)
        };
        Ok(self.frameworks().await?.into_iter().find(is_it))
    }

    /// Ids of the completed frameworks.
    pub(crate) async fn completed(&self) -> anyhow::Result<Vec<String>> {
        let all = self.ask(Type::GetFrameworks).await?.get_frameworks.context("no get_frameworks")?;
        let infos = all.completed_frameworks.into_iter().filter_map(|one| one.framework_info);
        Ok(infos.map(|info| info.id.named().to_owned()).collect())
    }

    /// Tasks as the leading master shows them.
    pub(crate) async fn tasks(&self) -> anyhow::Result<master::response::GetTasks> {
        self.ask(Type::GetTasks).await?.get_tasks.context("no get_tasks")
    }

    /// Tasks of one framework as the leading master shows them.
    pub(crate) async fn tasks_of(&self, framework: &str) -> anyhow::Result<master::response::GetTasks> {
        let mut all = self.tasks().await?;
        for list in [&mut all.tasks, &mut all.completed_tasks, &mut all.unreachable_tasks] {
            list.retain(|task| task.framework_id.named() == framework);
        }
        Ok(all)
    }

    /// Waits until the leading master has committed that so many tasks of a framework are running. Updates are forwarded before that.
    pub(crate) async fn committed(&self, framework: &str, count: usize) -> anyhow::Result<()> {
        self.eventually("the tasks' states in the log", async || {
            let tasks = self.tasks_of(framework).await.ok()?.tasks;
            let running = tasks.iter().filter(|task| task.state() == v1::TaskState::TaskRunning).count();
            (running == count).then_some(())
        })
        .await
    }

    /// `/state` of the leading master.
    pub(crate) async fn state(&self) -> anyhow::Result<serde_json::Value> {
        self.http.get_json(&self.leader().await?, "/state").await
    }

    /// Replaces the mixed cluster's list of hosts.
    pub(crate) fn whitelist(&self, hosts: &[&str]) -> anyhow::Result<()> {
        Ok(std::fs::write(self.whitelist_path(), hosts.join("\n"))?)
    }

    fn whitelist_path(&self) -> PathBuf {
        self.cluster.dir().with_file_name(WHITELIST)
    }

    /// A path in the scenario's scratch folder.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// SIGSTOP for an agent: it is there, but says nothing.
    pub(crate) fn freeze_agent(&self, index: usize) {
        self.signal_agent(index, Signal::SIGSTOP);
    }

    /// SIGCONT for an agent.
    pub(crate) fn thaw_agent(&self, index: usize) {
        self.signal_agent(index, Signal::SIGCONT);
    }

    fn signal_agent(&self, index: usize, signal: Signal) {
        if let Some(pid) = self.cluster.agent_pid(index) {
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Index of the agent with this id.
    pub(crate) async fn agent_index(&self, id: &str) -> anyhow::Result<usize> {
        let agents = self.agents().await?;
        let info = agents.into_iter().filter_map(|agent| agent.agent_info).find(|info| info.id.named() == id);
        let port = info.with_context(|| format!("no agent {id}"))?.port();
        let ends = format!(":{port}");
        self.cluster.agents().iter().position(|address| address.ends_with(&ends)).context("no such agent")
    }

    /// Waits until `condition` gives something.
    pub(crate) async fn eventually<T>(
        &self,
        what: &str,
        mut condition: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = condition().await {
                return Ok(found);
            }
            anyhow::ensure!(Instant::now() < until, "no {what} after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a file has something in it, and returns that.
    pub(crate) async fn written(&self, name: &str) -> anyhow::Result<String> {
        let path = self.scratch(name);
        self.eventually(&format!("file {name}"), async || {
            std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty())
        })
        .await
    }
}
