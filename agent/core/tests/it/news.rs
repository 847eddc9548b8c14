//! What the agent is told to show: its drain, which it remembers, and operations, which it is told again.

use tepui_agent_core::checkpoint::State;
use tepui_proto::tepui::agent_link::{OperationName, event};
use tepui_proto::v1;

use crate::rig::{Rig, framework_id};

fn drain(rig: &mut Rig, max_grace_ms: Option<i64>, start_wall_ms: u64) {
    let config = v1::DrainConfig {
        max_grace_period: max_grace_ms.map(|ms| v1::DurationInfo { nanoseconds: Some(ms * 1_000_000) }),
        mark_gone: Some(false),
    };
    tell_drain(rig, event::UpdateDrain { config: Some(config), start_wall_ms: Some(start_wall_ms) });
}

fn tell_drain(rig: &mut Rig, update: event::UpdateDrain) {
    rig.event(event::Type::UpdateDrain, |event| event.update_drain = Some(update));
}

fn operation_id(id: &str) -> Option<v1::OperationId> {
    Some(v1::OperationId { value: Some(id.to_owned()) })
}

fn operation(id: &str, state: v1::OperationState) -> v1::Operation {
    let status = v1::OperationStatus {
        operation_id: operation_id(id),
        state: Some(state.into()),
        ..Default::default()
    };
    v1::Operation {
        framework_id: framework_id(),
        info: Some(v1::offer::Operation { id: operation_id(id), ..Default::default() }),
        latest_status: Some(status),
        ..Default::default()
    }
}

fn tell(rig: &mut Rig, reset: bool, operations: Vec<v1::Operation>, settled: &[&str]) {
    let name = |id: &&str| OperationName { framework_id: framework_id(), operation_id: operation_id(id) };
    let settled = settled.iter().map(name).collect();
    let update = event::UpdateOperations { reset: reset.then_some(true), operations, settled };
    rig.event(event::Type::UpdateOperations, |event| event.update_operations = Some(update));
}

fn ids(rig: &Rig) -> Vec<String> {
    let infos = rig.agent.operations().filter_map(|operation| operation.info.as_ref());
    infos.filter_map(|info| info.id.as_ref()?.value.clone()).collect()
}

#[test]
fn a_drain_is_remembered_over_a_restart_until_it_is_over() {
    let mut rig = Rig::registered();
    assert!(rig.agent.drain().is_none());
    drain(&mut rig, Some(5_000), 77);
    let known = *rig.agent.drain().unwrap();
    assert_eq!(known.start_wall_ms, 77);
    assert_eq!(known.config.unwrap().max_grace_period.unwrap().nanoseconds, Some(5_000_000_000));
    rig.restart(vec![]);
    assert_eq!(rig.agent.drain(), Some(&known), "before any master said so");
    // Neither the link's end nor a new registration changes it.
    rig.register();
    assert_eq!(rig.agent.drain(), Some(&known));
    drain(&mut rig, None, 78);
    assert_eq!(rig.agent.drain().unwrap().start_wall_ms, 78);
    tell_drain(&mut rig, event::UpdateDrain::default());
    assert!(rig.agent.drain().is_none());
    rig.restart(vec![]);
    assert!(rig.agent.drain().is_none());
}

#[test]
fn what_is_known_of_a_drain_is_not_written_again() {
    let mut rig = Rig::registered();
    rig.slow_disk = true;
    for _ in 0..3 {
        drain(&mut rig, None, 77);
    }
    assert_eq!(rig.unsynced.len(), 1);
    rig.sync(usize::MAX);
    tell_drain(&mut rig, event::UpdateDrain { config: None, start_wall_ms: Some(5) });
    tell_drain(&mut rig, event::UpdateDrain::default());
    assert_eq!(rig.unsynced.len(), 1);
}

#[test]
fn a_compacted_checkpoint_still_holds_the_drain() {
    let mut rig = Rig::registered();
    drain(&mut rig, Some(1), 77);
    let mut again = State::default();
    rig.disk.records().iter().for_each(|record| again.apply(record));
    assert_eq!(again, rig.disk);
    assert_eq!(again.drain.start_wall_ms, 77);
}

#[test]
fn operations_come_change_and_go() {
    use v1::OperationState::{OperationDropped, OperationFinished};
    let mut rig = Rig::registered();
    tell(&mut rig, false, vec![operation("b", OperationFinished), operation("a", OperationFinished)], &[]);
    assert_eq!(ids(&rig), ["a", "b"]);
    tell(&mut rig, false, vec![operation("b", OperationDropped)], &["a", "unknown"]);
    assert_eq!(ids(&rig), ["b"]);
    let shown = rig.agent.operations().next().unwrap();
    assert_eq!(shown.latest_status.as_ref().unwrap().state(), OperationDropped);
    // What was told while the link was up stays while it is down, and goes with a new process.
    rig.input(tepui_agent_core::Input::LinkDown);
    rig.register();
    assert_eq!(ids(&rig), ["b"]);
    tell(&mut rig, true, vec![operation("c", OperationFinished)], &[]);
    assert_eq!(ids(&rig), ["c"]);
    tell(&mut rig, true, vec![], &[]);
    assert!(ids(&rig).is_empty());
    tell(&mut rig, false, vec![operation("d", OperationFinished)], &[]);
    rig.restart(vec![]);
    assert!(ids(&rig).is_empty());
}

#[test]
fn news_of_a_past_leader_is_refused() {
    let mut rig = Rig::registered();
    rig.epoch = 5;
    rig.ping();
    rig.epoch = 4;
    drain(&mut rig, None, 77);
    assert!(rig.agent.drain().is_none());
    assert_eq!(rig.reconnects().len(), 1);
}
