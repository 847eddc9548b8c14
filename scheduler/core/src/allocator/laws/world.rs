//! The allocator and the model beside it: both are told the same, and whatever is planned is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_proto::resources::Resources;
use tepui_proto::v1;
use tepui_proto::v1::domain_info::{FaultDomain, fault_domain};
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::scheduler::attribute_constraint::selector::Selector as Which;
use tepui_proto::v1::scheduler::attribute_constraint::{Predicate, Selector, predicate};
use tepui_proto::v1::scheduler::offer_constraints::{RoleConstraints, role_constraints::Group};
use tepui_proto::v1::scheduler::{AttributeConstraint, OfferConstraints};

use super::events::{Event, Extra, Kind, Machine, RACKS, ROLES, TOPS};
use super::model::{Abilities, Agent, Framework, Model, Quota, REGION};
use crate::allocator::explain::Reason;
use crate::allocator::scenarios::{framework, id};
use crate::allocator::{Allocation, Allocator, Demand, Options, Sorter};
use crate::ids::{AgentId, FrameworkId};
use crate::testing::{reserved, resources, shared, volume};

pub(super) struct World {
    pub(super) allocator: Allocator,
    pub(super) model: Model,
    now_ms: u64,
    demands: Vec<Demand>,
    /// No plan knows which roles earlier ones put aside.
    pub(super) afresh: bool,
}

fn agent_id(number: u8) -> AgentId {
    AgentId::from(format!("a{number}"))
}

fn framework_id(number: u8) -> FrameworkId {
    id(&format!("f{number}"))
}

fn on_rack(rack: bool) -> &'static str {
    RACKS[usize::from(rack)]
}

/// What a machine has, as its agent would tell.
fn info(machine: Machine, host: &str) -> v1::AgentInfo {
    let text = format!("cpus:{};mem:{};ports:[1-9]", machine.cpus, u32::from(machine.mem) * 32);
    let mut all = resources(&text);
    if machine.has(Extra::Reserved) {
        all.extend(resources("cpus(a):2;mem(b):64"));
    }
    if machine.has(Extra::Refined) {
        all.extend(reserved("cpus:1", &["a", "a/b"]));
    }
    if machine.has(Extra::SharedVolume) {
        all.push(shared(volume(10, "a", "v")));
    }
    if machine.has(Extra::Revocable) {
        let mut lent = resources("cpus:3").remove(0);
        lent.revocable = Some(v1::resource::RevocableInfo {});
        all.push(lent);
    }
    if machine.has(Extra::Gpus) {
        all.extend(resources("gpus:2"));
    }
    let region = if machine.has(Extra::Remote) { "there" } else { REGION };
    let region = Some(fault_domain::RegionInfo { name: Some(region.to_owned()) });
    let zone = Some(fault_domain::ZoneInfo { name: Some("z".to_owned()) });
    v1::AgentInfo {
        hostname: Some(host.to_owned()),
        resources: all,
        attributes: vec![v1::Attribute {
            name: Some("rack".to_owned()),
            r#type: Some(v1::value::Type::Text as i32),
            text: Some(v1::value::Text { value: Some(on_rack(machine.rack).to_owned()) }),
            ..Default::default()
        }],
        domain: Some(v1::DomainInfo { fault_domain: Some(FaultDomain { region, zone }) }),
        ..Default::default()
    }
}

/// Only agents of this rack, in all roles.
fn only(rack: &str) -> OfferConstraints {
    let constraint = AttributeConstraint {
        selector: Some(Selector { selector: Some(Which::AttributeName("rack".to_owned())) }),
        predicate: Some(Predicate {
            predicate: Some(predicate::Predicate::TextEquals(predicate::TextEquals {
                value: Some(rack.to_owned()),
            })),
        }),
    };
    let groups = vec![Group { attribute_constraints: vec![constraint] }];
    let of_role = |role: &&str| ((*role).to_owned(), RoleConstraints { groups: groups.clone() });
    OfferConstraints { role_constraints: ROLES.iter().map(of_role).collect() }
}

impl World {
    pub(super) fn new([role_sorter, framework_sorter]: [Sorter; 2]) -> Self {
        let region = Some(REGION.to_owned());
        let options = Options { region, role_sorter, framework_sorter, ..Options::default() };
        let allocator = Allocator::with(7, options);
        let model = Model { drawn: framework_sorter == Sorter::Random, ..Model::default() };
        Self { allocator, model, now_ms: 0, demands: Vec::new(), afresh: false }
    }

    /// Lets something happen, planning with slices of `budget`; returns what was allocated.
    pub(super) fn take(&mut self, event: &Event, budget: usize) -> Vec<Allocation> {
        self.pass(700);
        match event {
            Event::Agent { agent, machine, anew } => self.set_agent(*agent, *machine, *anew),
            Event::Lose { agent, for_good } => {
                let agent = agent_id(*agent);
                if *for_good {
                    self.allocator.remove_agent(&agent);
                    self.model.remove_agent(&agent);
                } else if let Some(at) = self.model.agents.get_mut(&agent) {
                    self.allocator.deactivate_agent(&agent);
                    at.active = false;
                }
            }
            Event::Return { agent } => self.return_agent(&agent_id(*agent)),
            Event::Convert { agent, role } => self.convert(&agent_id(*agent), ROLES[*role]),
            Event::Task { agent, framework, role } => {
                let one = Allocation {
                    agent: agent_id(*agent),
                    framework: framework_id(*framework),
                    role: Arc::from(ROLES[*role]),
                    resources: Resources::parse("cpus:1").unwrap(),
                    driver: None,
                };
                if self.model.free(&one.agent).contains(&one.resources) {
                    self.charge(one);
                }
            }
            Event::Framework { framework, kind } => self.set_framework(&framework_id(*framework), kind),
            Event::Remove { framework } => {
                let framework = framework_id(*framework);
                self.allocator.remove_framework(&framework);
                self.model.frameworks.remove(&framework);
                self.model.forget_refusals(&framework, None);
            }
            Event::Revive { framework } => {
                let framework = framework_id(*framework);
                self.allocator.revive(&framework, &ROLES.map(str::to_owned));
                self.model.forget_refusals(&framework, None);
                if let Some(known) = self.model.frameworks.get_mut(&framework) {
                    known.suppressed.clear();
                }
            }
            Event::Suppress { framework, role } => {
                let framework = framework_id(*framework);
                self.allocator.suppress(&framework, &[ROLES[*role].to_owned()]);
                if let Some(known) = self.model.frameworks.get_mut(&framework)
                    && known.roles.contains(ROLES[*role])
                {
                    known.suppressed.insert(ROLES[*role]);
                }
            }
            Event::Weight { role, weight } => {
                self.allocator.set_weight(ROLES[*role], f64::from(*weight)).unwrap();
            }
            Event::Quota { top, guarantee, limit, mem } => {
                self.set_quota(TOPS[*top], *guarantee, *limit, *mem);
            }
            Event::Hosts { bits } => {
                let named = (0..4).filter(|host| bits >> host & 1 == 1).map(|host| format!("h{host}"));
                let hosts: Option<BTreeSet<String>> = (*bits < 16).then(|| named.collect());
                self.allocator.set_whitelist(hosts.clone());
                self.model.hosts = hosts;
            }
            Event::Demand { cpus } => {
                self.demands = vec![Demand {
                    driver: "d".into(),
                    framework: id("drivers"),
                    role: "a/b".into(),
                    resources: Resources::parse(&format!("cpus:{cpus}")).unwrap(),
                    elsewhere: Some(agent_id(0)),
                }];
                self.allocator.set_demands(self.demands.clone());
            }
            Event::Plan => return self.plan(budget),
            Event::GiveBack { nth, refuse } => self.give_back(usize::from(*nth), *refuse),
            Event::Pass { ms } => self.pass(u64::from(*ms)),
        }
        self.allocator.check_invariants();
        Vec::new()
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.allocator.expire(self.now_ms);
    }

    fn set_agent(&mut self, number: u8, machine: Machine, anew: bool) {
        let agent = agent_id(number);
        if anew {
            self.allocator.remove_agent(&agent);
            self.model.remove_agent(&agent);
        }
        let host = format!("h{}", number % 4);
        let info = info(machine, &host);
        self.allocator.set_agent(&agent, &info);
        let new = Agent {
            total: Resources::from_proto(&info.resources).unwrap(),
            rack: on_rack(machine.rack),
            region: if machine.has(Extra::Remote) { "there" } else { REGION },
            host,
            active: true,
        };
        let old = self.model.agents.insert(agent.clone(), new.clone());
        if old.is_some_and(|old| old.total != new.total || old.rack != new.rack) {
            self.model.refusals.retain(|one| one.agent != agent);
        }
    }

    /// The same agent as before, with what operators have made of it.
    fn return_agent(&mut self, agent: &AgentId) {
        let Some(at) = self.model.agents.get_mut(agent) else { return };
        at.active = true;
        let region = Some(fault_domain::RegionInfo { name: Some(at.region.to_owned()) });
        let rack = at.rack == RACKS[1];
        let machine = Machine { cpus: 1, mem: 1, rack, extras: 0 };
        let mut info = info(machine, &at.host);
        info.resources = at.total.to_proto();
        info.domain = Some(v1::DomainInfo { fault_domain: Some(FaultDomain { region, zone: None }) });
        self.allocator.set_agent(agent, &info);
    }

    fn convert(&mut self, agent: &AgentId, role: &str) {
        if role == "*" {
            return;
        }
        let (common, own) = (Resources::parse("cpus:1").unwrap(), reserved("cpus:1", &[role]));
        let own = Resources::from_proto(&own).unwrap();
        let free = self.model.free(agent);
        let Some(at) = self.model.agents.get_mut(agent) else { return };
        if free.contains(&own) {
            at.total = at.total.saturating_sub(&own) + &common;
        } else if free.contains(&common) {
            at.total = at.total.saturating_sub(&common) + &own;
        }
        self.allocator.convert_agent(agent, &at.total);
    }

    fn set_framework(&mut self, framework_id: &FrameworkId, kind: &Kind) {
        let roles: BTreeSet<&'static str> = kind.roles.iter().map(|role| ROLES[*role]).collect();
        let bit = |nth: u8| kind.abilities >> nth & 1 == 1;
        let abilities = Abilities {
            gpus: bit(0),
            region_aware: bit(1),
            shared: bit(2),
            revocable: bit(3),
            refined: bit(4),
        };
        let capabilities: Vec<Capability> = [
            (abilities.gpus, Capability::GpuResources),
            (abilities.region_aware, Capability::RegionAware),
            (abilities.shared, Capability::SharedResources),
            (abilities.revocable, Capability::RevocableResources),
            (abilities.refined, Capability::ReservationRefinement),
        ]
        .into_iter()
        .filter(|(can, _)| *can)
        .map(|(_, capability)| capability)
        .collect();
        let named: Vec<&str> = roles.iter().copied().collect();
        let mut info = framework(&named, &capabilities);
        if let Some(minimum) = kind.minimum {
            let cpus = v1::value::Scalar { value: Some(f64::from(minimum) / 1000.0) };
            let least = v1::offer_filters::ResourceQuantities {
                quantities: [("cpus".to_owned(), cpus)].into_iter().collect(),
            };
            let quantities = if minimum == 0 { vec![] } else { vec![least] };
            let minimums = v1::offer_filters::MinAllocatableResources { quantities };
            for role in &roles {
                let filters = v1::OfferFilters { min_allocatable_resources: Some(minimums.clone()) };
                info.offer_filters.insert((*role).to_owned(), filters);
            }
        }
        let suppressed: BTreeSet<&'static str> =
            roles.iter().copied().take(usize::from(kind.suppressed)).collect();
        let hidden: Vec<String> = suppressed.iter().map(|role| (*role).to_owned()).collect();
        let rack = kind.rack.map(on_rack);
        self.allocator.set_framework(framework_id, &info, &hidden, kind.active);
        self.allocator.set_constraints(framework_id, rack.map(only).as_ref());
        let minimum = kind.minimum.map(i64::from);
        let new = Framework { roles, suppressed, abilities, rack, minimum, active: kind.active };
        let Some(old) = self.model.frameworks.insert(framework_id.clone(), new.clone()) else { return };
        for role in old.roles {
            let unsuppressed = old.suppressed.contains(role) && !new.suppressed.contains(role);
            if unsuppressed || !new.roles.contains(role) {
                self.model.forget_refusals(framework_id, Some(role));
            }
        }
    }

    fn set_quota(&mut self, role: &str, guarantee: u8, limit: Option<u8>, mem: bool) {
        let name = if mem { "mem" } else { "cpus" };
        let unit = if mem { 64_000 } else { 1_000 };
        let amount = |units: u8| BTreeMap::from([(name.to_owned(), u64::from(units) * unit)]);
        let guarantees = if guarantee > 0 { amount(guarantee) } else { BTreeMap::new() };
        let limits = limit.map(|more| amount(guarantee + more)).unwrap_or_default();
        self.allocator.set_quota(role, &guarantees, &limits).unwrap();
        let signed = |amounts: BTreeMap<String, u64>| {
            amounts.into_iter().map(|(name, amount)| (name, i64::try_from(amount).unwrap())).collect()
        };
        let quota = Quota { guarantees: signed(guarantees), limits: signed(limits) };
        self.model.quotas.insert(role.to_owned(), quota);
    }

    fn charge(&mut self, one: Allocation) {
        self.allocator.charge(&one.framework, &one.role, &one.agent, &one.resources);
        self.model.held.push(one);
    }

    fn give_back(&mut self, nth: usize, refuse: bool) {
        if self.model.held.is_empty() {
            return;
        }
        let one = self.model.held.remove(nth % self.model.held.len());
        self.allocator.recover(&one.framework, &one.role, &one.agent, &one.resources);
        if refuse {
            let until_ms = self.now_ms + 5_000;
            self.allocator.refuse(&one.framework, &one.role, &one.agent, &one.resources, until_ms);
            if self.model.frameworks.contains_key(&one.framework) {
                self.model.refuse(&one, until_ms);
            }
        }
    }

    /// Plans until nothing is left to be planned, now or when quotas let all agents be looked at again.
    fn plan(&mut self, budget: usize) -> Vec<Allocation> {
        let mut all = self.plan_dirty(budget);
        let mut looks = 0;
        while self.allocator.room_grew() {
            looks += 1;
            assert!(looks < 50, "agents are to be looked at again, and again");
            self.pass(1_000);
            all.extend(self.plan_dirty(budget));
        }
        self.judge_silence();
        all
    }

    fn plan_dirty(&mut self, budget: usize) -> Vec<Allocation> {
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        loop {
            if self.afresh {
                self.allocator.ledger.wake_all();
            }
            let plan = self.allocator.plan(self.now_ms, budget);
            let mut met = false;
            for one in plan.allocations {
                self.model.judge(&one, self.now_ms);
                met |= one.driver.is_some();
                let key = (one.agent.clone(), one.framework.clone(), one.role.clone());
                assert!(one.driver.is_some() || seen.insert(key), "an agent in two pieces: {one:?}");
                self.model.held.push(one.clone());
                all.push(one);
            }
            // What the plan charged is what it says.
            self.allocator.check_invariants();
            self.compare();
            if met {
                self.demands.clear();
                self.allocator.set_demands(vec![]);
            }
            if !plan.more {
                return all;
            }
        }
    }

    /// After a plan nobody waits who could have something.
    fn judge_silence(&self) {
        for (framework, known) in &self.model.frameworks {
            for role in &known.roles {
                let explanation =
                    self.allocator.explain(framework, role, self.now_ms, |_| Reason::AgentNotConnected);
                let waiting = explanation.agents.get(&Reason::Waiting);
                assert!(waiting.is_none(), "{framework} waits in {role} for {waiting:?}");
            }
        }
        for demand in &self.demands {
            for agent in self.model.agents.keys() {
                let none = Resources::new();
                assert!(!self.allocator.would_meet(demand, agent, &none), "{demand:?} waits for {agent}");
            }
        }
    }

    /// What the allocator believes of every agent is what the model counts.
    pub(super) fn compare(&self) {
        for agent in self.model.agents.keys() {
            assert_eq!(self.allocator.free(agent), self.model.free(agent), "free on {agent}");
        }
        for role in TOPS {
            let told = self.allocator.consumed(role);
            for name in ["cpus", "mem"] {
                let own = u64::try_from(self.model.consumed(role, name)).unwrap();
                assert_eq!(told.get(name).copied().unwrap_or(0), own, "{name} of {role}");
            }
        }
    }
}
