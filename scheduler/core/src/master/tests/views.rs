//! The read model: what operators see.

use tepui_proto::v1::TaskState;

use super::running;
use crate::master::view;
use crate::testing::{Harness, uuid};

#[test]
fn state_shows_agents_frameworks_and_tasks() {
    let (mut harness, mut agent, peer) = running();
    harness.bare(&peer, tepui_proto::v1::scheduler::call::Type::Revive);
    harness.offer(&peer);
    let local = harness.master.local_view();
    let state = view::state(&harness.registry, Some(&local));
    let agents = state.get_agents.unwrap().agents;
    assert_eq!(agents.len(), 1);
    assert_eq!(agents[0].active, Some(true));
    let cpus = |list: &[tepui_proto::v1::Resource]| list[0].scalar.as_ref().unwrap().value();
    assert_eq!(cpus(&agents[0].total_resources), 4.0);
    assert_eq!(cpus(&agents[0].allocated_resources), 1.0);
    assert_eq!(cpus(&agents[0].offered_resources), 3.0);
    let frameworks = state.get_frameworks.unwrap().frameworks;
    assert_eq!(frameworks[0].connected, Some(true));
    assert_eq!(frameworks[0].offers.len(), 1);
    assert_eq!(cpus(&frameworks[0].allocated_resources), 1.0);
    assert_eq!(state.get_tasks.unwrap().tasks.len(), 1);

    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.events(&peer).into_iter().find_map(|event| event.update).unwrap().status.unwrap();
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    let tasks = view::get_tasks(&harness.registry).get_tasks.unwrap();
    assert_eq!((tasks.tasks.len(), tasks.completed_tasks.len()), (0, 1));
}

#[test]
fn a_standby_shows_the_same_without_offers() {
    let (harness, _, _) = running();
    let state = view::state(&harness.registry, None);
    let frameworks = state.get_frameworks.unwrap().frameworks;
    assert_eq!(frameworks[0].connected, Some(true), "as of the last commit");
    assert_eq!(frameworks[0].offers, []);
}

#[test]
fn completed_frameworks_and_unreachable_tasks_have_their_lists() {
    let (mut harness, agent, peer) = running();
    let other = harness.framework("other");
    harness.bare(&other, tepui_proto::v1::scheduler::call::Type::Teardown);
    harness.break_stream(agent.connection);
    harness.advance(26_000);
    harness.events(&peer);
    let state = view::state(&harness.registry, None);
    let tasks = state.get_tasks.unwrap();
    assert_eq!((tasks.tasks.len(), tasks.unreachable_tasks.len()), (0, 1));
    let frameworks = state.get_frameworks.unwrap();
    assert_eq!((frameworks.frameworks.len(), frameworks.completed_frameworks.len()), (1, 1));
    assert_eq!(state.get_agents.unwrap().agents.len(), 0);
}

#[test]
fn roles_and_master_are_shown() {
    let mut harness = Harness::new();
    harness.framework("f");
    let roles = view::get_roles(&harness.registry).get_roles.unwrap().roles;
    assert_eq!(roles.len(), 1);
    assert_eq!((roles[0].name(), roles[0].frameworks.len()), ("*", 1));
    let master = view::get_master(&harness.registry).get_master.unwrap().master_info.unwrap();
    assert_eq!(master.pid(), "master@10.0.0.1:5050");
}
