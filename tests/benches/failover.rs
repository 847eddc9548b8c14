//! P4 and P6: from the end of a leader to the first write that a successor acknowledges. The write is a compare-and-set answered OK; a 202
//! would acknowledge nothing.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use tepui::cluster::{LocalCluster, Options};
use tepui_proto::media_type::MediaType;
use tepui_proto::tepui::operator;
use tepui_proto::v1;
use tepui_proto::wire;
use tepui_sdk::operator::Client;

use super::{Figure, Settings};
use crate::harness::{PATIENCE, eventually, lock, task};

const NAME: &str = "bench";

/// A cluster with a driver whose register is written.
struct Bench {
    cluster: LocalCluster,
    operator: Client,
    http: reqwest::Client,
    token: String,
    generation: u64,
    version: u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tepui-bench-").tempdir()?;
        let mut options = Options::new(&settings.executable, folder.path().join("cluster"));
        options.agents = 1;
        options.master_args = settings.master_args();
        options.log = "warn".to_owned();
        let cluster = LocalCluster::start(options)?;
        cluster.wait_for_leader(PATIENCE).await?;
        let operator = Client::new(cluster.masters())?;
        let file = folder.path().join("env");
        let command = format!("env > {0}.part && mv {0}.part {0}; exec sleep 100000", file.display());
        operator
            .submit_driver(operator::DriverSpec {
                name: Some(NAME.to_owned()),
                command: Some(v1::CommandInfo { value: Some(command), ..v1::CommandInfo::default() }),
                resources: task("bench", "").resources,
                // Nobody renews: the driver only has to exist.
                lease_ms: Some(86_400_000),
                ..operator::DriverSpec::default()
            })
            .await?;
        let told = eventually("driver", || async { std::fs::read_to_string(&file).ok() }).await?;
        let value = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
            line.map(str::to_owned).with_context(|| format!("the driver was not told {name}"))
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(200))
            .timeout(Duration::from_millis(1_000))
            .build()?;
        Ok(Bench {
            token: value("TEPUI_DRIVER_TOKEN")?,
            generation: value("TEPUI_DRIVER_GENERATION")?.parse()?,
            version: 0,
            cluster,
            operator,
            http,
            _folder: folder,
        })
    }

    /// Tries one write at one master.
    async fn write_at(&self, master: &str) -> bool {
        let call = operator::Call {
            r#type: Some(operator::call::Type::StateCas as i32),
            state_cas: Some(operator::call::StateCas {
                scope: Some(NAME.to_owned()),
                key: Some("position".to_owned()),
                expected_version: Some(self.version),
                generation: Some(self.generation),
                value: Some(Bytes::from(vec![b'x'; 200])),
            }),
            ..operator::Call::default()
        };
        let answer = self
            .http
            .post(format!("http://{master}/tepui/v1/operator"))
            .header("content-type", MediaType::Protobuf.as_str())
            .header("accept", MediaType::Protobuf.as_str())
            .header("tepui-driver-token", &self.token)
            .body(wire::encode(MediaType::Protobuf, &call))
            .send()
            .await;
        let Ok(answer) = answer else { return false };
        if answer.status() != 200 {
            return false;
        }
        let Ok(body) = answer.bytes().await else { return false };
        let Ok(answer) = wire::decode::<operator::Response>(MediaType::Protobuf, &body) else { return false };
        answer.state_cas.is_some_and(|cas| cas.result() == operator::response::state_cas::Result::Ok)
    }

    /// Writes until some master in `masters` says OK; the write is the same each time, so repeating it is safe.
    async fn write(&mut self, masters: &[String]) -> anyhow::Result<()> {
        let began = Instant::now();
        for master in masters.iter().cycle() {
            if self.write_at(master).await {
                self.version += 1;
                return Ok(());
            }
            anyhow::ensure!(
                began.elapsed() < PATIENCE,
                "no write after {PATIENCE:?}\n{}",
                self.cluster.tails()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Waits until every master follows the leader closely, so that each round starts from health.
    async fn settle(&mut self) -> anyhow::Result<usize> {
        let masters = self.cluster.masters();
        self.write(&masters).await?;
        eventually("three masters in step", || async {
            let leader = self.cluster.leader().await?;
            let status = self.operator.get_raft(&masters[leader]).await.ok()?;
            let last = status.last_log_index?;
            let close =
                |member: &operator::RaftMember| member.matched_index.is_some_and(|at| at + 50 >= last);
            (status.members.iter().filter(|member| close(member)).count() == masters.len()).then_some(leader)
        })
        .await
    }

    fn others(&self, leader: usize) -> Vec<String> {
        let mut masters = self.cluster.masters();
        masters.remove(leader);
        masters
    }
}

/// P4: the leader is killed.
pub(super) async fn kill(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let mut bench = Bench::start(settings).await?;
    let mut samples = Vec::new();
    for _round in 0..if settings.short { 3 } else { 100 } {
        let leader = bench.settle().await?;
        let others = bench.others(leader);
        let at = bench.cluster.kill_master(leader);
        bench.write(&others).await?;
        samples.push(at.elapsed().as_secs_f64() * 1_000.0);
        bench.cluster.start_master(leader)?;
    }
    let what = format!(
        "leader kill -9 to first acknowledged write at the new leader, three masters, profile {}; {}",
        settings.profile_name(),
        distribution(&samples)
    );
    Ok(vec![Figure::of("P4", &what, "ms", "p50 <= 350, p99 <= 1000", samples)])
}

/// P6: the leader is told to stop.
pub(super) async fn hand_over(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let mut bench = Bench::start(settings).await?;
    let mut samples = Vec::new();
    for _round in 0..if settings.short { 3 } else { 50 } {
        let leader = bench.settle().await?;
        let pid = bench.cluster.master_pid(leader).context("the leader runs")?;
        let masters = bench.cluster.masters();
        // Writes follow each other closely; the gap is the longest time between two that were acknowledged.
        let stop = Duration::from_millis(30);
        let began = Instant::now();
        let (mut told, mut last, mut gap) = (false, Instant::now(), Duration::ZERO);
        let mut at = leader;
        while began.elapsed() < Duration::from_millis(1_500) {
            if !told && began.elapsed() > stop {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)?;
                told = true;
            }
            if bench.write_at(&masters[at]).await {
                bench.version += 1;
                if told {
                    gap = gap.max(last.elapsed());
                }
                last = Instant::now();
            } else {
                at = (at + 1) % masters.len();
            }
        }
        samples.push(gap.as_secs_f64() * 1_000.0);
        bench.cluster.stop_master(leader, PATIENCE).await?;
        bench.cluster.start_master(leader)?;
    }
    let what = format!(
        "planned hand-over (SIGTERM): longest time without an acknowledged write, three masters, profile {}; {}",
        settings.profile_name(),
        distribution(&samples)
    );
    Ok(vec![Figure::of("P6", &what, "ms", "<= 50", samples)])
}

/// How samples lie, in words: how many fell into each step.
fn distribution(samples: &[f64]) -> String {
    const EDGES: [f64; 9] = [10.0, 20.0, 50.0, 100.0, 200.0, 350.0, 500.0, 1_000.0, f64::INFINITY];
    let mut below = 0;
    let steps = EDGES.iter().map(|edge| {
        let until = samples.iter().filter(|sample| **sample <= *edge).count();
        let count = until - std::mem::replace(&mut below, until);
        (edge, count)
    });
    let texts = steps.filter(|(_, count)| *count > 0).map(|(edge, count)| match edge.is_finite() {
        true => format!("{count} up to {edge} ms"),
        false => format!("{count} above a second"),
    });
    texts.collect::<Vec<_>>().join(", ")
}
