//! Roles as operators see them: those that somebody subscribes to or holds something in, those that have a weight or a quota, those
//! on the static list, and all roles above them.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::v1::master::response::GetRoles;
use tepui_proto::v1::{self, Resource};
use tepui_scheduler_core::ids::FrameworkId;
use tepui_scheduler_core::{LocalView, Registry};

use crate::view::agents::allocated_to;
use crate::view::frameworks::reserved_role;

/// One role. What is held below it counts for it, too; a shared volume that it holds several times counts once.
#[derive(Debug, Default)]
pub(crate) struct Role {
    pub(crate) weight: f64,
    /// Those that subscribe to this very role or hold something in it.
    pub(crate) frameworks: Vec<FrameworkId>,
    pub(crate) allocated: Vec<Resource>,
    pub(crate) offered: Vec<Resource>,
    pub(crate) reserved: Vec<Resource>,
}

impl Role {
    /// What counts for the role's quota: everything reserved, used or not, and what is held or offered of the rest.
    pub(crate) fn consumed(&self) -> impl Iterator<Item = &Resource> {
        let held = self.allocated.iter().chain(&self.offered);
        self.reserved.iter().chain(held.filter(|one| reserved_role(one) == "*"))
    }
}

/// All roles by name. Offers are known to the leading master only.
pub(crate) fn roles(registry: &Registry, local: Option<&LocalView>) -> BTreeMap<String, Role> {
    let mut all: BTreeMap<String, Role> = BTreeMap::new();
    for (id, record) in &registry.frameworks {
        for name in record.roles() {
            add_framework(&mut all, &name, id);
        }
    }
    let mut seen = Seen::default();
    for (agent, charges) in &registry.charges {
        for ((framework, name), resources) in &charges.by_client {
            if !registry.frameworks.contains_key(framework) {
                continue;
            }
            add_framework(&mut all, name, framework);
            let held = resources.to_proto().into_iter().map(|resource| allocated_to(resource, name));
            let held: Vec<_> = held.collect();
            for above in with_ancestors(name) {
                let new = seen.new_ones(above, agent.as_str(), &held);
                all.entry(above.to_owned()).or_default().allocated.extend(new);
            }
        }
    }
    for offer in local.into_iter().flat_map(|local| local.offers.values()) {
        let name = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref());
        let name = name
            .or_else(|| offer.resources.iter().find_map(|one| one.allocation_info.as_ref()?.role.as_deref()));
        let agent = offer.agent_id.as_ref().map_or("", v1::AgentId::value);
        for above in name.into_iter().flat_map(with_ancestors) {
            let new = seen.new_ones(above, agent, &offer.resources);
            all.entry(above.to_owned()).or_default().offered.extend(new);
        }
    }
    for agent in registry.agents.values().filter(|agent| agent.unreachable_ms.is_none()) {
        for resource in agent.total() {
            let name = reserved_role(resource);
            for above in Some(name).filter(|name| *name != "*").into_iter().flat_map(with_ancestors) {
                all.entry(above.to_owned()).or_default().reserved.push(resource.clone());
            }
        }
    }
    for name in registry.weights.keys().chain(registry.quotas.keys()) {
        all.entry(name.to_string()).or_default();
    }
    for name in local.into_iter().flat_map(|local| local.listed_roles.iter()) {
        all.entry(name.clone()).or_default();
    }
    let names: Vec<String> = all.keys().cloned().collect();
    for name in names {
        for above in with_ancestors(&name) {
            all.entry(above.to_owned()).or_default();
        }
    }
    for (name, role) in &mut all {
        role.weight = weight(registry, name);
    }
    all
}

/// GET_ROLES. Offered resources count as allocated there, as in Mesos.
pub(crate) fn get_roles(registry: &Registry, local: Option<&LocalView>) -> GetRoles {
    let roles = roles(registry, local).into_iter().map(|(name, role)| v1::Role {
        name: Some(name),
        weight: Some(role.weight),
        frameworks: role.frameworks.iter().map(FrameworkId::to_proto).collect(),
        resources: summed(role.allocated.iter().chain(&role.offered)),
    });
    GetRoles { roles: roles.collect() }
}

/// The share of a role among its siblings.
pub(crate) fn weight(registry: &Registry, role: &str) -> f64 {
    registry.weights.get(role).copied().unwrap_or(1.0)
}

/// A role and all above it, from the bottom up.
fn with_ancestors(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.rsplit_once('/').map(|(above, _)| above))
}

fn add_framework(all: &mut BTreeMap<String, Role>, name: &str, id: &FrameworkId) {
    let frameworks = &mut all.entry(name.to_owned()).or_default().frameworks;
    if !frameworks.contains(id) {
        frameworks.push(id.clone());
    }
}

/// Shared volumes by role, agent and persistence id.
#[derive(Default)]
struct Seen(BTreeSet<(String, String, String)>);

impl Seen {
    /// All of these but the shared volumes that were seen before with this role and agent.
    fn new_ones(&mut self, role: &str, agent: &str, resources: &[Resource]) -> Vec<Resource> {
        let new = resources.iter().filter(|resource| {
            let disk = resource.disk.as_ref().filter(|_| resource.shared.is_some());
            let volume = disk.and_then(|disk| disk.persistence.as_ref());
            volume.is_none_or(|volume| {
                self.0.insert((role.to_owned(), agent.to_owned(), volume.id().to_owned()))
            })
        });
        new.cloned().collect()
    }
}

/// Adds up what can be added; a list that cannot be read is shown as it is.
fn summed<'a>(resources: impl Iterator<Item = &'a Resource>) -> Vec<Resource> {
    let mut plain: Vec<Resource> = resources.cloned().collect();
    for resource in &mut plain {
        resource.allocation_info = None;
    }
    match tepui_proto::resources::Resources::from_proto(&plain) {
        Ok(sum) => sum.to_proto(),
        Err(_) => plain,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tepui_scheduler_core::registry::FrameworkRecord;

    use super::*;

    fn cpus(amount: f64) -> Resource {
        Resource {
            name: Some("cpus".into()),
            r#type: Some(v1::value::Type::Scalar as i32),
            scalar: Some(v1::value::Scalar { value: Some(amount) }),
            ..Default::default()
        }
    }

    fn offer(id: &str, role: &str, amount: f64) -> (tepui_scheduler_core::ids::OfferId, Arc<v1::Offer>) {
        let offer = v1::Offer {
            allocation_info: Some(v1::resource::AllocationInfo { role: Some(role.into()) }),
            resources: vec![allocated_to(cpus(amount), role)],
            ..Default::default()
        };
        (id.into(), Arc::new(offer))
    }

    #[test]
    fn a_quota_counts_reserved_resources_once_and_makes_its_role_known() {
        let reserved = Resource { role: Some("dev".into()), ..cpus(2.0) };
        let role = Role {
            allocated: vec![reserved.clone(), cpus(0.5)],
            offered: vec![cpus(1.0)],
            reserved: vec![reserved],
            ..Default::default()
        };
        let amounts: Vec<f64> = role.consumed().filter_map(|one| one.scalar.as_ref()?.value).collect();
        assert_eq!(amounts, [2.0, 0.5, 1.0]);
        let mut registry = Registry::default();
        registry.quotas.insert("dev".into(), Arc::default());
        registry.weights.insert("a/b".into(), 2.5);
        let shown: Vec<(String, f64)> =
            roles(&registry, None).into_iter().map(|(name, role)| (name, role.weight)).collect();
        assert_eq!(shown, [("a".to_owned(), 1.0), ("a/b".to_owned(), 2.5), ("dev".to_owned(), 1.0)]);
    }

    #[test]
    fn a_shared_volume_counts_once_for_a_role_on_each_agent() {
        let disk = v1::resource::DiskInfo {
            persistence: Some(v1::resource::disk_info::Persistence { id: Some("v".into()), principal: None }),
            ..Default::default()
        };
        let shared = Some(v1::resource::SharedInfo {});
        let volume = Resource { name: Some("disk".into()), disk: Some(disk), shared, ..cpus(8.0) };
        let on = |id: &str, agent: &str, role: &str| {
            let (id, offer) = offer(id, role, 1.0);
            let agent_id = Some(v1::AgentId { value: Some(agent.into()) });
            let resources = [offer.resources.clone(), vec![allocated_to(volume.clone(), role)]].concat();
            (id, Arc::new(v1::Offer { agent_id, resources, ..v1::Offer::clone(&offer) }))
        };
        let offers = [on("o1", "x", "a"), on("o2", "x", "a/b"), on("o3", "x", "a/b"), on("o4", "y", "a/b")];
        let local = LocalView { offers: offers.into_iter().collect(), ..Default::default() };
        let all = roles(&Registry::default(), Some(&local));
        let disk = |role: &str| crate::view::amounts::scalars(&all[role].offered).disk;
        assert_eq!((disk("a"), disk("a/b")), (16.0, 16.0), "once on each of two agents");
        assert_eq!(crate::view::amounts::scalars(&all["a"].offered).cpus, 4.0);
    }

    #[test]
    fn listed_roles_are_shown_before_anybody_uses_them() {
        let listed_roles = Arc::new(["a/b".to_owned()].into());
        let local = LocalView { listed_roles, ..Default::default() };
        assert!(roles(&Registry::default(), Some(&local)).keys().eq(["a", "a/b"]));
    }

    #[test]
    fn ancestors_are_listed_with_what_is_held_below_them() {
        let info = v1::FrameworkInfo { role: Some("a/b/c".into()), ..Default::default() };
        let mut registry = Registry::default();
        registry
            .frameworks
            .insert("f".into(), Arc::new(FrameworkRecord { info: Some(info), ..Default::default() }));
        let local = LocalView {
            offers: [offer("o1", "a/b/c", 1.0), offer("o2", "a/d", 0.5)].into_iter().collect(),
            ..Default::default()
        };
        let answer = get_roles(&registry, Some(&local));
        let shown: Vec<(&str, usize, f64)> = answer
            .roles
            .iter()
            .map(|role| {
                let cpus = role.resources.first().and_then(|one| one.scalar?.value).unwrap_or_default();
                (role.name(), role.frameworks.len(), cpus)
            })
            .collect();
        assert_eq!(shown, [("a", 0, 1.5), ("a/b", 0, 1.0), ("a/b/c", 1, 1.0), ("a/d", 0, 0.5)]);
        assert!(answer.roles.iter().all(|role| role.weight() == 1.0));
    }
}
