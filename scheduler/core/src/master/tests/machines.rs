//! Maintenance: schedules, inverse offers, machines down and up.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::allocator::inverse_offer_status::Status;
use tepui_proto::v1::maintenance::{Schedule, Window};
use tepui_proto::v1::scheduler::{self, Call, call, event};
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, TaskState};

use super::drains::order;
use super::running;
use crate::master::{Config, FleetCall};
use crate::testing::{AgentPeer, FrameworkPeer, Harness};

fn machine(agent: &AgentPeer) -> v1::MachineId {
    v1::MachineId { hostname: agent.info.hostname.clone(), ip: None }
}

fn at(start: i64) -> v1::Unavailability {
    v1::Unavailability { start: Some(v1::TimeInfo { nanoseconds: Some(start) }), duration: None }
}

/// Schedules the machines of these agents.
fn schedule(harness: &mut Harness, agents: &[&AgentPeer], start: i64) -> u16 {
    let machine_ids: Vec<_> = agents.iter().map(|agent| machine(agent)).collect();
    let window = Window { machine_ids, unavailability: Some(at(start)) };
    let windows = if agents.is_empty() { Vec::new() } else { vec![window] };
    order(harness, FleetCall::UpdateSchedule(Schedule { windows }))
}

fn start(harness: &mut Harness, agent: &AgentPeer) -> u16 {
    order(harness, FleetCall::StartMaintenance(vec![machine(agent)]))
}

fn stop(harness: &mut Harness, agent: &AgentPeer) -> u16 {
    order(harness, FleetCall::StopMaintenance(vec![machine(agent)]))
}

/// Takes the inverse offers that are there; nothing else but offers and rescinds may have come.
fn inverse(harness: &mut Harness, peer: &FrameworkPeer) -> Vec<v1::InverseOffer> {
    harness.advance(harness.config.allocation_delay_ms);
    let mut found = Vec::new();
    for event in harness.events(peer) {
        match event.r#type() {
            event::Type::InverseOffers => found.extend(event.inverse_offers.unwrap().inverse_offers),
            event::Type::Offers | event::Type::Rescind | event::Type::RescindInverseOffer => {}
            other => panic!("{other:?}"),
        }
    }
    found
}

fn answer(
    harness: &mut Harness,
    peer: &FrameworkPeer,
    offer: &v1::InverseOffer,
    accept: bool,
    seconds: f64,
) -> u16 {
    let inverse_offer_ids = vec![offer.id.clone().unwrap()];
    let filters = Some(v1::Filters { refuse_seconds: Some(seconds) });
    let call = if accept {
        Call {
            r#type: Some(call::Type::AcceptInverseOffers as i32),
            accept_inverse_offers: Some(call::AcceptInverseOffers { inverse_offer_ids, filters }),
            ..Default::default()
        }
    } else {
        Call {
            r#type: Some(call::Type::DeclineInverseOffers as i32),
            decline_inverse_offers: Some(call::DeclineInverseOffers { inverse_offer_ids, filters }),
            ..Default::default()
        }
    };
    harness.call(peer, call)
}

#[test]
fn offers_of_scheduled_agents_are_made_anew_with_their_time() {
    let mut harness = Harness::new();
    let (one, _other) = (harness.agent("cpus:1;mem:64"), harness.agent("cpus:1;mem:64"));
    let peer = harness.framework("f");
    let before = harness.offers(&peer);
    assert!(before.iter().all(|offer| offer.unavailability.is_none()));
    assert_eq!(schedule(&mut harness, &[&one], 7), 200);
    let events = harness.events(&peer);
    assert_eq!(events.len(), 1, "only that of the scheduled agent: {events:?}");
    assert_eq!(events[0].r#type(), event::Type::Rescind);
    harness.advance(20);
    let offer = harness.events(&peer).remove(0).offers.unwrap().offers.remove(0);
    assert_eq!((offer.agent_id, offer.unavailability), (Some(one.id.to_proto()), Some(at(7))));
    // The same again changes nothing; another time does; none takes it away.
    assert_eq!(schedule(&mut harness, &[&one], 7), 200);
    assert!(harness.events(&peer).iter().all(|event| event.r#type() == event::Type::InverseOffers));
    for (agents, expected) in [(vec![&one], Some(at(8))), (Vec::new(), None)] {
        assert_eq!(schedule(&mut harness, &agents, 8), 200);
        harness.advance(20);
        let offers = harness.events(&peer).into_iter().filter_map(|event| event.offers);
        let offers: Vec<_> = offers.flat_map(|offers| offers.offers).collect();
        assert_eq!(offers.len(), 1);
        assert_eq!(offers[0].unavailability, expected);
    }
}

#[test]
fn a_schedule_of_many_agents_takes_several_turns() {
    const MANY: usize = 600;
    let mut harness = Harness::new();
    let agents: Vec<AgentPeer> = (0..MANY).map(|_| harness.agent("cpus:1;mem:64")).collect();
    let peer = harness.framework("f");
    let offered = |harness: &mut Harness| {
        // The allocator needs two turns for so many.
        harness.advance(40);
        let offers = harness.events(&peer).into_iter().filter_map(|event| event.offers);
        offers.flat_map(|offers| offers.offers).collect::<Vec<_>>()
    };
    assert_eq!(offered(&mut harness).len(), MANY);
    assert_eq!(schedule(&mut harness, &agents.iter().collect::<Vec<_>>(), 7), 200);
    let rescinds = |events: Vec<scheduler::Event>| {
        events.into_iter().filter(|event| event.r#type() == event::Type::Rescind).count()
    };
    assert_eq!(rescinds(harness.events(&peer)), 512, "as many as one turn takes");
    harness.advance(1);
    assert_eq!(rescinds(harness.events(&peer)), MANY - 512);
    let offers = offered(&mut harness);
    assert_eq!(offers.len(), MANY);
    assert!(offers.iter().all(|offer| offer.unavailability == Some(at(7))));
}

#[test]
fn users_of_scheduled_agents_are_asked_and_their_answers_shown() {
    let (mut harness, agent, peer) = running();
    let idle = harness.framework("idle");
    harness.offers(&idle);
    let rest = harness.offers(&idle);
    assert_eq!(rest, []);
    assert_eq!(schedule(&mut harness, &[&agent], 7), 200);
    let asked = inverse(&mut harness, &peer);
    assert_eq!(asked.len(), 1);
    let offer = &asked[0];
    assert_eq!((&offer.agent_id, offer.unavailability), (&Some(agent.id.to_proto()), Some(at(7))));
    assert!(offer.resources.is_empty() && offer.url.is_some());
    harness.advance(20);
    assert_eq!(harness.master.local_view().inverse_offers.len(), 2, "the other one holds an offer");
    assert_eq!(answer(&mut harness, &peer, offer, false, 10.0), 202);
    let status = |harness: &Harness| {
        let view = harness.master.local_view();
        view.inverse_statuses.get(&(agent.id.clone(), peer.id.clone())).map(|status| status.status())
    };
    assert_eq!(status(&harness), Some(Status::Decline));
    assert_eq!(inverse(&mut harness, &peer), [], "not for ten seconds");
    harness.advance(4_000);
    harness.pong(&agent);
    harness.advance(4_000);
    harness.pong(&agent);
    assert_eq!(inverse(&mut harness, &peer), []);
    harness.advance(2_500);
    let again = inverse(&mut harness, &peer);
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].id, offer.id);
    assert_eq!(answer(&mut harness, &peer, &again[0], true, 1e6), 202);
    assert_eq!(status(&harness), Some(Status::Accept));
    assert_eq!(answer(&mut harness, &peer, offer, false, 1.0), 202, "an old one is ignored");
    assert_eq!(status(&harness), Some(Status::Accept));
    harness.bare(&peer, call::Type::Revive);
    assert_eq!(inverse(&mut harness, &peer).len(), 1, "REVIVE takes the refusal back");
    assert_eq!(schedule(&mut harness, &[], 0), 200);
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert!(types.contains(&event::Type::RescindInverseOffer), "{types:?}");
    assert_eq!(status(&harness), None);
}

#[test]
fn inverse_offers_time_out_and_end_with_the_agents_connection() {
    let mut harness = Harness::with(Config { offer_timeout_ms: 3_000, ..Config::default() });
    let (mut agent, peer) = super::launched(&mut harness);
    harness.take_launch(&mut agent);
    schedule(&mut harness, &[&agent], 7);
    let first = inverse(&mut harness, &peer).remove(0);
    harness.advance(3_000);
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert_eq!(types, [event::Type::RescindInverseOffer]);
    let second = inverse(&mut harness, &peer).remove(0);
    assert_ne!(first.id, second.id);
    harness.break_stream(agent.connection);
    let rescinded = harness.events(&peer);
    assert_eq!(rescinded[0].rescind_inverse_offer.as_ref().unwrap().inverse_offer_id, second.id);
    harness.register(&mut agent);
    assert_eq!(inverse(&mut harness, &peer).len(), 1, "asked again when it is back");
    let back = harness.resubscribe(&peer);
    assert_eq!(inverse(&mut harness, &back).len(), 1, "and so is a new instance");
}

#[test]
fn a_machine_goes_down_with_its_agents_and_comes_up() {
    let (mut harness, mut agent, peer) = running();
    assert_eq!(start(&mut harness, &agent), 400, "it is not scheduled");
    schedule(&mut harness, &[&agent], 7);
    assert_eq!(stop(&mut harness, &agent), 400, "it is not down");
    harness.events(&peer);
    assert_eq!(start(&mut harness, &agent), 200);
    assert_eq!(start(&mut harness, &agent), 400, "it is down");
    assert_eq!(harness.order_types(&agent), [Order::Shutdown]);
    assert!(harness.is_closed(agent.connection));
    let events = harness.events(&peer);
    let status = events.iter().find_map(|event| event.update.clone()).unwrap().status.unwrap();
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentRemoved));
    assert!(events.iter().any(|event| event.r#type() == event::Type::Failure));
    harness.elect();
    harness.send_register(&mut agent);
    assert_eq!(harness.order_types(&agent), [Order::Shutdown], "refused, by a new leader too");
    assert_eq!(schedule(&mut harness, &[], 0), 400, "a machine that is down stays in the schedule");
    assert_eq!(stop(&mut harness, &agent), 200);
    agent.tasks.clear();
    harness.register(&mut agent);
    let peer = harness.resubscribe(&peer);
    let offer = harness.offer(&peer);
    assert_eq!((offer.agent_id, offer.unavailability), (Some(agent.id.to_proto()), None), "the same id");
}

#[test]
fn bad_schedules_are_refused() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:1;mem:64");
    assert_eq!(schedule(&mut harness, &[&agent, &agent], 7), 400);
    let empty = Window { machine_ids: Vec::new(), unavailability: Some(at(7)) };
    let call = FleetCall::UpdateSchedule(Schedule { windows: vec![empty] });
    assert_eq!(order(&mut harness, call), 400);
    assert_eq!(order(&mut harness, FleetCall::StartMaintenance(Vec::new())), 400);
    assert_eq!(order(&mut harness, FleetCall::StopMaintenance(vec![v1::MachineId::default()])), 400);
    assert!(harness.registry.machines.is_empty());
}
