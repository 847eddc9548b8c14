//! What the laws are judged by: the cluster counted anew from nothing but what happened, in the plainest way.
//!
//! Shares no arithmetic with the allocator but that of `Resources`.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::resources::{Identity, Resources, ValueKind};

use crate::allocator::Allocation;
use crate::ids::{AgentId, FrameworkId};

/// Thousandths by name.
pub(super) type Amounts = BTreeMap<String, i64>;

/// Where the masters stand.
pub(super) const REGION: &str = "here";

/// The cluster's own minimum, thousandths: either suffices.
const LEAST: [(&str, i64); 2] = [("cpus", 10), ("mem", 32_000)];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Agent {
    pub(super) total: Resources,
    pub(super) rack: &'static str,
    pub(super) region: &'static str,
    pub(super) host: String,
    pub(super) active: bool,
}

/// What a framework can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    pub(super) gpus: bool,
    pub(super) region_aware: bool,
    pub(super) shared: bool,
    pub(super) revocable: bool,
    pub(super) refined: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Framework {
    pub(super) roles: BTreeSet<&'static str>,
    pub(super) suppressed: BTreeSet<&'static str>,
    pub(super) abilities: Abilities,
    /// The only rack that it wants to hear of, in all its roles.
    pub(super) rack: Option<&'static str>,
    /// Least processors of its own, thousandths, in all its roles; 0 takes anything.
    pub(super) minimum: Option<i64>,
    pub(super) active: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) framework: FrameworkId,
    pub(super) role: String,
    pub(super) agent: AgentId,
    refused: Resources,
    until_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Quota {
    pub(super) guarantees: Amounts,
    pub(super) limits: Amounts,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) agents: BTreeMap<AgentId, Agent>,
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    /// Offers and tasks alike.
    pub(super) held: Vec<Allocation>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) quotas: BTreeMap<String, Quota>,
    pub(super) hosts: Option<BTreeSet<String>>,
    /// Frameworks of a role are drawn by lot: whoever holds more may come first.
    pub(super) drawn: bool,
}

pub(super) fn top(role: &str) -> &str {
    role.split('/').next().unwrap()
}

/// Whether this counts as taken from what belongs to nobody.
fn is_common(identity: &Identity) -> bool {
    identity.kind() == ValueKind::Scalar && identity.reservations().is_empty() && !identity.is_revocable()
}

pub(super) fn common(resources: &Resources) -> Amounts {
    let mut sums = Amounts::new();
    for (identity, amount) in resources.iter().filter(|(identity, _)| is_common(identity)) {
        *sums.entry(identity.name().to_owned()).or_default() += amount.total().0;
    }
    sums
}

pub(super) fn get(amounts: &Amounts, name: &str) -> i64 {
    amounts.get(name).copied().unwrap_or(0)
}

impl Model {
    pub(super) fn held_on(&self, agent: &AgentId) -> Resources {
        self.held.iter().filter(|one| one.agent == *agent).map(|one| &one.resources).sum()
    }

    pub(super) fn free(&self, agent: &AgentId) -> Resources {
        self.agents.get(agent).map(|at| at.total.less(&self.held_on(agent))).unwrap_or_default()
    }

    pub(super) fn remove_agent(&mut self, id: &AgentId) {
        self.agents.remove(id);
        self.held.retain(|one| one.agent != *id);
        self.refusals.retain(|one| one.agent != *id);
    }

    /// What a top-level role uses of its quota: its reservations, held or not, and whatever else it holds.
    pub(super) fn consumed(&self, role: &str, name: &str) -> i64 {
        let reserved = self.agents.values().flat_map(|agent| agent.total.iter()).filter(|(identity, _)| {
            identity.kind() == ValueKind::Scalar
                && identity.name() == name
                && !identity.is_revocable()
                && identity.reservation_role().is_some_and(|own| top(own) == role)
        });
        let reserved: i64 = reserved.map(|(_, amount)| amount.total().0).sum();
        let held = self.held.iter().filter(|one| top(&one.role) == role);
        reserved + held.map(|one| get(&common(&one.resources), name)).sum::<i64>()
    }

    fn owed(&self, role: &str, name: &str) -> i64 {
        let guarantee = self.quotas.get(role).map_or(0, |quota| get(&quota.guarantees, name));
        (guarantee - self.consumed(role, name)).max(0)
    }

    fn can_be_offered(&self, agent: &Agent) -> bool {
        agent.active && self.hosts.as_ref().is_none_or(|hosts| hosts.contains(&agent.host))
    }

    /// The part of the cluster that somebody holds, by its largest kind. A shared volume is held or not, however often.
    pub(super) fn dominant_share(&self, holds: impl Fn(&Allocation) -> bool) -> f64 {
        let own: Vec<&Allocation> = self.held.iter().filter(|one| holds(one)).collect();
        let mut largest = 0.0_f64;
        for name in ["cpus", "mem", "gpus", "disk"] {
            let all: i64 = self.agents.values().map(|agent| agent.total.scalar(name).0).sum();
            let mut sum: i64 = own.iter().map(|one| one.resources.exclusive().scalar(name).0).sum();
            for (id, agent) in &self.agents {
                let volumes = agent.total.shared();
                let held = |identity: &Identity| {
                    let here = own.iter().filter(|one| one.agent == *id);
                    here.clone().any(|one| one.resources.iter().any(|(part, _)| part == identity))
                };
                sum += volumes.filter(held).scalar(name).0;
            }
            if all > 0 {
                largest = largest.max(sum as f64 / all as f64);
            }
        }
        largest
    }

    /// What every allocation must obey at the moment at which it is made.
    pub(super) fn judge(&self, one: &Allocation, now_ms: u64) {
        assert!(!one.resources.is_empty(), "nothing is allocated: {one:?}");
        let agent = self.agents.get(&one.agent).expect("the agent of an allocation");
        let free = self.free(&one.agent);
        assert!(free.contains(&one.resources), "{} of {free} that are free: twice", one.resources);
        assert!(self.can_be_offered(agent), "{} is not to be offered", one.agent);
        for (identity, _) in one.resources.iter() {
            let reserved = identity.reservation_role();
            let mine = |role: &str| one.role.as_ref() == role || one.role.starts_with(&format!("{role}/"));
            assert!(reserved.is_none_or(mine), "{reserved:?} is given to {}", one.role);
        }
        self.judge_limit(one);
        if one.driver.is_some() {
            return;
        }
        let framework = self.frameworks.get(&one.framework).expect("the framework of an allocation");
        assert!(framework.active, "{} is away", one.framework);
        assert!(framework.roles.contains(&*one.role), "{} is not in {}", one.framework, one.role);
        assert!(!framework.suppressed.contains(&*one.role), "{} suppressed {}", one.framework, one.role);
        self.judge_abilities(framework, agent, one);
        assert!(framework.rack.is_none_or(|rack| rack == agent.rack), "constraints of {}", one.framework);
        let enough = match framework.minimum {
            Some(least) => one.resources.scalar("cpus").0 >= least,
            None => LEAST.iter().any(|(name, least)| one.resources.scalar(name).0 >= *least),
        };
        assert!(enough, "{} is not worth an offer", one.resources);
        assert!(!self.refuses(one, now_ms), "{} was refused on {}", one.resources, one.agent);
        self.judge_guarantees(one);
        if !self.drawn {
            self.judge_turn(one, now_ms);
        }
    }

    fn judge_abilities(&self, framework: &Framework, agent: &Agent, one: &Allocation) {
        let can = framework.abilities;
        assert!(can.gpus || agent.total.scalar("gpus").0 == 0, "a GPU agent for {}", one.framework);
        assert!(can.region_aware || agent.region == REGION, "another region for {}", one.framework);
        for (identity, _) in one.resources.iter() {
            assert!(can.shared || !identity.is_shared(), "something shared for {}", one.framework);
            assert!(can.revocable || !identity.is_revocable(), "something revocable for {}", one.framework);
            let stacked = identity.reservations().len() > 1;
            assert!(can.refined || !stacked, "a refined reservation for {}", one.framework);
        }
        let exclusive = one.resources.iter().any(|(identity, _)| !identity.is_shared());
        assert!(exclusive, "a shared volume alone can be offered without end");
    }

    /// Nothing common takes a role beyond its limit; its own reservations may.
    fn judge_limit(&self, one: &Allocation) {
        let role = top(&one.role);
        let Some(quota) = self.quotas.get(role) else { return };
        let more = common(&one.resources);
        for (name, limit) in &quota.limits {
            let sum = self.consumed(role, name) + get(&more, name);
            assert!(get(&more, name) == 0 || sum <= *limit, "{role}: {sum} of {name} for a limit of {limit}");
        }
    }

    /// What others are owed stays free for them, as far as it is free at all.
    fn judge_guarantees(&self, one: &Allocation) {
        let role = top(&one.role);
        for (name, more) in common(&one.resources) {
            let free: i64 = self
                .agents
                .iter()
                .filter(|(_, agent)| self.can_be_offered(agent))
                .map(|(id, _)| get(&common(&self.free(id)), &name))
                .sum();
            let owed: i64 = self.quotas.keys().map(|other| self.owed(other, &name)).sum();
            let own = self.owed(role, &name);
            if owed > 0 {
                let surplus = (free - owed).max(0);
                assert!(
                    more <= surplus + own,
                    "{role} gets {more} of {name}: {free} free, {owed} owed, {own} to it"
                );
            }
        }
    }

    /// Nobody of the same role who holds less, and would take this as well, is passed over.
    fn judge_turn(&self, one: &Allocation, now_ms: u64) {
        let of =
            |id: &FrameworkId| self.dominant_share(|held| held.framework == *id && held.role == one.role);
        let mine = of(&one.framework);
        let me = &self.frameworks[&one.framework];
        for (id, other) in &self.frameworks {
            let alike = other.active
                && other.roles.contains(&*one.role)
                && !other.suppressed.contains(&*one.role)
                && other.abilities == me.abilities
                && other.rack == me.rack
                && other.minimum == me.minimum;
            let asked = Allocation { framework: id.clone(), ..one.clone() };
            if alike && *id != one.framework && !self.refuses(&asked, now_ms) {
                assert!(mine <= of(id) + 1e-9, "{} is served before {id}, who holds less", one.framework);
            }
        }
    }

    fn refuses(&self, one: &Allocation, now_ms: u64) -> bool {
        let mine = self.refusals.iter().filter(|refusal| refusal.is_about(one));
        mine.clone().count() <= 8
            && mine
                .clone()
                .any(|refusal| refusal.until_ms > now_ms && refusal.refused.contains(&one.resources))
    }

    pub(super) fn refuse(&mut self, one: &Allocation, until_ms: u64) {
        self.refusals.push(Refusal {
            framework: one.framework.clone(),
            role: one.role.to_string(),
            agent: one.agent.clone(),
            refused: one.resources.clone(),
            until_ms,
        });
    }

    pub(super) fn forget_refusals(&mut self, framework: &FrameworkId, role: Option<&str>) {
        let about = |one: &Refusal| one.framework == *framework && role.is_none_or(|role| one.role == role);
        self.refusals.retain(|one| !about(one));
    }
}

impl Refusal {
    fn is_about(&self, one: &Allocation) -> bool {
        self.framework == one.framework && self.role == *one.role && self.agent == one.agent
    }
}
