//! The cluster's level, and agents that come over from a former cluster.

use tepui_proto::tepui::agent_link::{Call, call};
use tepui_proto::v1::TaskState;

use super::running;
use crate::master::Input;
use crate::registry::{Envelope, Operation, Refound};
use crate::testing::Harness;

/// The cluster is founded anew under this id, and a master of it elected.
fn refound(harness: &mut Harness, cluster_id: &str) {
    let operation = Some(Operation::Refound(Refound { cluster_id: cluster_id.to_owned() }));
    let envelope = Envelope { epoch: harness.registry.epoch, operation, ..Default::default() };
    harness.registry.apply(&envelope);
    harness.elect();
}

/// REGISTER of an agent that says it belongs to this cluster and has seen this epoch.
fn register(harness: &mut Harness, agent: &crate::testing::AgentPeer, cluster_id: &str, epoch: u64) -> u64 {
    let connection = harness.next_id();
    let call = Call {
        format: Some(1),
        r#type: Some(call::Type::Register as i32),
        agent_id: Some(agent.id.to_proto()),
        register: Some(call::Register {
            boot_id: Some(agent.boot_id.clone()),
            agent_info: Some(agent.info.clone()),
            tasks: agent.tasks.clone(),
            cluster_id: Some(cluster_id.to_owned()),
            epoch: Some(epoch),
            ..Default::default()
        }),
        ..Default::default()
    };
    harness.input(Input::AgentRegister { connection, stream_id: connection.to_string(), call });
    connection
}

#[test]
fn agents_of_the_former_cluster_come_over_with_their_tasks() {
    let (mut harness, mut agent, _) = running();
    let epoch = harness.registry.epoch;
    refound(&mut harness, "new");
    assert_eq!(harness.registry.epoch, epoch + 1_000_001);
    // Leaders that the state never heard of have made epochs of their own.
    let connection = register(&mut harness, &agent, "cluster", epoch + 999_999);
    assert!(!harness.is_closed(connection));
    agent.connection = connection;
    let registered = harness.order(&agent).registered.expect("REGISTERED");
    assert_eq!(registered.cluster_id(), "new");
    assert_eq!(registered.former_cluster_ids, ["cluster"]);
    let task = harness.registry.tasks.values().next().expect("the task");
    assert_eq!((harness.registry.tasks.len(), task.state()), (1, TaskState::TaskRunning));
    // Twice, and still.
    refound(&mut harness, "newer");
    for (cluster, welcome) in [("cluster", true), ("new", true), ("newer", true), ("other", false)] {
        let connection = register(&mut harness, &agent, cluster, 1);
        assert_eq!(!harness.is_closed(connection), welcome, "{cluster}");
    }
}

#[test]
fn the_level_rises_once_and_only_while_this_master_leads() {
    let mut harness = Harness::new();
    let before = harness.log.len();
    for (told, then) in [(0, 0), (1, 1), (1, 1), (0, 1), (3, 3)] {
        harness.input(Input::VoterLevel(told));
        assert_eq!(harness.registry.feature_level, then, "{told}");
    }
    assert_eq!(harness.log.len(), before + 2);
    harness.hold();
    harness.input(Input::VoterLevel(4));
    harness.input(Input::VoterLevel(4));
    harness.commit();
    assert_eq!(harness.log.len(), before + 3, "not proposed again while it is under way");
    harness.hold();
    harness.input(Input::VoterLevel(5));
    harness.fail(false);
    harness.input(Input::VoterLevel(5));
    harness.commit();
    assert_eq!(harness.registry.feature_level, 5, "tried again after a failure");
    harness.input(Input::Deposed);
    harness.input(Input::VoterLevel(6));
    assert_eq!(harness.registry.feature_level, 5);
}
