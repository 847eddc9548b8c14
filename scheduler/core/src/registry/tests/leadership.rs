//! Epochs, cluster time, the fence against older leaders.

use super::*;
use crate::registry::Refusal;

#[test]
fn every_leadership_raises_the_epoch() {
    let mut story = Story::new();
    assert_eq!(story.registry.epoch, 1);
    assert_eq!(&*story.registry.cluster_id, "c");
    assert_eq!(story.changes, [Change::Leadership, Change::Cluster]);
    assert_eq!(story.take_lead(2), Outcome::TookLead { epoch: 2 });
    assert_eq!(story.changes, [Change::Leadership]);
    let leader = story.registry.leader.clone().unwrap();
    assert_eq!((leader.node_id, leader.since_ms), (2, 21));
}

#[test]
fn the_cluster_id_is_taken_once() {
    let mut story = Story::new();
    story.apply(Operation::TakeLead(TakeLead { cluster_id: "other".to_owned(), ..Default::default() }));
    assert_eq!(&*story.registry.cluster_id, "c");
}

#[test]
fn an_older_leader_changes_nothing() {
    let mut story = Story::new();
    story.agent("a", "cpus:1");
    story.take_lead(2);
    let before = story.registry.clone();
    let late = Envelope {
        epoch: 1,
        cluster_ms: 99_999,
        operation: Some(Operation::RemoveAgent(RemoveAgent {
            agent_id: "a".to_owned(),
            reason: String::new(),
        })),
        ..Default::default()
    };
    assert_eq!(story.registry.apply(&late), (Outcome::Stale { epoch: 2 }, Vec::new()));
    assert_eq!(story.registry, before, "not even the time");
}

#[test]
fn nobody_is_connected_to_a_new_leader() {
    let mut story = Story::new();
    story.agent("a", "cpus:1");
    story.framework("f");
    let connected = |story: &Story| {
        let registry = &story.registry;
        let agents = registry.agents.values().filter(|one| registry.agent_connected(one)).count();
        let frameworks = registry.frameworks.values().filter(|one| registry.framework_connected(one));
        (agents, frameworks.count())
    };
    assert_eq!(connected(&story), (1, 1));
    story.take_lead(2);
    assert_eq!(connected(&story), (0, 0));
}

#[test]
fn time_only_goes_forward() {
    let mut story = Story::new();
    story.cluster_ms = 5_000;
    story.apply(Operation::Tick(Tick {}));
    assert_eq!(story.registry.cluster_ms, 5_010);
    story.cluster_ms = 100;
    story.apply(Operation::Tick(Tick {}));
    assert_eq!(story.registry.cluster_ms, 5_010);
}

#[test]
fn an_envelope_without_operation_is_refused() {
    let mut story = Story::new();
    let empty = Envelope { epoch: 1, ..Default::default() };
    assert_eq!(story.registry.apply(&empty).0, Outcome::Refused(Refusal::Malformed));
}
