//! The law of quota limits, counted anew from the Registry after each entry: no launch of a framework brings a role over its limit, but for
//! what came without being given: limits that were lowered, agents that came back, reservations by the operator.

use std::collections::BTreeMap;

use tepui_proto::v1;
use tepui_scheduler_core as core;
use tepui_scheduler_core::Operation;
use tepui_scheduler_core::registry::operate_step::Step;

use super::keepers::amount;

/// What was offered before something came is used within this time, or never.
const SETTLED_MS: u64 = 5_000;

#[derive(Debug, Default)]
pub(crate) struct Quotas {
    roles: BTreeMap<String, Role>,
}

#[derive(Debug, Default)]
struct Role {
    /// Thousandths of a CPU.
    limit: u64,
    used: u64,
    /// What came without being given, and when last.
    came: u64,
    came_ms: u64,
}

impl Quotas {
    /// Takes an entry in, with the Registry behind it.
    ///
    /// # Errors
    /// A role was given more than its limit.
    pub(crate) fn take(
        &mut self,
        registry: &core::Registry,
        envelope: &core::Envelope,
    ) -> Result<(), String> {
        if registry.quotas.is_empty() && self.roles.is_empty() {
            return Ok(());
        }
        let limits: BTreeMap<String, u64> = registry
            .quotas
            .iter()
            .filter_map(|(role, quota)| Some((role.to_string(), *quota.limits.get("cpus")?)))
            .collect();
        self.roles.retain(|role, _| limits.contains_key(role));
        let given = match &envelope.operation {
            Some(Operation::Launch(_)) => true,
            // An ACCEPT that reserves takes what it was offered; the operator's takes what is free.
            Some(Operation::Operate(operate)) => {
                !operate.framework_id.is_empty()
                    && operate.steps.iter().any(|step| step.step.as_ref().is_some_and(launches))
            }
            _other => false,
        };
        for (name, limit) in limits {
            let used = used_by(registry, &name);
            let role = self.roles.entry(name.clone()).or_default();
            if role.limit != limit {
                // What was offered under the last limit may be under way still.
                *role = Role { limit, used, came: u64::MAX / 2, came_ms: registry.cluster_ms };
                continue;
            }
            if registry.cluster_ms > role.came_ms + SETTLED_MS {
                role.came = role.used.saturating_sub(limit);
            }
            let more = used.saturating_sub(role.used);
            role.used = used;
            if more == 0 {
                continue;
            }
            if !given {
                role.came = role.came.saturating_add(more);
                role.came_ms = registry.cluster_ms;
            } else if used > limit.saturating_add(role.came) {
                return Err(format!("role {name} has {used} thousandths of a CPU, its limit is {limit}"));
            }
        }
        Ok(())
    }
}

fn launches(step: &Step) -> bool {
    matches!(step, Step::Launch(_))
}

/// What tasks of a role use, and what is reserved for it beside.
fn used_by(registry: &core::Registry, role: &str) -> u64 {
    let mut cpus = 0.0;
    for (id, agent) in &registry.agents {
        if agent.unreachable_ms.is_some() {
            continue;
        }
        let reserved = |one: &&v1::Resource| {
            one.name() == "cpus" && one.reservations.last().is_some_and(|last| last.role() == role)
        };
        cpus += agent.total().iter().filter(reserved).map(amount).sum::<f64>();
        let Some(charges) = registry.charges.get(id) else { continue };
        for ((_, holder), held) in &charges.by_client {
            if **holder == *role {
                let held = held.to_proto();
                let free = |one: &&v1::Resource| one.name() == "cpus" && one.reservations.is_empty();
                cpus += held.iter().filter(free).map(amount).sum::<f64>();
            }
        }
    }
    (cpus * 1000.0).round() as u64
}
