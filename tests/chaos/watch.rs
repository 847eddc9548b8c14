//! Looks at agents and masters all the time: no agent has more in use than it has, neither by its own word nor by the masters', and no
//! agent forgets an epoch that it has seen. Asks; changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tepui_proto::v1;
use tepui_sdk::operator::Client;
use tokio::task::JoinSet;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// Amounts are compared in thousandths, as they are counted.
const LEAST: f64 = 0.000_5;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    epochs: BTreeMap<String, u64>,
    pub(super) looks: u64,
    pub(super) violations: Vec<String>,
}

impl Seen {
    /// An agent says which epoch it knows.
    fn epoch(&mut self, agent: &str, epoch: u64) {
        let newest = self.epochs.entry(agent.to_owned()).or_default();
        if epoch < *newest {
            self.violations.push(format!("{agent} knew epoch {newest} and now knows only {epoch}"));
        }
        *newest = epoch;
        self.looks += 1;
    }

    /// Somebody says what an agent has and what of it is in use.
    fn amounts(&mut self, who: &str, total: &BTreeMap<String, f64>, used: &BTreeMap<String, f64>) {
        for (name, used) in used {
            let total = total.get(name).copied().unwrap_or_default();
            if *used > total + LEAST {
                self.violations.push(format!("{who}: {used} of {total} {name} are in use"));
            }
        }
        self.looks += 1;
    }
}

/// Watches until it is dropped.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    _work: JoinSet<()>,
}

impl Watch {
    /// Begins.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(super) fn start(masters: Vec<String>, agents: Vec<String>) -> anyhow::Result<Self> {
        let seen = Arc::<Mutex<Seen>>::default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).build()?;
        let operator = Client::new(masters)?.patience(Duration::from_secs(2));
        let mut work = JoinSet::new();
        let book = seen.clone();
        work.spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                for agent in &agents {
                    look_at(&http, agent, &book).await;
                }
                if let Ok(answer) = operator.get_agents().await {
                    let mut seen = book.lock().unwrap_or_else(PoisonError::into_inner);
                    for agent in &answer.agents {
                        let id = agent
                            .agent_info
                            .as_ref()
                            .and_then(|info| info.id.as_ref())
                            .map_or("", |id| id.value());
                        let who = format!("the leading master about agent {id}");
                        let (total, used) = (sums(&agent.total_resources), sums(&agent.allocated_resources));
                        seen.amounts(&who, &total, &used);
                    }
                }
            }
        });
        Ok(Watch { seen, _work: work })
    }

    /// Contradictions since the last call, and how many looks there were since the beginning.
    pub(super) fn take(&self) -> (Vec<String>, u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut seen.violations), seen.looks)
    }
}

/// Asks one agent, which need not answer.
async fn look_at(http: &reqwest::Client, agent: &str, book: &Mutex<Seen>) {
    let get =
        async |path: &str| http.get(format!("http://{agent}{path}")).send().await.ok()?.text().await.ok();
    let (Some(metrics), Some(state)) = (get("/metrics").await, get("/metrics/snapshot").await) else {
        return;
    };
    let epoch = metrics.lines().find_map(|line| line.strip_prefix("tepui_agent_epoch ")?.parse::<f64>().ok());
    let numbers: Value = serde_json::from_str(&state).unwrap_or_default();
    let (mut total, mut used) = (BTreeMap::new(), BTreeMap::new());
    for name in ["cpus", "mem", "disk"] {
        let number = |kind: &str| numbers[format!("slave/{name}_{kind}")].as_f64();
        if let (Some(all), Some(part)) = (number("total"), number("used")) {
            total.insert(name.to_owned(), all);
            used.insert(name.to_owned(), part);
        }
    }
    let mut seen = book.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(epoch) = epoch {
        // Epochs are far below 2^53.
        seen.epoch(agent, epoch as u64);
    }
    seen.amounts(&format!("agent at {agent}"), &total, &used);
}

/// Scalars by name.
fn sums(resources: &[v1::Resource]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for resource in resources {
        if let Some(scalar) = &resource.scalar {
            *sums.entry(resource.name().to_owned()).or_insert(0.0) += scalar.value();
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(cpus: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([("cpus".to_owned(), cpus)])
    }

    #[test]
    fn too_much_in_use_and_a_forgotten_epoch_are_found() {
        let mut seen = Seen::default();
        seen.amounts("a", &amounts(2.0), &amounts(2.0));
        seen.epoch("a", 3);
        seen.epoch("b", 1);
        seen.epoch("a", 3);
        assert_eq!((seen.violations.len(), seen.looks), (0, 4));
        seen.amounts("a", &amounts(2.0), &amounts(2.001));
        seen.amounts("a", &BTreeMap::new(), &amounts(0.1));
        seen.epoch("a", 2);
        assert_eq!(seen.violations.len(), 3, "{:?}", seen.violations);
    }
}
