//! Flaws of operations, one by one.

use super::*;
use crate::testing::{create, grow, reserved, resources, volume};

fn operator(operation: &Operation) -> Result<CheckedOperation, String> {
    super::operation(operation, Asker::Operator { principal: None }).map_err(|rejection| rejection.reason)
}

#[test]
fn volumes_are_refused_for_every_flaw() {
    let with = |change: &dyn Fn(&mut Resource)| {
        let mut one = volume(10, "web", "v");
        change(&mut one);
        operator(&create(vec![one]))
    };
    assert!(with(&|_| {}).is_ok());
    let disk = |one: &mut Resource| one.disk.clone().unwrap();
    let reason = |result: Result<CheckedOperation, String>| result.unwrap_err();
    assert!(reason(with(&|one| one.disk = None)).contains("disk.persistence"));
    assert!(
        reason(with(&|one| {
            let mut disk = disk(one);
            disk.persistence.as_mut().unwrap().id = Some("a/b".to_owned());
            one.disk = Some(disk);
        }))
        .contains("disk.persistence.id")
    );
    assert!(
        reason(with(&|one| {
            let mut disk = disk(one);
            disk.volume = None;
            one.disk = Some(disk);
        }))
        .contains("disk.volume")
    );
    assert!(
        reason(with(&|one| {
            let mut disk = disk(one);
            disk.volume.as_mut().unwrap().host_path = Some("/etc".to_owned());
            one.disk = Some(disk);
        }))
        .contains("host_path")
    );
    assert!(
        reason(with(&|one| one.revocable = Some(tepui_proto::v1::resource::RevocableInfo {})))
            .contains("revocable")
    );
    let twice = create(vec![volume(10, "web", "v"), volume(20, "web", "v")]);
    assert!(reason(operator(&twice)).contains("twice"));
}

#[test]
fn a_mount_disk_is_whole_and_cannot_grow() {
    use disk_info::{Source, source};
    let mut mount = volume(10, "web", "v");
    let source = Source { r#type: Some(source::Type::Mount as i32), ..Default::default() };
    mount.disk.as_mut().unwrap().source = Some(source);
    let mut more = reserved("disk:5", &["web"]).remove(0);
    more.disk = without_volume(&mount).disk;
    let reason = operator(&grow(mount, more)).unwrap_err();
    assert!(reason.contains("resized"), "{reason}");
}

#[test]
fn agents_bring_nothing_that_operations_make() {
    assert!(own_resources("r", &resources("cpus:1;cpus(web):2")).is_ok());
    assert!(own_resources("r", &reserved("cpus:1", &["web"])).unwrap_err().reason.contains("'r'"));
    assert!(own_resources("r", &[volume(1, "web", "v")]).is_err());
}
