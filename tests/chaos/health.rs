//! When a campaign's cluster is whole: everybody in step, every agent there, the driver at work, and all masters of one mind.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use tepui_proto::tepui::operator::RaftMember;

use super::run::Campaign;
use super::writer::open;
use crate::harness::PATIENCE;

/// How far a follower may be behind and still count as in step.
const IN_STEP: u64 = 200;
/// Within this all masters must hold the same once nothing changes any more. A debug build on a busy machine gets more.
const SAME_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 10 });

impl Campaign {
    /// Waits until all masters are in step, all agents are there and the newest launch of the driver writes: each cycle begins in health.
    ///
    /// # Errors
    /// When something is missing for too long.
    pub(super) async fn healthy(&mut self) -> anyhow::Result<()> {
        let since = Instant::now();
        loop {
            self.look()?;
            let writes = open(&self.book).first_since(since, self.drivers.newest()).is_some();
            let missing = match (writes, self.missing().await) {
                (true, None) => return Ok(()),
                (_, Some(missing)) => missing,
                (false, None) => "a write of the newest launch".to_owned(),
            };
            anyhow::ensure!(
                since.elapsed() < PATIENCE,
                "not healthy after {PATIENCE:?}: {missing} is missing"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Notices new launches of the driver.
    ///
    /// # Errors
    /// When their folder cannot be read.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        self.drivers.look()?;
        if let Some(launch) = self.drivers.launches.last() {
            self.clients.shared.launched(launch);
        }
        Ok(())
    }

    /// What the cluster lacks, if anything.
    pub(super) async fn missing(&self) -> Option<String> {
        let masters = self.cluster.masters();
        let Some(leader) = self.cluster.leader().await else { return Some("a leader".to_owned()) };
        let Ok(raft) = self.operator.get_raft(&masters[leader]).await else {
            return Some("the leader's word on replication".to_owned());
        };
        let last = raft.last_log_index();
        let in_step = |member: &&RaftMember| member.matched_index.is_some_and(|at| at + IN_STEP >= last);
        if raft.members.iter().filter(in_step).count() < masters.len() {
            return Some("a master in step".to_owned());
        }
        let agents = match self.operator.get_agents().await {
            Ok(answer) => answer.agents.iter().filter(|agent| agent.active()).count(),
            Err(_changing) => 0,
        };
        (agents < self.cluster.agents().len()).then(|| "an agent".to_owned())
    }

    /// Waits until every master, asked for what it holds itself, tells the same. Returns the contradiction if they do not in time.
    pub(super) async fn differing(&self) -> Option<String> {
        let until = Instant::now() + SAME_WITHIN;
        loop {
            let mut pictures = Vec::new();
            for master in self.cluster.masters() {
                pictures.push(self.picture(&master).await);
            }
            let first = &pictures[0];
            if first.is_some() && pictures.iter().all(|picture| picture == first) {
                return None;
            }
            if Instant::now() > until {
                let silent = pictures.iter().filter(|picture| picture.is_none()).count();
                let all: Vec<BTreeSet<String>> = pictures.into_iter().flatten().collect();
                let common =
                    all.iter().skip(1).fold(all.first().cloned().unwrap_or_default(), |common, one| {
                        common.intersection(one).cloned().collect()
                    });
                let own: Vec<_> =
                    all.iter().map(|one| one.difference(&common).take(5).collect::<Vec<_>>()).collect();
                return Some(format!(
                    "masters differ {SAME_WITHIN:?} after the last change ({silent} silent); each alone has {own:?}"
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a master itself holds: agents, frameworks and tasks, each in a line.
    async fn picture(&self, master: &str) -> Option<BTreeSet<String>> {
        let url = format!("http://{master}/state?tepui_read=local");
        let answer = self.http.get(url).send().await.ok().filter(|answer| answer.status() == 200)?;
        let state: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        let mut lines = BTreeSet::new();
        let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
        for agent in list(&state, "slaves") {
            lines.insert(format!("agent {} uses {}", agent["id"], agent["used_resources"]));
        }
        for framework in list(&state, "frameworks") {
            lines.insert(format!("framework {}", framework["id"]));
            for name in ["tasks", "completed_tasks"] {
                for task in list(&framework, name) {
                    lines.insert(format!("{name}: {} {} on {}", task["id"], task["state"], task["slave_id"]));
                }
            }
        }
        Some(lines)
    }
}
