//! Frameworks as the allocator knows them: roles, what is suppressed, what they can take, what they refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_proto::resources::{Millis, Resources};
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::scheduler::OfferConstraints;
use tepui_proto::v1::{self, FrameworkInfo};

use super::constraints::{self, Compiled};
use super::ledger::{Place, Traits};
use super::state::Allocator;
use super::supply::Minimum;
use crate::ids::{AgentId, FrameworkId};

/// A framework that is subscribed, or was until a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Framework {
    /// Whether it is connected: others are not served.
    pub(super) active: bool,
    pub(super) roles: BTreeSet<Arc<str>>,
    pub(super) suppressed: BTreeSet<Arc<str>>,
    gpus: bool,
    revocable: bool,
    shared: bool,
    refined: bool,
    region_aware: bool,
    info: FrameworkInfo,
    /// As they were given, and by role.
    asked: Option<OfferConstraints>,
    constraints: Compiled,
}

impl Framework {
    fn new(info: &FrameworkInfo, suppressed: &[String], active: bool) -> Framework {
        let can = |capability: Capability| {
            info.capabilities.iter().any(|one| one.r#type == Some(capability as i32))
        };
        let roles: BTreeSet<Arc<str>> = if can(Capability::MultiRole) {
            info.roles.iter().map(|role| Arc::from(role.as_str())).collect()
        } else {
            BTreeSet::from([Arc::from(info.role())])
        };
        Framework {
            active,
            roles,
            suppressed: suppressed.iter().map(|role| Arc::from(role.as_str())).collect(),
            gpus: can(Capability::GpuResources),
            revocable: can(Capability::RevocableResources),
            shared: can(Capability::SharedResources),
            refined: can(Capability::ReservationRefinement),
            region_aware: can(Capability::RegionAware),
            info: info.clone(),
            asked: None,
            constraints: Compiled::new(),
        }
    }

    /// Whether it stands in the queue of this role.
    pub(super) fn wants(&self, role: &str) -> bool {
        self.active && self.roles.contains(role) && !self.suppressed.contains(role)
    }

    /// What the framework said about this role itself.
    fn own_minimum(&self, role: &str) -> Option<Minimum> {
        let filter = self.info.offer_filters.get(role)?;
        let minimums = filter.min_allocatable_resources.as_ref()?;
        let amounts = |one: &v1::offer_filters::ResourceQuantities| {
            let amount = |(name, scalar): (&String, &v1::value::Scalar)| {
                (Arc::from(name.as_str()), Millis::from_f64(scalar.value()).unwrap_or(Millis(i64::MAX)))
            };
            one.quantities.iter().map(amount).collect()
        };
        Some(Minimum::AnyOf(minimums.quantities.iter().map(amounts).collect()))
    }

    fn traits(&self, id: &FrameworkId, role: &Arc<str>, minimum: &Minimum) -> Traits {
        let own_minimum = self.own_minimum(role);
        Traits {
            key: (id.clone(), role.clone()),
            name: Arc::from(id.as_str()),
            gpus: self.gpus,
            revocable: self.revocable,
            shared: self.shared,
            refined: self.refined,
            region_aware: self.region_aware,
            constraints: self.constraints.get(role).cloned(),
            own_minimum: own_minimum.is_some(),
            minimum: own_minimum.unwrap_or_else(|| minimum.clone()),
        }
    }
}

impl Allocator {
    /// Adds a framework, or replaces what is known of it; one that is not `active` is not served, but its refusals count
    /// when it comes back. A role that is no longer suppressed forgets its refusals.
    pub fn set_framework(
        &mut self,
        id: &FrameworkId,
        info: &FrameworkInfo,
        suppressed: &[String],
        active: bool,
    ) {
        let mut new = Framework::new(info, suppressed, active);
        if let Some(old) = self.frameworks.get(id) {
            new.asked.clone_from(&old.asked);
            new.constraints.clone_from(&old.constraints);
        }
        let old = self.frameworks.insert(id.clone(), new.clone());
        if let Some(old) = &old {
            for role in &old.roles {
                let left = !new.roles.contains(role);
                let unsuppressed = old.suppressed.contains(role) && !new.suppressed.contains(role);
                if left || unsuppressed {
                    self.filters.remove_framework(id.as_str(), Some(role));
                }
                if left {
                    self.ledger.retire_client(id.as_str(), role);
                }
            }
        }
        for role in &new.roles {
            self.ledger.set_client(new.traits(id, role, &self.minimum), new.wants(role));
        }
        if active {
            self.mark_all();
        }
    }

    /// Which agents a known framework wants to hear of from now on; what cannot be used, constrains nothing.
    pub fn set_constraints(&mut self, id: &FrameworkId, asked: Option<&OfferConstraints>) {
        let Some(framework) = self.frameworks.get_mut(id).filter(|known| known.asked.as_ref() != asked)
        else {
            return;
        };
        framework.asked = asked.cloned();
        framework.constraints = asked.and_then(|asked| constraints::compile(asked).ok()).unwrap_or_default();
        let framework = framework.clone();
        for role in &framework.roles {
            self.ledger.set_client(framework.traits(id, role, &self.minimum), framework.wants(role));
        }
        if framework.active {
            self.mark_all();
        }
    }

    /// The framework has ended. What it holds stays charged until it is recovered.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        if let Some(old) = self.frameworks.remove(id) {
            for role in &old.roles {
                self.ledger.retire_client(id.as_str(), role);
            }
        }
        self.filters.remove_framework(id.as_str(), None);
    }

    /// The framework wants offers in these roles again, and takes its refusals back.
    pub fn revive(&mut self, id: &FrameworkId, roles: &[String]) {
        for role in roles {
            self.set_suppressed(id, role, false);
            self.filters.remove_framework(id.as_str(), Some(role));
        }
        self.mark_all();
    }

    /// The framework wants no offers in these roles.
    pub fn suppress(&mut self, id: &FrameworkId, roles: &[String]) {
        for role in roles {
            self.set_suppressed(id, role, true);
        }
    }

    /// Frameworks that were added and not removed, in order.
    pub fn known_frameworks(&self) -> impl Iterator<Item = &FrameworkId> {
        self.frameworks.keys()
    }

    /// Roles in which this framework wants no offers now.
    pub fn suppressed_roles(&self, id: &FrameworkId) -> BTreeSet<Arc<str>> {
        self.frameworks.get(id).map(|framework| framework.suppressed.clone()).unwrap_or_default()
    }

    /// Remembers a refusal until `until_ms`, cluster time. The agent may be offered to others at once.
    pub fn refuse(
        &mut self,
        id: &FrameworkId,
        role: &str,
        agent: &AgentId,
        refused: &Resources,
        until_ms: u64,
    ) {
        if self.frameworks.contains_key(id) && self.agents.contains_key(agent) {
            let client = (id.clone(), Arc::from(role));
            self.filters.add(client, agent, refused.unallocated(), until_ms);
            self.mark(agent);
        }
    }

    /// Forgets refusals that are over; their agents are planned again. So are all agents, if quotas leave more room than before.
    pub fn expire(&mut self, now_ms: u64) {
        if self.room_grew() && now_ms >= self.room.not_before_ms() {
            self.ledger.note_eased(false);
            self.room.planned(self.headroom, self.ledger.required_headroom());
            self.room.looked(now_ms);
            self.mark_all();
        }
        for agent in self.filters.expire(now_ms) {
            self.mark(&agent);
        }
    }

    /// How many refusals are alive in each role.
    pub fn active_filters(&self) -> imbl::OrdMap<Arc<str>, u64> {
        self.filters.active().by_role()
    }

    /// Cluster time at which [`Allocator::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        let look_again = self.room_grew().then(|| self.room.not_before_ms());
        look_again.into_iter().chain(self.filters.next_deadline()).min()
    }

    /// Whether quotas let somebody have more, of agents that are not planned by themselves.
    pub fn room_grew(&self) -> bool {
        self.ledger.has_eased()
            || self.room.has_grown()
            || self.ledger.has_guarantees()
                && self.room.grew(&self.headroom, &self.ledger.required_headroom())
    }

    /// Live refusals of a framework in a role.
    pub fn filter_count(&self, id: &FrameworkId, role: &str, now_ms: u64) -> usize {
        self.filters.summary(id.as_str(), role, now_ms).0
    }

    /// The place of a framework in a role; one that nobody subscribed holds something, but is never served.
    pub(super) fn place(&mut self, id: &FrameworkId, role: &str) -> Place {
        if let Some(place) = self.ledger.find(id.as_str(), role) {
            return place;
        }
        let traits = Traits {
            key: (id.clone(), Arc::from(role)),
            name: Arc::from(id.as_str()),
            gpus: false,
            revocable: false,
            shared: false,
            refined: false,
            region_aware: false,
            constraints: None,
            minimum: self.minimum.clone(),
            own_minimum: false,
        };
        self.ledger.set_client(traits, false)
    }

    /// Drops what is known of a framework in a role that it does not subscribe to, once it holds nothing there.
    pub(super) fn forget_if_idle(&mut self, id: &FrameworkId, role: &str) {
        let subscribed = self.frameworks.get(id).is_some_and(|framework| framework.roles.contains(role));
        if !subscribed {
            self.ledger.retire_client(id.as_str(), role);
        }
    }

    fn set_suppressed(&mut self, id: &FrameworkId, role: &str, suppressed: bool) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(role) = framework.roles.get(role).cloned() else { return };
        if suppressed {
            framework.suppressed.insert(role.clone());
        } else {
            framework.suppressed.remove(&role);
        }
        let (traits, wants) = (framework.traits(id, &role, &self.minimum), framework.wants(&role));
        self.ledger.set_client(traits, wants);
    }
}
