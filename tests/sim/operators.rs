//! The model operator: at random times it does what operators do, and holds every answer against what the log decided.

use std::collections::BTreeMap;

use tepui_proto::v1::Resource;
use tepui_scheduler_core as core;
use tepui_scheduler_core::ids::AgentId;
use tepui_scheduler_core::registry::unallocated;
use tepui_scheduler_core::{conversion, testing as make};

use super::agenda::MS;
use super::event::Event;
use super::keepers::ROLE;
use super::network::Place;
use super::truth::numbered;
use super::world::World;

/// What an unanswered call of the operator wants.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// A reservation with this number.
    Reserve,
    /// This agent marked gone.
    Gone(String),
    Other,
}

/// The operator and what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    waiting: BTreeMap<u64, Wish>,
}

impl World {
    pub(crate) fn operator_step(&mut self) -> Result<(), String> {
        let delay = self.chance.between(200, 2_000) * MS;
        self.after(delay, Event::OperatorStep);
        let Some(node) = self.serving_node() else { return Ok(()) };
        if self.faulty && self.chance.percent(60) {
            self.operate(node);
        } else if self.faulty {
            self.disturb_fleet(node);
        } else {
            self.restore_fleet(node);
        }
        Ok(())
    }

    pub(crate) fn operator_calls(&mut self, node: usize, wish: Wish, call: core::OperatorCall) {
        self.numbers += 1;
        let number = self.numbers;
        self.operator.waiting.insert(number, wish);
        self.call_operator(node, Place::Operator, number, call, None);
    }

    /// Some agent of the Registry, as an operator sees it.
    pub(crate) fn some_agent(&mut self, node: usize) -> Option<AgentId> {
        let ids: Vec<AgentId> = self.nodes[node].registry.agents.keys().cloned().collect();
        (!ids.is_empty()).then(|| ids[self.chance.index(ids.len())].clone())
    }

    /// Reserves something, or takes back something that is reserved.
    fn operate(&mut self, node: usize) {
        let Some(agent) = self.some_agent(node) else { return };
        let record = &self.nodes[node].registry.agents[&agent];
        let made: Vec<Resource> = conversion::made(&unallocated(record.total())).to_proto();
        let mut wish = Wish::Other;
        let operation = if made.is_empty() || self.chance.percent(40) {
            if !self.may_reserve(agent.as_str()) {
                return;
            }
            wish = Wish::Reserve;
            // The number of the call that follows.
            make::reserve(numbered(make::reserved("cpus:0.1;mem:16;disk:10", &[ROLE]), self.numbers + 1))
        } else {
            let one = made[self.chance.index(made.len())].clone();
            match (conversion::volume_name(&one), one.name()) {
                (Some(_), _) => make::destroy(vec![one]),
                (None, "disk") if self.chance.percent(50) => {
                    let mut volume = make::volume(1, ROLE, &format!("v{}", self.chance.index(6)));
                    volume.reservations = one.reservations;
                    volume.scalar = one.scalar;
                    make::create(vec![volume])
                }
                (None, _) => make::unreserve(vec![one]),
            }
        };
        let call = core::OperatorCall::Operate { agent, operation: Box::new(operation) };
        self.operator_calls(node, wish, call);
    }

    pub(crate) fn operator_answered(
        &mut self,
        number: u64,
        reply: Option<core::Reply>,
    ) -> Result<(), String> {
        let Some(wish) = self.operator.waiting.remove(&number) else { return Ok(()) };
        let Some(reply) = reply else { return Ok(()) };
        self.note(|| format!("the operator's call {number} {wish:?} is answered {reply:?}"));
        self.report.operator_answers += 1;
        let done = self.truth.by_operator.contains(&number);
        match (wish, reply) {
            (Wish::Reserve, core::Reply::Accepted) if !done => {
                Err(format!("the operator was told that {number} is reserved, which is not in the log"))
            }
            (Wish::Reserve, core::Reply::Rejected { status: 400..500, reason }) if done => Err(format!(
                "the operator was refused the reservation {number}, which is in the log: {reason}"
            )),
            (Wish::Gone(agent), core::Reply::Ok) if !self.truth.fleet.gone.contains(&agent) => {
                Err(format!("the operator was told that agent {agent} is gone, which is not in the log"))
            }
            _fits => Ok(()),
        }
    }
}
