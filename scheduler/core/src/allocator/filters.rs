//! Remembered refusals: a framework that declined resources of an agent is not asked again for a while.
//!
//! ```text
//! decline ──► filter (framework, role, agent, refused resources, deadline)
//!                 │ hides every offer that is a subset of what was refused
//!                 └──► gone: deadline · revive · unsuppress · agent changed · framework or agent removed · new leader
//! ```
//!
//! Owns durations and deadlines (cluster time). Does not decide what is offered: the planner asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_proto::resources::Resources;

use super::filter_counts::Active;
use crate::ids::{AgentId, FrameworkId};

/// Duration of a filter when a framework names none, or nonsense, milliseconds.
pub const DEFAULT_REFUSE_MS: u64 = 5_000;

/// Longest filter, milliseconds: 365 days.
pub const MAX_REFUSE_MS: u64 = 365 * 24 * 3600 * 1000;

/// Several refusals of one agent can be alive at once, since a larger offer passes an older filter. Each keeps at most so
/// many; the one that ends first makes room.
const MAX_PER_AGENT_AND_CLIENT: usize = 8;

/// A framework in one of its roles.
pub(crate) type ClientKey = (FrameworkId, Arc<str>);

#[derive(Clone, Debug)]
struct Filter {
    refused: Resources,
    until_ms: u64,
}

/// All live filters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    by_agent: BTreeMap<AgentId, AgentFilters>,
    deadlines: BTreeSet<(u64, AgentId)>,
    active: Active,
}

/// The filters that hide one agent, so that the planner looks the agent up once.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentFilters {
    by_client: BTreeMap<ClientKey, Vec<Filter>>,
}

/// Turns `refuse_seconds` of a call into a duration in milliseconds; zero means "no filter".
///
/// Unset, negative or not a number: five seconds. Otherwise at least `minimum_ms` and at most 365 days.
pub fn refuse_ms(refuse_seconds: Option<f64>, minimum_ms: u64) -> u64 {
    let Some(seconds) = refuse_seconds else { return DEFAULT_REFUSE_MS.max(minimum_ms) };
    if seconds.is_nan() || seconds < 0.0 {
        return DEFAULT_REFUSE_MS.max(minimum_ms);
    }
    if seconds == 0.0 {
        return 0;
    }
    let ms = (seconds * 1000.0).min(MAX_REFUSE_MS as f64) as u64;
    ms.max(minimum_ms)
}

impl Filters {
    /// Hides subsets of `refused` on this agent until `until_ms`.
    pub(crate) fn add(&mut self, client: ClientKey, agent_id: &AgentId, refused: Resources, until_ms: u64) {
        let agent = self.by_agent.entry(agent_id.clone()).or_default();
        let role = client.1.clone();
        let filters = agent.by_client.entry(client).or_default();
        let before = filters.len();
        // What the new one covers, for longer, is not worth keeping.
        filters.retain(|old| !(old.until_ms <= until_ms && refused.contains(&old.refused)));
        if filters.len() == MAX_PER_AGENT_AND_CLIENT {
            filters.sort_by_key(|old| old.until_ms);
            filters.remove(0);
        }
        filters.push(Filter { refused, until_ms });
        self.active.changed(&role, before, filters.len());
        self.deadlines.insert((until_ms, agent_id.clone()));
    }

    pub(crate) fn of_agent(&self, agent_id: &str) -> Option<&AgentFilters> {
        self.by_agent.get(agent_id)
    }

    /// Forgets what is over and returns the agents concerned: somebody may want them now.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<AgentId> {
        let mut agents = Vec::new();
        while let Some((until_ms, _)) = self.deadlines.first() {
            if *until_ms > now_ms {
                break;
            }
            let Some((_, agent_id)) = self.deadlines.pop_first() else { break };
            if let Some(agent) = self.by_agent.get_mut(&agent_id) {
                agent.retain(&mut self.active, |filter| filter.until_ms > now_ms);
                if agent.by_client.is_empty() {
                    self.by_agent.remove(&agent_id);
                }
            }
            agents.push(agent_id);
        }
        agents
    }

    /// The next deadline, cluster milliseconds. May name one whose filter is gone already.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(until_ms, _)| *until_ms)
    }

    pub(crate) fn remove_agent(&mut self, agent_id: &str) {
        if let Some(mut agent) = self.by_agent.remove(agent_id) {
            agent.retain(&mut self.active, |_| false);
        }
        self.deadlines.retain(|(_, known)| known.as_str() != agent_id);
    }

    /// Drops the filters of a framework: those of one role, or all.
    pub(crate) fn remove_framework(&mut self, framework_id: &str, role: Option<&str>) {
        let active = &mut self.active;
        self.by_agent.retain(|_, agent| {
            agent.by_client.retain(|(framework, in_role), filters| {
                let keep = framework.as_str() != framework_id || role.is_some_and(|role| &**in_role != role);
                if !keep {
                    active.changed(in_role, filters.len(), 0);
                }
                keep
            });
            !agent.by_client.is_empty()
        });
        let by_agent = &self.by_agent;
        self.deadlines.retain(|(_, agent_id)| by_agent.contains_key(agent_id));
    }

    /// How many there are in each role, those included whose end has come and was not looked at yet.
    pub(crate) fn active(&self) -> &Active {
        &self.active
    }

    /// Panics if the counts are not those of the filters. For tests.
    pub(crate) fn check_invariants(&self) {
        let mut counted = Active::default();
        for ((_, role), filters) in self.by_agent.values().flat_map(|agent| &agent.by_client) {
            counted.changed(role, 0, filters.len());
        }
        assert_eq!(counted, self.active, "refusals by role");
    }

    /// How many live filters a framework has in a role, and when the last one ends.
    pub(crate) fn summary(&self, framework_id: &str, role: &str, now_ms: u64) -> (usize, Option<u64>) {
        let key = (FrameworkId::from(framework_id), Arc::from(role));
        let mine = self.by_agent.values().filter_map(|agent| agent.by_client.get(&key)).flatten();
        let live = mine.map(|filter| filter.until_ms).filter(|until_ms| *until_ms > now_ms);
        live.fold((0, None), |(count, last), until_ms| (count + 1, last.max(Some(until_ms))))
    }
}

impl AgentFilters {
    /// Returns until when `offered` is hidden from this framework in this role, if it is.
    pub(crate) fn hides(&self, client: &ClientKey, offered: &Resources, now_ms: u64) -> Option<u64> {
        let filters = self.by_client.get(client)?;
        filters
            .iter()
            .filter(|filter| filter.until_ms > now_ms && filter.refused.contains(offered))
            .map(|filter| filter.until_ms)
            .max()
    }

    /// Returns when the last live filter of this framework in this role ends.
    pub(crate) fn last_end(&self, client: &ClientKey, now_ms: u64) -> Option<u64> {
        let ends = self.by_client.get(client)?.iter().map(|filter| filter.until_ms);
        ends.filter(|until_ms| *until_ms > now_ms).max()
    }

    fn retain(&mut self, active: &mut Active, keep: impl Fn(&Filter) -> bool) {
        self.by_client.retain(|(_, role), filters| {
            let before = filters.len();
            filters.retain(&keep);
            active.changed(role, before, filters.len());
            !filters.is_empty()
        });
    }
}
