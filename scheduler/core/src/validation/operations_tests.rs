//! Flaws of operations, one by one.

use super::*;
use crate::testing::{create, destroy, grow, reserve, reserved, resources, shared, shrink, volume};

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
    for place in ["", ".", "/etc/x", "../../etc", "a/../../b"] {
        let refused = reason(with(&|one| {
            one.disk.as_mut().unwrap().volume.as_mut().unwrap().container_path = Some(place.to_owned());
        }));
        assert!(refused.contains("volume.container_path"), "{place}: {refused}");
    }
    // One that was made when this was not checked can be destroyed.
    let mut old = volume(10, "web", "v");
    old.disk.as_mut().unwrap().volume.as_mut().unwrap().container_path = Some("/etc/x".to_owned());
    assert!(operator(&destroy(vec![old])).is_ok());
    let twice = create(vec![volume(10, "web", "v"), volume(20, "web", "v")]);
    assert!(reason(operator(&twice)).contains("twice"));
}

/// A volume of ten megabytes on a disk of this kind, and five more of that disk.
fn on_source(kind: disk_info::source::Type) -> (Resource, Resource) {
    use disk_info::{Source, source};
    let mut volume = volume(10, "web", "v");
    let path = (kind == source::Type::Path).then(|| source::Path { root: Some("/a".to_owned()) });
    let source = Source { r#type: Some(kind as i32), path, ..Default::default() };
    volume.disk.as_mut().unwrap().source = Some(source);
    let mut more = reserved("disk:5", &["web"]).remove(0);
    more.disk = without_volume(&volume).disk;
    (volume, more)
}

#[test]
fn volumes_are_made_on_any_disk_and_resized_on_those_that_are_divided() {
    use disk_info::source::Type;
    for kind in [Type::Path, Type::Mount, Type::Block, Type::Raw] {
        let (volume, more) = on_source(kind);
        let made = operator(&create(vec![volume.clone()])).unwrap();
        assert_eq!(made.consumed[0].disk, more.disk, "the disk that it is made on stays");
        assert!(operator(&destroy(vec![volume.clone()])).is_ok());
        let results = [operator(&grow(volume.clone(), more)), operator(&shrink(volume, 1.0))];
        for result in results {
            assert_eq!(result.is_ok(), kind == Type::Path, "{result:?}");
            assert!(result.err().is_none_or(|reason| reason.contains("resized")));
        }
    }
}

#[test]
fn what_is_resized_is_a_volume_of_one_user_and_the_rest_of_its_disk() {
    let data = volume(10, "web", "v");
    let more = |text: &str, roles: &[&str]| reserved(text, roles).remove(0);
    let grown = operator(&grow(data.clone(), more("disk:5", &["web"]))).unwrap();
    assert!(!grown.usable, "later operations of the call cannot have it");
    assert_eq!(grown.converted, [volume(15, "web", "v")]);
    let shrunk = operator(&shrink(data.clone(), 4.0)).unwrap();
    assert!(!shrunk.usable);
    assert_eq!(shrunk.converted, [volume(6, "web", "v"), more("disk:4", &["web"])]);
    let none = Resource { scalar: Some(Scalar { value: Some(0.0) }), ..more("disk:1", &["web"]) };
    let both = shared(data.clone());
    let mut provided = data.clone();
    provided.provider_id = Some(tepui_proto::v1::ResourceProviderId { value: Some("p".to_owned()) });
    let mut revocable = more("disk:5", &["web"]);
    revocable.reservations.clear();
    revocable.revocable = Some(tepui_proto::v1::resource::RevocableInfo {});
    let flaws = [
        (grow(data.clone(), none), "empty"),
        (grow(data.clone(), more("disk:5", &["db"])), "kind and reservation"),
        (grow(data.clone(), more("disk:5", &["web", "web/a"])), "kind and reservation"),
        (grow(data.clone(), more("mem:5", &["web"])), "kind and reservation"),
        (grow(data.clone(), revocable), "kind and reservation"),
        (grow(more("disk:5", &["web"]), more("disk:5", &["web"])), "no volume"),
        (grow(both.clone(), more("disk:5", &["web"])), "shared"),
        (grow(provided.clone(), more("disk:5", &["web"])), "resource provider"),
        (shrink(data.clone(), 0.0), "not positive"),
        (shrink(data.clone(), -1.0), "not positive"),
        (shrink(data.clone(), 0.0004), "not positive"),
        (shrink(data.clone(), f64::NAN), "not positive"),
        (shrink(data.clone(), 10.0), "leaves nothing"),
        (shrink(data.clone(), 10.0004), "leaves nothing"),
        (shrink(data, 11.0), "leaves nothing"),
        (shrink(both, 1.0), "shared"),
        (shrink(provided, 1.0), "resource provider"),
    ];
    for (operation, words) in flaws {
        let reason = operator(&operation).unwrap_err();
        assert!(reason.contains(words), "{words}: {reason}");
    }
}

/// A framework of role `web` and this principal.
fn framework(principal: Option<&str>, capabilities: &[Capability]) -> FrameworkRecord {
    let mut info = crate::testing::framework_info("f");
    info.principal = principal.map(str::to_owned);
    let capability =
        |kind: &Capability| tepui_proto::v1::framework_info::Capability { r#type: Some(*kind as i32) };
    info.capabilities = capabilities.iter().map(capability).collect();
    FrameworkRecord { info: Some(info), ..Default::default() }
}

fn by(record: &FrameworkRecord, operation: &Operation) -> Result<CheckedOperation, String> {
    super::operation(operation, Asker::Framework { record, role: "web" }).map_err(|error| error.reason)
}

#[test]
fn frameworks_reserve_for_their_role_and_sign_with_their_name() {
    let all = [Capability::ReservationRefinement, Capability::SharedResources];
    let (nobody, me) = (framework(None, &all), framework(Some("me"), &all));
    let signed = |roles: &[&str], principal: Option<&str>| {
        let mut list = reserved("cpus:1", roles);
        list[0].reservations.last_mut().unwrap().principal = principal.map(str::to_owned);
        reserve(list)
    };
    assert!(by(&nobody, &signed(&["web"], None)).is_ok());
    assert!(by(&nobody, &signed(&["web"], Some("anybody"))).is_ok(), "nobody to compare with");
    assert!(by(&me, &signed(&["web"], Some("me"))).is_ok());
    assert!(by(&me, &signed(&["web"], None)).unwrap_err().contains("principal 'me'"));
    assert!(by(&me, &signed(&["web"], Some("you"))).unwrap_err().contains("'you'"));
    assert!(by(&nobody, &signed(&["*"], None)).unwrap_err().contains("'*'"));
    assert!(by(&nobody, &signed(&["db"], None)).unwrap_err().contains("role 'db'"));
    assert!(by(&nobody, &signed(&["web", "web/a"], None)).unwrap_err().contains("role 'web/a'"));
    assert!(by(&nobody, &signed(&["a", "web"], None)).unwrap_err().contains("below 'a'"));
    let mut elsewhere = signed(&["web"], None);
    elsewhere.reserve.as_mut().unwrap().resources[0].allocation_info =
        Some(tepui_proto::v1::resource::AllocationInfo { role: Some("db".to_owned()) });
    assert!(by(&nobody, &elsewhere).unwrap_err().contains("allocated to role 'db'"));
    assert!(operator(&elsewhere).unwrap_err().contains("allocated"));
    let mut over = signed(&["web"], None);
    over.reserve.as_mut().unwrap().source = reserved("cpus:1", &["web"]);
    assert!(by(&nobody, &over).unwrap_err().contains("'reserve.source'"));
    assert!(by(&nobody, &reserve(vec![volume(1, "web", "v")])).unwrap_err().contains("is a volume"));
    let fixed = resources("cpus(web):1");
    assert!(by(&nobody, &reserve(fixed.clone())).unwrap_err().contains("not dynamically reserved"));
    // Unreserved is what was dynamically reserved, whoever did it, and not a volume.
    let of_you = signed(&["web"], Some("you")).reserve.unwrap().resources;
    assert!(by(&me, &crate::testing::unreserve(of_you)).is_ok());
    for (list, words) in [
        (fixed, "not dynamically reserved"),
        (resources("cpus:1"), "not dynamically reserved"),
        (vec![volume(1, "web", "v")], "destroyed first"),
        (Vec::new(), "empty"),
    ] {
        let reason = by(&me, &crate::testing::unreserve(list)).unwrap_err();
        assert!(reason.contains(words), "{words}: {reason}");
    }
    // Without the capability nobody writes what he could not read.
    let old = framework(None, &[]);
    let refined = crate::testing::unreserve(reserved("cpus:1", &["a", "web"]));
    assert!(by(&old, &refined).is_err());
    let refined = crate::testing::unreserve(reserved("cpus:1", &["web", "web/a"]));
    assert!(by(&old, &refined).unwrap_err().contains("RESERVATION_REFINEMENT"));
    assert!(by(&nobody, &refined).is_ok());
}

#[test]
fn frameworks_sign_their_volumes_and_share_those_that_they_may() {
    let all = [Capability::SharedResources];
    let (me, old) = (framework(Some("me"), &all), framework(None, &[]));
    let signed = |principal: Option<&str>| {
        let mut one = volume(10, "web", "v");
        one.disk.as_mut().unwrap().persistence.as_mut().unwrap().principal = principal.map(str::to_owned);
        one
    };
    assert!(by(&me, &create(vec![signed(Some("me"))])).is_ok());
    assert!(by(&me, &create(vec![signed(None)])).unwrap_err().contains("principal 'me'"));
    assert!(by(&me, &create(vec![signed(Some("you"))])).unwrap_err().contains("'you'"));
    assert!(by(&old, &create(vec![signed(Some("you"))])).is_ok());
    assert!(by(&me, &create(vec![shared(signed(Some("me")))])).is_ok());
    assert!(by(&old, &create(vec![shared(signed(None))])).unwrap_err().contains("SHARED_RESOURCES"));
    let mut read_only = signed(None);
    read_only.disk.as_mut().unwrap().volume.as_mut().unwrap().mode =
        Some(tepui_proto::v1::volume::Mode::Ro as i32);
    assert!(by(&old, &create(vec![read_only.clone()])).unwrap_err().contains("not RW"));
    assert!(by(&old, &destroy(vec![read_only])).unwrap_err().contains("not RW"));
}

#[test]
fn agents_bring_nothing_that_operations_make() {
    assert!(own_resources("r", &resources("cpus:1;cpus(web):2")).is_ok());
    assert!(own_resources("r", &reserved("cpus:1", &["web"])).unwrap_err().reason.contains("'r'"));
    assert!(own_resources("r", &[volume(1, "web", "v")]).is_err());
}
