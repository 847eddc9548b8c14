//! A cluster on this host: masters and agents as real child processes on loopback, under one folder.
//! Used by `tepui local`, by `tepui demo` and by the tests. Owns every process that it started, tasks included; decides nothing about them.

mod place;
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

pub use place::Place;
pub use processes::{Process, find as find_processes};
use processes::{pause, resume, sweep};

/// Environment variable by which every process of a cluster is found again, tasks included: the cluster's folder. Agents keep what
/// begins with `TEPUI_` from their tasks.
pub const CLUSTER_VARIABLE: &str = "LOCAL_TEPUI_CLUSTER";
/// Environment variable naming the work folder of the server whose descendant a process is.
pub const NODE_VARIABLE: &str = "LOCAL_TEPUI_NODE";

/// What kind of cluster is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `tepui` executable (or one that acts as it).
    pub executable: PathBuf,
    /// Folder for all data and logs; created if missing.
    pub dir: PathBuf,
    pub masters: usize,
    pub agents: usize,
    /// Resources of each agent in Mesos' text form.
    pub resources: String,
    /// Further arguments of each master and each agent.
    pub master_args: Vec<String>,
    pub agent_args: Vec<String>,
    /// Names each agent's host after its number, so that each is on a machine of its own.
    pub distinct_hosts: bool,
    /// What the first agents have instead of `resources`, and arguments of theirs alone.
    pub agent_variants: Vec<(String, Vec<String>)>,
    /// Log filter of the servers.
    pub log: String,
    /// Ports on this host under which the masters reach each other, if those lead to them through somebody who may interrupt.
    pub peer_gateways: Vec<u16>,
    /// Where the masters are and, after them, the agents; those without a place are simply on loopback.
    pub places: Vec<Place>,
}

impl Options {
    /// Three masters and three agents of two CPUs and 2 GiB each.
    pub fn new(executable: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Options {
            executable: executable.into(),
            dir: dir.into(),
            masters: 3,
            agents: 3,
            resources: "cpus:2;mem:2048;disk:4096;ports:[31000-32000]".to_owned(),
            master_args: Vec::new(),
            agent_args: Vec::new(),
            distinct_hosts: false,
            agent_variants: Vec::new(),
            log: crate::logging::SERVER_LOG.to_owned(),
            peer_gateways: Vec::new(),
            places: Vec::new(),
        }
    }
}

/// One server of the cluster: how to start it, and its process while it runs.
#[derive(Debug)]
struct Node {
    name: String,
    address: String,
    work_dir: PathBuf,
    place: Place,
    /// Where a master listens for the others.
    peer_port: Option<u16>,
    arguments: Vec<String>,
    process: Option<Process>,
}

/// A running cluster. Dropping it kills every process that belongs to it.
#[derive(Debug)]
pub struct LocalCluster {
    options: Options,
    masters: Vec<Node>,
    agents: Vec<Node>,
    client: reqwest::Client,
    keep: bool,
}

impl LocalCluster {
    /// Starts all masters (the first one bootstraps) and agents, and returns at once.
    ///
    /// # Errors
    /// When folders, ports or processes cannot be had.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let mut cluster = Self::prepare(options)?;
        for index in 0..cluster.masters.len() {
            cluster.start_master(index)?;
        }
        for index in 0..cluster.agents.len() {
            cluster.start_agent(index)?;
        }
        Ok(cluster)
    }

    /// Lays out folders and ports without starting anything.
    ///
    /// # Errors
    /// When folders or ports cannot be had.
    pub fn prepare(mut options: Options) -> anyhow::Result<Self> {
        fs::create_dir_all(options.dir.join("logs"))
            .with_context(|| format!("create {}", options.dir.display()))?;
        options.dir = fs::canonicalize(&options.dir)?;
        options.executable = fs::canonicalize(&options.executable)
            .with_context(|| format!("find {}", options.executable.display()))?;
        let secret = options.dir.join("secret");
        if !secret.exists() {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&secret)?;
            writeln!(file, "{}", uuid::Uuid::new_v4()).context("write the secret")?;
        }
        let mut ports = free_ports(options.masters * 2 + options.agents)?.into_iter();
        let mut port = || ports.next().context("too few free ports");
        let mut addresses = Vec::new();
        for _ in 0..options.masters {
            addresses.push((port()?, port()?));
        }
        let place = |index: usize| options.places.get(index).cloned().unwrap_or_default();
        let mut gateways = options.peer_gateways.iter();
        let members: Vec<String> = addresses
            .iter()
            .zip(0..)
            .map(|((api, peer), index)| {
                let peer = gateways.next().unwrap_or(peer);
                format!("{}={}:{peer}/{api}", index + 1, place(index).reached)
            })
            .collect();
        let masters: Vec<Node> = addresses
            .iter()
            .zip(1..)
            .map(|((api, peer), id)| {
                let mut node = Node::new(&options, "master", id, *api, &secret, place(id - 1));
                node.peer_port = Some(*peer);
                node.arguments.extend(
                    ["--node-id", &id.to_string(), "--peer-port", &peer.to_string()].map(str::to_owned),
                );
                node.arguments.extend(["--masters".to_owned(), members.join(",")]);
                if id == 1 {
                    node.arguments.push("--bootstrap".to_owned());
                }
                node.arguments.extend(options.master_args.iter().cloned());
                node
            })
            .collect();
        let list = masters.iter().map(|node| node.address.clone()).collect::<Vec<_>>().join(",");
        let mut agents = Vec::new();
        for id in 1..=options.agents {
            let place = place(options.masters + id - 1);
            let mut node = Node::new(&options, "agent", id, port()?, &secret, place);
            let common = (options.resources.clone(), Vec::new());
            let (resources, own) = options.agent_variants.get(id - 1).unwrap_or(&common);
            node.arguments.extend(["--masters", &list, "--resources", resources].map(str::to_owned));
            if options.distinct_hosts {
                node.arguments.extend(["--hostname".to_owned(), format!("host-{id}.test")]);
            }
            node.arguments.extend(options.agent_args.iter().chain(own).cloned());
            agents.push(node);
        }
        tepui_sdk::transport::install_crypto();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("make an HTTP client")?;
        Ok(LocalCluster { options, masters, agents, client, keep: false })
    }

    /// The cluster's folder.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// `host:port` of every master, dead or alive.
    pub fn masters(&self) -> Vec<String> {
        self.masters.iter().map(|node| node.address.clone()).collect()
    }

    /// Ports on which the masters listen for each other.
    pub fn peer_ports(&self) -> Vec<u16> {
        self.masters.iter().filter_map(|node| node.peer_port).collect()
    }

    /// `host:port` of every agent, dead or alive.
    pub fn agents(&self) -> Vec<String> {
        self.agents.iter().map(|node| node.address.clone()).collect()
    }

    /// What is run as `tepui`.
    pub fn executable(&self) -> &Path {
        &self.options.executable
    }

    /// The cluster's secret file.
    pub fn secret_file(&self) -> PathBuf {
        self.options.dir.join("secret")
    }

    /// The work folder of an agent.
    pub fn agent_dir(&self, index: usize) -> &Path {
        &self.agents[index].work_dir
    }

    /// The work folder of a master.
    pub fn master_dir(&self, index: usize) -> &Path {
        &self.masters[index].work_dir
    }

    /// What a master is started with, to be changed before its next start.
    pub fn master_arguments(&mut self, index: usize) -> &mut Vec<String> {
        &mut self.masters[index].arguments
    }

    /// The process id of a running master.
    pub fn master_pid(&self, index: usize) -> Option<i32> {
        self.masters[index].process.as_ref().map(Process::pid)
    }

    /// The process id of a running agent.
    pub fn agent_pid(&self, index: usize) -> Option<i32> {
        self.agents[index].process.as_ref().map(Process::pid)
    }

    /// What a server has logged so far: `master-1`, `agent-2`, ….
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.options.dir.join("logs").join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Starts a master that is not running, with its old data.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_master(&mut self, index: usize) -> anyhow::Result<()> {
        self.masters[index].start(&self.options)
    }

    /// Lays out a further master, without starting it: one that comes into the cluster through those that there are.
    ///
    /// # Errors
    /// When no ports can be had.
    pub fn add_master(&mut self) -> anyhow::Result<usize> {
        let [api, peer] = free_ports(2)?[..] else { anyhow::bail!("too few free ports") };
        let contacts: Vec<String> = self
            .masters
            .iter()
            .filter_map(|node| Some(format!("{}:{}", node.place.reached, node.peer_port?)))
            .collect();
        let (index, secret) = (self.masters.len(), self.secret_file());
        let mut node = Node::new(&self.options, "master", index + 1, api, &secret, Place::default());
        node.peer_port = Some(peer);
        let own = ["--peer-port".to_owned(), peer.to_string(), "--join".to_owned(), contacts.join(",")];
        node.arguments.extend(own.into_iter().chain(self.options.master_args.iter().cloned()));
        self.masters.push(node);
        Ok(index)
    }

    /// Takes away all data of a master that does not run, as when its disk was lost.
    ///
    /// # Errors
    /// When it cannot be taken away.
    pub fn wipe_master(&mut self, index: usize) -> anyhow::Result<()> {
        let node = &mut self.masters[index];
        anyhow::ensure!(node.has_ended(), "{} is running", node.name);
        fs::remove_dir_all(&node.work_dir).with_context(|| format!("remove {}", node.work_dir.display()))
    }

    /// Starts an agent that is not running, with its old data.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_agent(&mut self, index: usize) -> anyhow::Result<()> {
        self.agents[index].start(&self.options)
    }

    /// `kill -9` for one master. Returns the instant of the kill.
    pub fn kill_master(&mut self, index: usize) -> Instant {
        let at = Instant::now();
        self.masters[index].kill();
        at
    }

    /// SIGTERM for one master; waits until it has exited.
    ///
    /// # Errors
    /// When it has not exited after `within`.
    pub async fn stop_master(&mut self, index: usize, within: Duration) -> anyhow::Result<()> {
        self.masters[index].stop(within).await
    }

    /// SIGTERM for one agent; its tasks go on.
    ///
    /// # Errors
    /// When it has not exited after `within`.
    pub async fn stop_agent(&mut self, index: usize, within: Duration) -> anyhow::Result<()> {
        self.agents[index].stop(within).await
    }

    /// `kill -9` for one agent alone; its tasks go on.
    pub fn kill_agent(&mut self, index: usize) -> Instant {
        let at = Instant::now();
        self.agents[index].kill();
        at
    }

    /// `kill -9` for one agent and every process below it, as if the host had lost power.
    pub fn kill_agent_host(&mut self, index: usize) -> Instant {
        let at = Instant::now();
        self.agents[index].kill();
        let work_dir = self.agents[index].work_dir.clone();
        sweep(&[(NODE_VARIABLE, &work_dir), ("TEPUI_WORK_DIR", &work_dir)]);
        at
    }

    /// SIGSTOP for one master.
    pub fn pause_master(&self, index: usize) {
        if let Some(pid) = self.master_pid(index) {
            pause(pid);
        }
    }

    /// SIGCONT for one master.
    pub fn resume_master(&self, index: usize) {
        if let Some(pid) = self.master_pid(index) {
            resume(pid);
        }
    }

    /// Whether a master has ended by itself since it was started; it can be started again then.
    pub fn master_has_ended(&mut self, index: usize) -> bool {
        self.masters[index].has_ended()
    }

    /// Whether an agent has ended by itself since it was started; it can be started again then.
    pub fn agent_has_ended(&mut self, index: usize) -> bool {
        self.agents[index].has_ended()
    }

    /// Index of the master that says it leads and that other living masters name, if any does now.
    pub async fn leader(&self) -> Option<usize> {
        let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
        for node in self.masters.iter().filter(|node| node.process.is_some()) {
            let Ok(answer) = self.client.get(format!("http://{}/redirect", node.address)).send().await else {
                continue;
            };
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
            let named = location.map(|location| location.trim_start_matches('/').to_owned());
            if let Some(index) = self.masters.iter().position(|node| Some(&node.address) == named.as_ref()) {
                *votes.entry(index).or_default() += 1;
            }
        }
        let (index, _) = votes.into_iter().max_by_key(|(_, votes)| *votes)?;
        self.masters[index].process.is_some().then_some(index)
    }

    /// Waits until some living master leads.
    ///
    /// # Errors
    /// When none does within the time; the message holds the tail of the masters' logs.
    pub async fn wait_for_leader(&self, within: Duration) -> anyhow::Result<usize> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(index) = self.leader().await {
                return Ok(index);
            }
            if Instant::now() > deadline {
                anyhow::bail!("no leading master after {within:?}\n{}", self.tails());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The last lines that each server logged.
    pub fn tails(&self) -> String {
        let mut text = String::new();
        for node in self.masters.iter().chain(&self.agents) {
            let log = self.log(&node.name);
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!("--- {}\n", node.name));
            for line in lines.iter().skip(lines.len().saturating_sub(15)) {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    /// Leaves everything running when this value is dropped.
    pub fn keep_running(&mut self) {
        self.keep = true;
        for node in self.masters.iter_mut().chain(&mut self.agents) {
            node.process = None;
        }
    }

    /// Kills every process of the cluster, tasks included, and waits until none is left.
    pub fn stop_all(&mut self) {
        for node in self.agents.iter_mut().chain(&mut self.masters) {
            node.kill();
        }
        sweep(&[(CLUSTER_VARIABLE, &self.options.dir)]);
        // Tasks may run with an environment of their own, but always with their agent's folder in it.
        let folders: Vec<PathBuf> = self.agents.iter().map(|node| node.work_dir.clone()).collect();
        for folder in &folders {
            sweep(&[("TEPUI_WORK_DIR", folder), (NODE_VARIABLE, folder)]);
        }
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if !self.keep {
            self.stop_all();
        }
    }
}

impl Node {
    fn new(options: &Options, kind: &str, id: usize, port: u16, secret: &Path, place: Place) -> Self {
        let name = format!("{kind}-{id}");
        let work_dir = options.dir.join(&name);
        let arguments = [
            kind,
            "--ip",
            &place.listen.to_string(),
            "--port",
            &port.to_string(),
            "--work-dir",
            &work_dir.display().to_string(),
            "--secret-file",
            &secret.display().to_string(),
        ];
        let arguments = arguments.map(str::to_owned).to_vec();
        let address = format!("{}:{port}", place.reached);
        Node { name, address, work_dir, place, peer_port: None, arguments, process: None }
    }

    fn start(&mut self, options: &Options) -> anyhow::Result<()> {
        anyhow::ensure!(self.process.is_none(), "{} is running already", self.name);
        let path = options.dir.join("logs").join(format!("{}.log", self.name));
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        writeln!(log, "--- start of {}", self.name)?;
        let environment = [
            (CLUSTER_VARIABLE, options.dir.display().to_string()),
            (NODE_VARIABLE, self.work_dir.display().to_string()),
            ("TEPUI_LOG", options.log.clone()),
            ("NO_COLOR", "1".to_owned()),
        ];
        let (executable, arguments) = self.place.command(&options.executable, &self.arguments);
        let own = self.place.environment.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let environment: Vec<(&str, String)> = environment.into_iter().chain(own).collect();
        let process = Process::start(&executable, &arguments, &environment, log)
            .with_context(|| format!("start {}", self.name))?;
        self.process = Some(process);
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        if self.process.as_mut().is_some_and(Process::has_ended) {
            self.process = None;
        }
        self.process.is_none()
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    async fn stop(&mut self, within: Duration) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.stop(within).await.with_context(|| format!("stop {}", self.name))
    }
}

/// Distinct ports of loopback that are free now.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .context("find free ports")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
