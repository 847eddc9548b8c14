//! What operators do meanwhile; whether it is granted is for the master to say.

use std::collections::BTreeMap;

use tepui_proto::resources::Resources;
use tepui_proto::v1::offer::Operation;
use tepui_proto::v1::{self, quota};

use super::agents::Agent;
use super::chance::Chance;
use super::step::Wish;
use super::world::World;
use crate::conversion::{made, volume_name, without_volume};
use crate::ids::AgentId;
use crate::master::{FleetCall, OperatorCall};
use crate::registry::unallocated;
use crate::testing::{create, destroy, reserve, reserved, unreserve, volume};

impl World {
    pub(super) fn wish(&mut self, what: Wish, chance: &mut Chance) {
        let who = chance.pick(self.agents.len());
        let id = self.agents[who].peer.id.clone();
        let machine = self.agents[who].machine();
        let call = match what {
            Wish::Quota => quota_call(chance),
            Wish::RemoveQuota => OperatorCall::RemoveQuota(some_role(chance)),
            Wish::Weight => {
                let role = chance.of(&["a", "a/x", "b", "c", "*"]).map(|role| (*role).to_owned());
                let weight = chance.of(&[0.5, 1.0, 3.0]).copied();
                OperatorCall::UpdateWeights(vec![v1::WeightInfo { weight, role }])
            }
            Wish::Operate => {
                self.operate(&id, chance);
                return;
            }
            Wish::Schedule => OperatorCall::Fleet(FleetCall::UpdateSchedule(schedule(&self.agents, chance))),
            Wish::Down => {
                let scheduled: Vec<_> =
                    self.harness.registry.machines.values().map(|one| one.id.clone()).collect();
                let machine = chance.of(&scheduled).cloned().unwrap_or(machine);
                OperatorCall::Fleet(FleetCall::StartMaintenance(vec![machine]))
            }
            Wish::Up => {
                let down = self.harness.registry.maintenance.down.clone();
                OperatorCall::Fleet(FleetCall::StopMaintenance(down))
            }
            Wish::Drain => OperatorCall::Fleet(FleetCall::Drain {
                agent: id,
                max_grace_ms: Some(5),
                mark_gone: chance.one_in(4),
            }),
            Wish::Deactivate => OperatorCall::Fleet(FleetCall::Deactivate(id)),
            Wish::Reactivate => {
                let agents = &self.harness.registry.agents;
                let asleep = agents.iter().find(|(_, record)| record.deactivated);
                OperatorCall::Fleet(FleetCall::Reactivate(asleep.map_or(id, |(id, _)| id.clone())))
            }
            Wish::Gone => OperatorCall::Fleet(FleetCall::MarkGone(id)),
            Wish::Teardown => {
                let ids: Vec<_> = self.harness.registry.frameworks.keys().cloned().collect();
                match chance.of(&ids) {
                    Some(id) => OperatorCall::Teardown(id.clone()),
                    None => return,
                }
            }
        };
        self.harness.operator(call, None);
    }

    /// Reservations and volumes of an agent, made and unmade.
    fn operate(&mut self, id: &AgentId, chance: &mut Chance) {
        let total = self.harness.registry.agents.get(id).map(|record| unallocated(record.total()));
        let made = made(&total.unwrap_or_default()).to_proto();
        let one = chance.of(&made).cloned();
        let role = some_role(chance);
        let operation: Operation = match (chance.pick(6), one) {
            (0, Some(one)) if volume_name(&one).is_some() => destroy(vec![one]),
            (0, Some(one)) => unreserve(vec![one]),
            (1, Some(one)) if one.name() == "disk" && volume_name(&one).is_none() => {
                let mut new = volume(1, "", &format!("v{}", chance.pick(6)));
                new.scalar = one.scalar;
                new.reservations = one.reservations;
                create(vec![new])
            }
            (2, Some(one)) if volume_name(&one).is_some() => unreserve(vec![without_volume(&one)]),
            (3, _) => reserve(reserved("disk:50", &[&role])),
            (4, _) => {
                let below = *chance.of(&["a/x", "b/y"]).unwrap();
                reserve(reserved("cpus:1", &[super::account::top(below), below]))
            }
            _ => reserve(reserved("cpus:1;mem:64", &[&role])),
        };
        self.came = true;
        let (known, request) =
            (self.waiting(), OperatorCall::Operate { agent: id.clone(), operation: Box::new(operation) });
        self.harness.operator(request, None);
        self.hold_new(&known, &role, &Resources::new());
    }
}

fn some_role(chance: &mut Chance) -> String {
    (*chance.of(&["a", "b", "c"]).unwrap()).to_owned()
}

/// Quotas of one or two roles.
fn quota_call(chance: &mut Chance) -> OperatorCall {
    let mut configs = BTreeMap::new();
    for _ in 0..=chance.pick(2) {
        let role = some_role(chance);
        let mut config = quota::QuotaConfig { role: Some(role.clone()), ..Default::default() };
        for (name, step) in [("cpus", 1.0), ("mem", 256.0), ("disk", 50.0)] {
            let guarantee = step * chance.pick(3) as f64;
            let limit = guarantee + step * chance.pick(5) as f64;
            let scalar = |value| v1::value::Scalar { value: Some(value) };
            if guarantee > 0.0 && chance.one_in(4) {
                config.guarantees.insert(name.to_owned(), scalar(guarantee));
            }
            if chance.one_in(2) {
                config.limits.insert(name.to_owned(), scalar(limit));
            }
        }
        configs.insert(role, config);
    }
    OperatorCall::UpdateQuota { force: chance.one_in(2), configs: configs.into_values().collect() }
}

/// Some of the machines, and those that are down.
fn schedule(agents: &[Agent], chance: &mut Chance) -> v1::maintenance::Schedule {
    let chosen: Vec<_> = agents.iter().filter(|_| chance.one_in(2)).map(Agent::machine).collect();
    let start = Some(v1::TimeInfo { nanoseconds: Some(1) });
    let unavailability = Some(v1::Unavailability { start, duration: None });
    let window = v1::maintenance::Window { machine_ids: chosen, unavailability };
    let windows = if window.machine_ids.is_empty() { Vec::new() } else { vec![window] };
    v1::maintenance::Schedule { windows }
}
