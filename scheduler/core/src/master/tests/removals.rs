//! Silent agents: how fast they are given up, who is spared, what is forgotten.

use tepui_proto::v1::scheduler::event;
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, TaskState};

use crate::master::Config;
use crate::testing::{AgentPeer, Harness, framework_info, launch, task, uuid};

fn limited() -> Harness {
    Harness::with(Config { agent_removal_interval_ms: 5_000, ..Config::default() })
}

fn unreachable(harness: &Harness) -> usize {
    harness.registry.agents.values().filter(|record| record.unreachable_ms.is_some()).count()
}

fn counters(harness: &Harness) -> (u64, u64, u64) {
    let counters = harness.master.local_view().counters;
    (counters.unreachable_scheduled, counters.unreachable_completed, counters.unreachable_canceled)
}

#[test]
fn silent_agents_are_given_up_one_at_a_time_and_a_pong_spares() {
    let mut harness = limited();
    let agents: Vec<AgentPeer> = (0..3).map(|_| harness.agent("cpus:1;mem:64")).collect();
    harness.advance(30_000);
    assert_eq!(unreachable(&harness), 1);
    assert_eq!(counters(&harness), (3, 1, 0));
    let left: Vec<_> = agents.iter().filter(|agent| !harness.is_closed(agent.connection)).collect();
    assert_eq!(left.len(), 2, "the others keep their streams");
    harness.pong(left[0]);
    assert_eq!(counters(&harness), (3, 1, 1));
    harness.advance(4_900);
    assert_eq!(unreachable(&harness), 1);
    harness.advance(200);
    assert_eq!(unreachable(&harness), 2);
    harness.pong(left[0]);
    harness.advance(10_000);
    assert_eq!(unreachable(&harness), 2, "it was spared");
    assert!(!harness.is_closed(left[0].connection));
    assert_eq!(counters(&harness), (3, 2, 1));
}

#[test]
fn an_absent_agent_that_registers_in_time_is_spared() {
    let mut harness = limited();
    let mut agents: Vec<AgentPeer> = (0..2).map(|_| harness.agent("cpus:1;mem:64")).collect();
    for agent in &agents {
        harness.break_stream(agent.connection);
    }
    harness.advance(26_000);
    assert_eq!(unreachable(&harness), 1);
    let waiting = agents.iter_mut().find(|agent| {
        harness.registry.agents.get(&agent.id).is_some_and(|record| record.unreachable_ms.is_none())
    });
    let mut waiting = waiting.unwrap().clone();
    harness.register(&mut waiting);
    harness.advance(6_000);
    harness.pong(&waiting);
    assert_eq!(unreachable(&harness), 1);
    assert_eq!(counters(&harness), (2, 1, 1));
}

#[test]
fn too_many_missing_after_a_change_of_leader_are_not_given_up() {
    let config = Config { recovery_agent_removal_limit_percent: 50, ..Config::default() };
    let mut harness = Harness::with(config);
    let mut agents: Vec<AgentPeer> = (0..4).map(|_| harness.agent("cpus:1;mem:64")).collect();
    harness.elect();
    harness.register(&mut agents[0]);
    for _ in 0..16 {
        harness.advance(5_000);
        harness.pong(&agents[0]);
    }
    assert_eq!(unreachable(&harness), 0, "three of four are more than half");
    assert!(harness.notes.iter().any(|note| note.message.contains("too many agents are missing")));
    harness.register(&mut agents[1]);
    for _ in 0..16 {
        harness.advance(5_000);
        harness.pong(&agents[0]);
        harness.pong(&agents[1]);
    }
    assert_eq!(unreachable(&harness), 2, "two of four are not");
    assert_eq!(harness.master.local_view().counters.recovery_removals, 2);
}

#[test]
fn a_broken_connection_costs_what_is_not_checkpointed() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let mut info = framework_info("loose");
    info.checkpoint = None;
    let peer = harness.framework_with(info);
    let offer = harness.offer(&peer);
    let mut one = task("t", "cpus:1;mem:64");
    one.agent_id = offer.agent_id.clone();
    harness.accept_with(&peer, &[&offer], vec![launch(vec![one])], Some(1e9));
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    harness.advance(200);
    harness.events(&peer);
    harness.break_stream(agent.connection);
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentDisconnected));
    assert!(harness.registry.tasks.is_empty() && harness.registry.charges.is_empty());
    agent.tasks.clear();
    harness.register(&mut agent);
    assert_eq!(harness.orders(&agent), []);
    harness.bare(&peer, v1::scheduler::call::Type::Revive);
    assert!(crate::testing::amount_to(&harness.offer(&peer).resources, "cpus:4;mem:1024"));
}

#[test]
fn a_change_of_leader_is_no_broken_connection() {
    let (mut harness, _, peer) = super::running();
    // Whatever it says of checkpoints: the agents are as they were.
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.advance(5_000);
    assert_eq!(harness.events(&peer), []);
    assert_eq!(harness.registry.tasks.len(), 1);
}

#[test]
fn the_oldest_unreachable_agents_are_forgotten_by_number_and_by_age() {
    let by_number =
        Config { registry_gc_interval_ms: 1_000, registry_max_agent_count: 1, ..Config::default() };
    let by_age =
        Config { registry_gc_interval_ms: 1_000, registry_max_agent_age_ms: 60_000, ..Config::default() };
    for (config, left) in [(by_number, 1), (by_age, 0)] {
        let mut harness = Harness::with(config);
        let mut agents: Vec<AgentPeer> = (0..3).map(|_| harness.agent("cpus:1;mem:64")).collect();
        let peer = harness.framework("f");
        for agent in &agents {
            harness.break_stream(agent.connection);
            harness.advance(500);
        }
        harness.advance(28_000);
        harness.advance(65_000);
        assert_eq!(harness.registry.agents.len(), left);
        harness.events(&peer);
        harness.reconcile(&peer, &[("x", Some(agents[0].id.as_str()))]);
        let status = harness.update(&peer);
        assert_eq!((status.state(), status.unreachable_time), (TaskState::TaskLost, None), "it is unknown");
        harness.register(&mut agents[0]);
        assert_eq!(harness.registry.agents.len(), left + 1, "it may come back under its id");
    }
}

#[test]
fn a_task_that_was_forgotten_with_its_agent_is_told_of_when_it_is_back() {
    let config = Config { registry_gc_interval_ms: 1_000, registry_max_agent_count: 0, ..Config::default() };
    let mut harness = Harness::with(config);
    let (mut agent, peer) = super::launched(&mut harness);
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    harness.advance(200);
    harness.break_stream(agent.connection);
    harness.advance(30_000);
    assert!(harness.registry.agents.is_empty() && harness.registry.tasks.is_empty());
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert!(types.contains(&event::Type::Failure));
    harness.register(&mut agent);
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskRunning, Reason::AgentReregistered));
    assert_eq!(harness.registry.charges.len(), 1);
}
