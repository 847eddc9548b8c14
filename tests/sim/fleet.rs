//! What the model operator does with agents and machines: drains, deactivates, marks gone, schedules, takes down; and puts everything back
//! in order at the end. Beside it the laws of the fleet, read from the log.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::v1::scheduler::{Event as Told, call};
use tepui_proto::v1::{self, MachineId, TimeInfo, Unavailability, maintenance};
use tepui_scheduler_core as core;
use tepui_scheduler_core::ids::AgentId;
use tepui_scheduler_core::{FleetCall, Operation, OperatorCall, Outcome, Registry};

use super::frameworks::PLAIN;
use super::keepers::ROLE;
use super::operators::Wish;
use super::world::World;

/// Agents and machines that are out of use at a time, by the operator's will.
const OUT_AT_A_TIME: usize = 2;

/// What the log says of agents and machines.
#[derive(Debug, Default)]
pub(crate) struct FleetTruth {
    /// Marked gone, or left for good.
    pub(crate) gone: BTreeSet<String>,
    /// No more in the Registry, at least once.
    pub(crate) dropped: BTreeSet<String>,
    pub(crate) drains: u64,
    /// Of these: since the last look.
    pub(crate) left: BTreeSet<String>,
    draining: BTreeSet<String>,
    pub(crate) times_down: u64,
    down: BTreeSet<String>,
    addresses: BTreeMap<String, String>,
}

impl FleetTruth {
    /// Takes an entry in.
    ///
    /// # Errors
    /// An agent that is gone came back, or one on a machine that is down came.
    pub(crate) fn take(&mut self, operation: &Operation, outcome: &Outcome) -> Result<(), String> {
        match (operation, outcome) {
            (Operation::AdmitAgent(admit), Outcome::Done) => self.came(admit.info.as_ref(), &admit.ip)?,
            (Operation::ReregisterAgent(word), Outcome::Reregistered(_)) => {
                self.came(word.info.as_ref(), &word.ip)?;
            }
            (Operation::AttachAgents(attach), Outcome::Attached(results)) => {
                let done = attach.agents.iter().zip(results).filter(|(_, result)| result.is_ok());
                if let Some((one, _)) = done.into_iter().find(|(one, _)| self.gone.contains(&one.agent_id)) {
                    return Err(format!("agent {}, which is gone, came back", one.agent_id));
                }
            }
            (Operation::DrainAgent(drain), Outcome::Done) => {
                self.drains += 1;
                self.draining.insert(drain.agent_id.clone());
            }
            (Operation::ActivateAgent(activate), Outcome::Done) if activate.active => {
                self.draining.remove(&activate.agent_id);
            }
            (Operation::MarkGone(mark), Outcome::Lost(_)) => self.left(&mark.agent_id, true),
            (Operation::RemoveAgent(remove), Outcome::Lost(_)) => self.left(&remove.agent_id, true),
            (Operation::StartMaintenance(start), Outcome::MachinesDown { agents, .. }) => {
                self.times_down += 1;
                self.down.extend(start.machines.iter().map(|one| one.ip().to_owned()));
                for agent in agents {
                    self.left(agent.as_str(), false);
                }
            }
            (Operation::StopMaintenance(stop), Outcome::Done) => {
                for one in &stop.machines {
                    self.down.remove(one.ip());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn came(&mut self, info: Option<&v1::AgentInfo>, ip: &str) -> Result<(), String> {
        let id = info.and_then(|info| info.id.as_ref()).map_or("", v1::AgentId::value).to_owned();
        if self.gone.contains(&id) {
            return Err(format!("agent {id}, which is gone, came back"));
        }
        if self.down.contains(ip) {
            return Err(format!("agent {id} came, although its machine {ip} is down"));
        }
        self.addresses.insert(id, ip.to_owned());
        Ok(())
    }

    fn left(&mut self, id: &str, gone: bool) {
        self.dropped.insert(id.to_owned());
        self.left.insert(id.to_owned());
        self.draining.remove(id);
        if gone {
            self.gone.insert(id.to_owned());
        }
    }

    /// A task was given to an agent.
    ///
    /// # Errors
    /// The agent is being drained, or is gone, or its machine is down.
    pub(crate) fn launched(&self, agent: &str, task: &str) -> Result<(), String> {
        if self.draining.contains(agent) {
            return Err(format!("task {task} was launched on agent {agent}, which is being drained"));
        }
        if self.gone.contains(agent) {
            return Err(format!("task {task} was launched on agent {agent}, which is gone"));
        }
        if self.addresses.get(agent).is_some_and(|ip| self.down.contains(ip)) {
            return Err(format!("task {task} was launched on agent {agent}, whose machine is down"));
        }
        Ok(())
    }
}

/// The machine of one of the agents.
pub(crate) fn machine(agent: usize) -> MachineId {
    MachineId { hostname: Some(format!("host{agent}")), ip: Some(format!("10.0.1.{}", agent + 1)) }
}

impl World {
    /// Does something to an agent or a machine, but never to too many at once.
    pub(crate) fn disturb_fleet(&mut self, node: usize) {
        let out = out_of_use(&self.nodes[node].registry);
        if out >= OUT_AT_A_TIME || self.chance.percent(30) {
            self.restore_fleet(node);
            return;
        }
        let Some(agent) = self.some_agent(node) else { return };
        let machine = machine(self.chance.index(self.agents.len()));
        let record = self.nodes[node].registry.maintenance.clone();
        if self.chance.percent(15) {
            self.change_roles(node);
            return;
        }
        let call = match self.chance.index(12) {
            0..=4 => FleetCall::Drain {
                agent,
                max_grace_ms: self.chance.percent(50).then_some(200),
                mark_gone: self.chance.percent(30),
            },
            5 | 6 => FleetCall::Deactivate(agent),
            7 => FleetCall::MarkGone(agent),
            8..=10 if record.down.is_empty() => {
                let scheduled = record.schedule.iter().flat_map(|schedule| &schedule.windows);
                let scheduled: Vec<MachineId> =
                    scheduled.flat_map(|window| window.machine_ids.iter().cloned()).collect();
                match scheduled.first() {
                    Some(first) if self.chance.percent(60) => {
                        FleetCall::StartMaintenance(vec![first.clone()])
                    }
                    _ => FleetCall::UpdateSchedule(self.schedule_of(vec![machine])),
                }
            }
            _ => FleetCall::Reactivate(agent),
        };
        self.call_fleet(node, call);
    }

    /// Puts one thing back that is out of order; whether there was one.
    pub(crate) fn restore_fleet(&mut self, node: usize) -> bool {
        let registry = &self.nodes[node].registry;
        let down = registry.maintenance.down.clone();
        let waits = |record: &core::registry::AgentRecord| {
            record.deactivated && record.drain.as_ref().is_none_or(|drain| drain.drained && !drain.mark_gone)
        };
        let idle: Vec<AgentId> =
            registry.agents.iter().filter(|(_, one)| waits(one)).map(|(id, _)| id.clone()).collect();
        let scheduled = !registry.machines.is_empty();
        if !down.is_empty() {
            self.call_fleet(node, FleetCall::StopMaintenance(down));
        } else if let Some(agent) = idle.first() {
            self.call_fleet(node, FleetCall::Reactivate(agent.clone()));
        } else if scheduled && !self.faulty {
            let nothing = maintenance::Schedule::default();
            self.call_fleet(node, FleetCall::UpdateSchedule(nothing));
        } else if !registry.quotas.is_empty() && !self.faulty {
            let role = registry.quotas.keys().next().map(ToString::to_string).unwrap_or_default();
            self.operator_calls(node, Wish::Other, quota(&role, None, None));
        } else {
            return false;
        }
        true
    }

    /// Weights and quotas.
    fn change_roles(&mut self, node: usize) {
        let call = if self.chance.percent(40) {
            let weight = Some(self.chance.between(1, 5) as f64);
            OperatorCall::UpdateWeights(vec![v1::WeightInfo { role: Some(ROLE.to_owned()), weight }])
        } else {
            let guarantee = self.chance.percent(50).then_some(1.0);
            let limit = self.chance.percent(70).then(|| self.chance.between(1, 6) as f64);
            if limit.is_some() {
                self.report.count("limit set");
            }
            quota([ROLE, PLAIN][self.chance.index(2)], guarantee, limit)
        };
        self.operator_calls(node, Wish::Other, call);
    }

    fn schedule_of(&mut self, machine_ids: Vec<MachineId>) -> maintenance::Schedule {
        let start = i64::try_from(self.wall_ms()).unwrap_or_default() * 1_000_000;
        let unavailability =
            Unavailability { start: Some(TimeInfo { nanoseconds: Some(start) }), duration: None };
        let window = maintenance::Window { machine_ids, unavailability: Some(unavailability) };
        maintenance::Schedule { windows: vec![window] }
    }

    fn call_fleet(&mut self, node: usize, call: FleetCall) {
        self.note(|| format!("the operator wants {call:?}"));
        let wish = match &call {
            FleetCall::MarkGone(agent) => Wish::Gone(agent.as_str().to_owned()),
            _ => Wish::Other,
        };
        self.operator_calls(node, wish, OperatorCall::Fleet(call));
    }

    /// Answers inverse offers, in one way or the other.
    pub(crate) fn on_inverse_offers(&mut self, framework: usize, told: Told) -> Result<(), String> {
        let offers = told.inverse_offers.map(|offers| offers.inverse_offers).unwrap_or_default();
        if let Some(bad) =
            offers.iter().find(|offer| offer.unavailability.is_none() || offer.agent_id.is_none())
        {
            return Err(format!(
                "framework {framework} got an inverse offer without a time or an agent: {bad:?}"
            ));
        }
        self.report.inverse_offers += offers.len() as u64;
        let inverse_offer_ids = offers.into_iter().filter_map(|offer| offer.id).collect();
        let filters = Some(v1::Filters { refuse_seconds: Some(2.0) });
        let call = match self.chance.index(3) {
            0 => return Ok(()),
            1 => {
                let mut call = self.frameworks[framework].call(call::Type::AcceptInverseOffers);
                call.accept_inverse_offers = Some(call::AcceptInverseOffers { inverse_offer_ids, filters });
                call
            }
            _ => {
                let mut call = self.frameworks[framework].call(call::Type::DeclineInverseOffers);
                call.decline_inverse_offers = Some(call::DeclineInverseOffers { inverse_offer_ids, filters });
                call
            }
        };
        self.framework_sends(framework, call);
        Ok(())
    }

    /// All agents that are there are in use, and every machine is up.
    pub(crate) fn fleet_settled(&self) -> Result<(), String> {
        let registry = self.registry();
        if let Some(down) = registry.maintenance.down.first() {
            return Err(format!("machine {down:?} is down"));
        }
        if !registry.quotas.is_empty() {
            return Err("a quota is set".to_owned());
        }
        let here = registry.agents.iter().filter(|(_, record)| record.unreachable_ms.is_none());
        for (id, record) in here {
            if let Some(drain) = &record.drain {
                return Err(format!("agent {id} is being drained: {drain:?}"));
            }
            if record.deactivated {
                return Err(format!("agent {id} is deactivated"));
            }
        }
        Ok(())
    }
}

/// The quota of a role, in CPUs.
fn quota(role: &str, guarantee: Option<f64>, limit: Option<f64>) -> OperatorCall {
    let cpus = |amount: Option<f64>| {
        let amount = amount.map(|value| ("cpus".to_owned(), v1::value::Scalar { value: Some(value) }));
        amount.into_iter().collect()
    };
    let config = v1::quota::QuotaConfig {
        role: Some(role.to_owned()),
        guarantees: cpus(guarantee),
        limits: cpus(limit),
    };
    OperatorCall::UpdateQuota { force: true, configs: vec![config] }
}

/// Agents that are not offered and machines that are down.
fn out_of_use(registry: &Registry) -> usize {
    let agents = registry.agents.iter().filter(|(_, record)| record.unreachable_ms.is_none());
    agents.filter(|(_, record)| record.deactivated).count() + registry.maintenance.down.len()
}
