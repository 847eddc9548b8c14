//! Reservations and volumes by operators, and what agents are told about their resources.

use tepui_proto::resources::Resources;
use tepui_proto::tepui::agent_link::{Event, event};
use tepui_proto::v1::offer::Operation;
use tepui_proto::v1::offer::operation::Type;

use super::core::Master;
use super::effect::{Level, Reply};
use super::input::RequestId;
use super::pipeline::{Pending, PendingLaunch, PendingOperation};
use crate::conversion;
use crate::ids::{AgentId, FrameworkId, OfferId};
use crate::registry::{
    self, Convert, Observation, ObservedResources, Operate, OperateStep, Refusal, operate_step, unallocated,
};
use crate::validation::{self, Asker};

impl Master {
    /// Offers that stand in the way are taken back, and kept from their frameworks for as long as a refusal without a filter.
    pub(super) fn on_operate(
        &mut self,
        request: RequestId,
        agent: &AgentId,
        operation: &Operation,
        principal: Option<&str>,
    ) {
        let checked = match self.check_operate(agent, operation, principal) {
            Ok(checked) => checked,
            Err((status, reason)) => return self.reject(request, status, reason),
        };
        let (Ok(consumed), Ok(converted)) =
            (Resources::from_proto(&checked.consumed), Resources::from_proto(&checked.converted))
        else {
            return self.reject(request, 400, "the resources cannot be counted with");
        };
        let total = self.registry.agents.get(agent).map(|record| unallocated(record.total()));
        let total = total.unwrap_or_default();
        let after = total.saturating_sub(&consumed) + &converted;
        if let Some(((role, id), _)) = conversion::volumes(&after).into_iter().find(|(_, copies)| *copies > 1)
        {
            let reason = format!("the agent has a volume '{id}' of role '{role}' already");
            return self.reject(request, 409, reason);
        }
        if !total.contains(&consumed) {
            let reason = format!("agent {agent} does not have {consumed}");
            return self.reject(request, 409, reason);
        }
        self.clear_way(agent, &consumed);
        if operation.r#type() == Type::Destroy {
            self.withdraw_offers_of_volumes(agent, operation);
        }
        let held: Resources = self.held_on(agent).values().sum();
        if !total.less(&held).contains(&consumed) {
            return self.reject(request, 409, format!("{consumed} is in use on agent {agent}"));
        }
        let role = consumed.iter().find_map(|(identity, _)| identity.reservation_role());
        let pending = PendingLaunch {
            framework: FrameworkId::from(""),
            agent: agent.clone(),
            role: role.unwrap_or(tepui_proto::role::ANY).into(),
            amounts: consumed,
            brings: Default::default(),
            tasks: Vec::new(),
            operations: vec![PendingOperation { id: None, kind: operation.r#type() }],
            request: Some(request),
            tag: None,
        };
        let convert = Convert { consumed: checked.consumed, converted: checked.converted, operation: None };
        let operate = Operate {
            framework_id: String::new(),
            agent_id: agent.as_str().to_owned(),
            steps: vec![OperateStep { step: Some(operate_step::Step::Convert(convert)) }],
        };
        self.holdings.touch(agent);
        self.operation_proposed(operation.r#type());
        self.propose(registry::Operation::Operate(operate), Pending::Launch(pending));
    }

    fn check_operate(
        &self,
        agent: &AgentId,
        operation: &Operation,
        principal: Option<&str>,
    ) -> Result<validation::CheckedOperation, (u16, String)> {
        if self.agents.get(agent).is_none_or(|session| session.registered().is_none()) {
            return Err((400, format!("'agent_id' names '{agent}', which is not registered")));
        }
        validation::operation(operation, Asker::Operator { principal })
            .map_err(|rejection| (rejection.status, rejection.reason))
    }

    /// Takes offers of an agent back, one by one, until this is free or nothing is offered any more.
    fn clear_way(&mut self, agent: &AgentId, wanted: &Resources) {
        let total = self.registry.agents.get(agent).map(|record| unallocated(record.total()));
        let total = total.unwrap_or_default();
        for id in self.offers.of_agent(agent) {
            let held: Resources = self.held_on(agent).values().sum();
            let missing = wanted.saturating_sub(&total.less(&held));
            if missing.is_empty() {
                return;
            }
            let in_the_way = self.offers.get(&id).is_some_and(|offered| {
                missing
                    .iter()
                    .any(|(identity, _)| offered.resources.iter().any(|(other, _)| other == identity))
            });
            if in_the_way {
                self.rescind_for_a_while(&id);
            }
        }
    }

    /// What destroys a volume takes back every offer that still shows it.
    pub(super) fn withdraw_offers_of_volumes(&mut self, agent: &AgentId, operation: &Operation) {
        let volumes =
            operation.destroy.as_ref().map(|destroy| destroy.volumes.as_slice()).unwrap_or_default();
        let volumes = unallocated(volumes);
        for id in self.offers.of_agent(agent) {
            let shows = self.offers.get(&id).is_some_and(|offered| {
                volumes
                    .iter()
                    .any(|(identity, _)| offered.resources.iter().any(|(other, _)| other == identity))
            });
            if shows {
                self.rescind_for_a_while(&id);
            }
        }
    }

    fn rescind_for_a_while(&mut self, id: &OfferId) {
        let Some(offered) = self.offers.get(id).cloned() else { return };
        self.rescind(id);
        self.refuse(&offered.framework, &offered.role, &offered.agent, &offered.resources, None);
    }

    pub(super) fn answer_operate(&mut self, request: RequestId, result: Option<Result<(), Refusal>>) {
        match result {
            Some(Ok(())) => self.reply(request, Reply::Accepted),
            Some(Err(Refusal::UnknownAgent | Refusal::AgentRemoved | Refusal::AgentNotConnected)) => {
                self.reject(request, 400, "'agent_id' names an agent that is not registered any more");
            }
            Some(Err(refusal)) => self.reject(request, 409, refusal.to_string()),
            None => self.reject(request, 503, "the outcome is unknown"),
        }
    }

    /// An agent's resources are other ones now.
    pub(super) fn resources_changed(&mut self, agent: &AgentId) {
        if let Some(record) = self.registry.agents.get(agent).filter(|record| record.unreachable_ms.is_none())
        {
            let total = unallocated(record.total());
            self.allocator.convert_agent(agent, &total);
            self.withdraw_offers_of_lost_volumes(agent, &total);
        }
        self.holdings.touch(agent);
        self.send_resources(agent);
    }

    /// A shared volume may have been offered to others while its end was under way.
    fn withdraw_offers_of_lost_volumes(&mut self, agent: &AgentId, total: &Resources) {
        for id in self.offers.of_agent(agent) {
            let Some(offered) = self.offers.get(&id) else { continue };
            let shared = offered.resources.shared();
            if shared.iter().any(|(identity, _)| total.iter().all(|(other, _)| other != identity)) {
                self.rescind(&id);
            }
        }
    }

    /// Tells an agent what is reserved on it and which volumes it has. One that was never told has nothing to be told.
    pub(super) fn send_resources(&mut self, agent: &AgentId) {
        let Some(record) = self.registry.agents.get(agent).filter(|record| record.resources_version > 0)
        else {
            return;
        };
        let update = event::UpdateResources {
            version: Some(record.resources_version),
            resources: conversion::made(&unallocated(record.total())).to_proto(),
            destroyed: record.destroyed.clone(),
        };
        self.send_to_agent(
            agent,
            Event {
                r#type: Some(event::Type::UpdateResources as i32),
                update_resources: Some(update),
                ..Default::default()
            },
        );
    }

    pub(super) fn on_resources_accepted(&mut self, agent: &AgentId, version: u64) {
        let waits = self.registry.agents.get(agent).is_some_and(|record| !record.destroyed.is_empty());
        if waits {
            let agent_id = agent.as_str().to_owned();
            self.report(Observation::Resources(ObservedResources { agent_id, version }));
        }
    }

    pub(super) fn note_orphans(&mut self, agent: &AgentId) {
        let Some(record) = self.registry.agents.get(agent) else { return };
        let names: Vec<String> = record
            .orphaned
            .iter()
            .filter_map(conversion::volume_name)
            .map(|(role, id)| format!("{role}/{id}"))
            .collect();
        if !names.is_empty() {
            let fields = vec![("agent_id", agent.to_string()), ("volumes", names.join(", "))];
            self.note(Level::Warn, "agent holds volumes that the cluster does not know", fields);
        }
    }
}
