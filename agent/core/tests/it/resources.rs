//! Reservations and volumes on the agent: remembered in a version, destroyed by name only.

use tepui_agent_core::{Effect, VolumeName};
use tepui_proto::tepui::agent_link::{DestroyedVolume, call, event};
use tepui_proto::v1;
use tepui_proto::v1::resource::disk_info::Persistence;
use tepui_proto::v1::resource::{DiskInfo, ReservationInfo};

use crate::rig::Rig;

fn volume(id: &str) -> v1::Resource {
    let role = Some("web/api".to_owned());
    v1::Resource {
        name: Some("disk".to_owned()),
        reservations: vec![ReservationInfo { role, ..Default::default() }],
        disk: Some(DiskInfo {
            persistence: Some(Persistence { id: Some(id.to_owned()), principal: None }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn name(id: &str) -> VolumeName {
    VolumeName { role: "web/api".to_owned(), id: id.to_owned() }
}

fn update(rig: &mut Rig, version: u64, volumes: &[&str], destroyed: &[(u64, &str)]) {
    let update = event::UpdateResources {
        version: Some(version),
        resources: volumes.iter().map(|id| volume(id)).collect(),
        destroyed: destroyed
            .iter()
            .map(|(version, id)| DestroyedVolume {
                version: Some(*version),
                role: Some("web/api".to_owned()),
                persistence_id: Some((*id).to_owned()),
            })
            .collect(),
    };
    rig.event(event::Type::UpdateResources, |event| event.update_resources = Some(update));
}

/// What was to be done with folders since the last look: destroyed, then created.
fn folders(rig: &mut Rig) -> Vec<(Vec<VolumeName>, Vec<VolumeName>)> {
    let effects = std::mem::take(&mut rig.effects);
    let folders = effects.into_iter().filter_map(|effect| match effect {
        Effect::Volumes { destroy, create } => Some((destroy, create)),
        _ => None,
    });
    folders.collect()
}

/// Versions that were confirmed since the last look.
fn confirmed(rig: &mut Rig) -> Vec<u64> {
    let sent = std::mem::take(&mut rig.sent);
    let confirmed = sent.into_iter().filter(|call| call.r#type() == call::Type::ResourcesAccepted);
    confirmed.map(|call| call.resources_version()).collect()
}

#[test]
fn a_version_is_confirmed_when_it_is_durable_and_done_once() {
    let mut rig = Rig::registered();
    rig.slow_disk = true;
    update(&mut rig, 1, &["one", "two"], &[]);
    assert_eq!(folders(&mut rig), [(vec![], vec![name("one"), name("two")])]);
    assert_eq!(confirmed(&mut rig), [] as [u64; 0]);
    rig.sync(usize::MAX);
    assert_eq!(confirmed(&mut rig), [1]);
    update(&mut rig, 1, &["one", "two"], &[(1, "one")]);
    assert_eq!(folders(&mut rig), [], "what is done is not done again, least of all destroyed");
    assert_eq!(confirmed(&mut rig), [1]);
}

#[test]
fn a_volume_that_was_destroyed_and_made_again_is_empty() {
    let mut rig = Rig::registered();
    update(&mut rig, 1, &["one", "two"], &[]);
    folders(&mut rig);
    update(&mut rig, 4, &["one", "two"], &[(2, "one"), (1, "two")]);
    assert_eq!(folders(&mut rig), [(vec![name("one")], vec![name("one")])], "the other one was before");
}

#[test]
fn a_volume_that_the_cluster_forgot_stays_and_is_named() {
    let mut rig = Rig::registered();
    update(&mut rig, 1, &["one", "two"], &[]);
    folders(&mut rig);
    update(&mut rig, 5, &["two"], &[]);
    assert_eq!(folders(&mut rig), [], "nothing is removed that nobody named");
    assert_eq!(rig.agent.orphaned_volumes(), [volume("one")]);
    rig.restart(vec![]);
    rig.register();
    let register = rig.last_register();
    assert_eq!(register.orphaned_volumes, [volume("one")]);
    assert_eq!((register.resources, register.resources_version), (vec![volume("two")], Some(5)));
    // A volume of its name takes it over, as it is.
    update(&mut rig, 6, &["one", "two"], &[]);
    assert_eq!(folders(&mut rig), [(vec![], vec![name("one")])]);
    assert_eq!(rig.agent.orphaned_volumes(), []);
    update(&mut rig, 7, &["two"], &[(7, "one")]);
    assert_eq!(folders(&mut rig), [(vec![name("one")], vec![])]);
    assert_eq!(rig.agent.orphaned_volumes(), []);
    let mut folded = tepui_agent_core::checkpoint::State::default();
    for record in rig.disk.records() {
        folded.apply(&record);
    }
    assert_eq!(folded, rig.disk, "the shortest checkpoint holds it");
}

#[test]
fn names_that_are_no_names_lead_nowhere() {
    let mut rig = Rig::registered();
    update(&mut rig, 1, &["..", "a/b", "fine"], &[(1, "../../etc")]);
    assert_eq!(folders(&mut rig), [(vec![], vec![name("fine")])]);
}
