//! ATTACH: how an agent stands, when that is all that it says, and what it remembers of masters.

use tepui_agent_core::{Effect, Input};
use tepui_proto::tepui::agent_link::{call, event};
use tepui_proto::v1;

use crate::rig::Rig;

/// Loses the link and gets another; returns what the agent says then.
fn comes_back(rig: &mut Rig) -> call::Type {
    rig.input(Input::LinkDown);
    rig.input(Input::LinkUp);
    rig.sent.last().unwrap().r#type()
}

fn standing(rig: &Rig) -> Vec<u8> {
    rig.sent.last().unwrap().attach.as_ref().unwrap().standing().to_vec()
}

#[test]
fn whoever_was_known_attaches_and_tells_all_if_asked() {
    let mut rig = Rig::registered();
    assert_eq!(comes_back(&mut rig), call::Type::Attach);
    rig.epoch = 2;
    let attach = rig.sent.last().unwrap().attach.clone().unwrap();
    assert_eq!((attach.cluster_id(), attach.epoch()), ("c", 1));
    rig.event(event::Type::TellAll, |_| {});
    let told = rig.sent.last().unwrap();
    assert_eq!(told.r#type(), call::Type::Tell);
    assert!(told.register.is_some() && !rig.agent.is_registered());
    assert_eq!(rig.disk.epoch, 1, "of which cluster the master is, nobody knows yet");
    rig.confirm();
    assert!(rig.agent.is_registered());
    rig.event(event::Type::TellAll, |_| {});
    assert_eq!(rig.sent.last().unwrap().r#type(), call::Type::Tell, "nothing more is said");
    assert_eq!(comes_back(&mut rig), call::Type::Attach);
    rig.confirm();
    assert!(rig.agent.is_registered(), "that was enough");
}

#[test]
fn a_master_that_does_not_take_it_gets_a_registration() {
    let mut rig = Rig::registered();
    assert_eq!(comes_back(&mut rig), call::Type::Attach);
    rig.input(Input::AttachRefused);
    assert_eq!(comes_back(&mut rig), call::Type::Register);
    rig.confirm();
    assert_eq!(comes_back(&mut rig), call::Type::Attach, "the next one may");
    rig.restart(vec![]);
    rig.input(Input::LinkUp);
    assert_eq!(rig.sent.last().unwrap().r#type(), call::Type::Register, "nobody knows this run yet");
}

#[test]
fn a_tell_all_of_a_past_epoch_is_no_order() {
    let mut rig = Rig::registered();
    rig.epoch = 7;
    comes_back(&mut rig);
    rig.confirm();
    comes_back(&mut rig);
    rig.epoch = 6;
    rig.event(event::Type::TellAll, |_| {});
    assert_eq!(rig.sent.last().unwrap().r#type(), call::Type::Attach);
    assert_eq!(rig.reconnects().len(), 1);
}

#[test]
fn the_digest_follows_launches_and_states_that_are_durable() {
    let mut rig = Rig::registered();
    comes_back(&mut rig);
    let empty = standing(&rig);
    rig.confirm();
    rig.run("t", 1);
    comes_back(&mut rig);
    let launched = standing(&rig);
    assert_ne!(launched, empty);
    rig.confirm();
    rig.slow_disk = true;
    rig.input(Input::Launched { task: crate::rig::key("t"), pid: 7 });
    comes_back(&mut rig);
    assert_eq!(standing(&rig), launched, "what a crash would take back is not said");
    rig.sync(usize::MAX);
    comes_back(&mut rig);
    assert_ne!(standing(&rig), launched);
    comes_back(&mut rig);
    let again = standing(&rig);
    comes_back(&mut rig);
    assert_eq!(standing(&rig), again);
}

#[test]
fn the_masters_are_remembered_over_restarts() {
    let mut rig = Rig::new();
    rig.masters = vec!["a:1".to_owned(), "b:2".to_owned()];
    rig.register();
    let follows = |rig: &Rig| {
        let lists = rig.effects.iter().filter_map(|effect| match effect {
            Effect::FollowMasters(list) => Some(list.clone()),
            _ => None,
        });
        lists.collect::<Vec<_>>()
    };
    assert_eq!(follows(&rig), [["a:1", "b:2"]]);
    assert_eq!(rig.disk.masters, ["a:1", "b:2"]);
    rig.event(event::Type::UpdateMasters, |event| {
        let masters = vec!["b:2".to_owned(), String::new(), "c:3".to_owned()];
        event.update_masters = Some(event::UpdateMasters { masters });
    });
    assert_eq!(follows(&rig).last().unwrap(), &["b:2", "c:3"]);
    rig.event(event::Type::UpdateMasters, |event| event.update_masters = Some(Default::default()));
    assert_eq!(follows(&rig).len(), 2, "an empty list says nothing");
    rig.restart(vec![]);
    assert_eq!(rig.disk.masters, ["b:2", "c:3"]);
    // And once more through the shortest sequence of records.
    let mut state = tepui_agent_core::checkpoint::State::default();
    rig.disk.records().iter().for_each(|record| state.apply(record));
    assert_eq!(state, rig.disk);
}

#[test]
fn an_agent_with_orphaned_volumes_tells_everything() {
    let mut rig = Rig::registered();
    rig.restart(vec![]);
    let mut disk = rig.disk.clone();
    disk.resources.orphaned = vec![v1::Resource { name: Some("disk".to_owned()), ..Default::default() }];
    rig.disk = disk;
    rig.restart(vec![]);
    rig.register();
    assert_eq!(comes_back(&mut rig), call::Type::Register);
}
