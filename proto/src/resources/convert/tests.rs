//! The rules of `from_proto`, each broken once, and both forms of reservations.

use serde_json::{Value, json};

use super::*;

fn list(json: &Value) -> Vec<Resource> {
    serde_json::from_value(json.clone()).unwrap()
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

fn with(mut resource: Value, key: &str, value: Value) -> Value {
    resource[key] = value;
    resource
}

#[test]
fn broken_rules_are_named() {
    let dynamic = |role: &str| json!({"type": "DYNAMIC", "role": role});
    let disk = |source: Value| with(scalar("disk", 1.0), "disk", json!({ "source": source }));
    let cases = [
        (json!({"type": "SCALAR", "scalar": {"value": 1}}), Problem::NoName),
        (with(scalar("", 1.0), "name", json!("")), Problem::NoName),
        (json!({"name": "x", "scalar": {"value": 1}}), Problem::NoType),
        (json!({"name": "x", "type": "TEXT"}), Problem::NoType),
        (json!({"name": "x", "type": "SCALAR"}), Problem::WrongValue),
        (json!({"name": "x", "type": "SCALAR", "scalar": {}}), Problem::WrongValue),
        (with(scalar("x", 1.0), "set", json!({"item": ["a"]})), Problem::WrongValue),
        (with(scalar("x", 1.0), "type", json!("SET")), Problem::WrongValue),
        (scalar("cpus", -0.001), Problem::BadScalar),
        (with(scalar("x", 1.0), "scalar", json!({"value": "Infinity"})), Problem::BadScalar),
        (with(scalar("x", 1.0), "scalar", json!({"value": "NaN"})), Problem::BadScalar),
        (scalar("cpus", 1e15), Problem::BadScalar),
        (scalar("cpus", 0.0004), Problem::TooSmall),
        (scalar("gpus", 0.5), Problem::PartOfGpu),
        (
            json!({"name": "p", "type": "RANGES", "ranges": {"range": [{"begin": 2, "end": 1}]}}),
            Problem::BadRange,
        ),
        (json!({"name": "p", "type": "RANGES", "ranges": {"range": [{"begin": 2}]}}), Problem::BadRange),
        (
            json!({"name": "p", "type": "RANGES", "ranges": {"range": [{"begin": 5, "end": 9}, {"begin": 1, "end": 5}]}}),
            Problem::OverlappingRanges,
        ),
        (json!({"name": "s", "type": "SET", "set": {"item": ["a", "a"]}}), Problem::DuplicateInSet),
        (
            with(with(scalar("cpus", 1.0), "role", json!("web")), "reservations", json!([dynamic("web")])),
            Problem::TwoReservationForms,
        ),
        (with(scalar("cpus", 1.0), "reservation", json!({})), Problem::ReservedForNobody),
        (with(scalar("cpus", 1.0), "reservations", json!([dynamic("*")])), Problem::ReservedForNobody),
        (with(scalar("cpus", 1.0), "role", json!("")), Problem::BadRole(crate::role::RoleError::Empty)),
        (with(scalar("cpus", 1.0), "reservations", json!([{"role": "a"}])), Problem::IncompleteReservation),
        (
            with(scalar("cpus", 1.0), "reservations", json!([{"type": "STATIC"}])),
            Problem::IncompleteReservation,
        ),
        (
            with(
                scalar("cpus", 1.0),
                "reservations",
                json!([dynamic("a"), {"type": "STATIC", "role": "a/b"}]),
            ),
            Problem::StaticRefinement,
        ),
        (
            with(scalar("cpus", 1.0), "reservations", json!([dynamic("a"), dynamic("b")])),
            Problem::NotASubrole("a".into()),
        ),
        (
            with(with(scalar("cpus", 1.0), "role", json!("a")), "reservation", json!({"type": "DYNAMIC"})),
            Problem::MixedReservation,
        ),
        (
            with(with(scalar("cpus", 1.0), "role", json!("a")), "reservation", json!({"role": "a"})),
            Problem::MixedReservation,
        ),
        (
            with(scalar("cpus", 1.0), "reservations", json!([dynamic("a"), dynamic("a")])),
            Problem::NotASubrole("a".into()),
        ),
        (
            with(scalar("cpus", 1.0), "reservations", json!([dynamic("a"), dynamic("a/b"), dynamic("a/c")])),
            Problem::NotASubrole("a/b".into()),
        ),
        (
            with(scalar("cpus", 1.0), "reservations", json!([dynamic("a"), dynamic("a/b"), dynamic("a")])),
            Problem::NotASubrole("a/b".into()),
        ),
        (
            with(scalar("cpus", 1.0), "reservations", json!([dynamic("a"), dynamic("ab")])),
            Problem::NotASubrole("a".into()),
        ),
        (
            with(scalar("cpus", 1.0), "reservations", json!([dynamic("a"), dynamic("*")])),
            Problem::ReservedForNobody,
        ),
        (
            with(with(scalar("cpus", 1.0), "reservation", json!({})), "reservations", json!([dynamic("a")])),
            Problem::TwoReservationForms,
        ),
        (disk(json!({"type": "RAW", "path": {"root": "/a"}})), Problem::BadDiskSource),
        (disk(json!({"type": "BLOCK", "mount": {"root": "/a"}})), Problem::BadDiskSource),
        (disk(json!({"type": "UNKNOWN"})), Problem::BadDiskSource),
        (with(scalar("mem", 1.0), "disk", json!({})), Problem::NotADisk),
        (with(scalar("disk", 1.0), "shared", json!({})), Problem::NotShareable),
    ];
    for (resource, problem) in cases {
        let error = Resources::from_proto(&list(&json!([scalar("ok", 1.0), resource]))).unwrap_err();
        assert_eq!((error.index, &error.problem), (1, &problem), "{resource}");
    }
}

#[test]
fn zero_means_nothing_and_adjacent_ports_are_fine() {
    let ports: Vec<Value> =
        (0..100).map(|port| json!({"begin": 31_000 + port, "end": 31_000 + port})).collect();
    let resources = Resources::from_proto(&list(&json!([
        scalar("gpus", 0.0),
        {"name": "ports", "type": "RANGES", "ranges": {"range": ports}},
    ])))
    .unwrap();
    assert_eq!(resources.to_string(), "ports:[31000-31099]");
    assert_eq!(resources.ports().count(), 100);
}

#[test]
fn both_forms_of_a_reservation_are_one_thing() {
    let labels = json!({"labels": [{"key": "b"}, {"key": "a", "value": "1"}]});
    let sorted = json!({"labels": [{"key": "a", "value": "1"}, {"key": "b"}]});
    let pairs = [
        (scalar("cpus", 1.0), with(scalar("cpus", 1.0), "role", json!("*"))),
        (
            with(scalar("cpus", 1.0), "reservations", json!([{"type": "STATIC", "role": "web"}])),
            with(scalar("cpus", 1.0), "role", json!("web")),
        ),
        (
            with(
                scalar("cpus", 1.0),
                "reservations",
                json!([{"principal": "p", "labels": sorted, "role": "web", "type": "DYNAMIC"}]),
            ),
            with(
                with(scalar("cpus", 1.0), "role", json!("web")),
                "reservation",
                json!({"principal": "p", "labels": labels}),
            ),
        ),
    ];
    for (new, old) in pairs {
        let (new, old) = (list(&json!([new])), list(&json!([old])));
        let resources = Resources::from_proto(&new).unwrap();
        assert_eq!(Resources::from_proto(&old).unwrap(), resources);
        assert_eq!(resources.to_proto(), new);
        let single = resources.to_proto_in(ReservationFormat::Single);
        assert_eq!(Resources::from_proto(&single).unwrap(), resources);
        assert!(single[0].reservations.is_empty() && single[0].role.is_some());
    }
    let refined = json!([with(
        scalar("cpus", 1.0),
        "reservations",
        json!([{"role": "a", "type": "STATIC"}, {"role": "a/b", "type": "DYNAMIC"}])
    )]);
    let refined = list(&refined);
    assert_eq!(Resources::from_proto(&refined).unwrap().to_proto_in(ReservationFormat::Single), refined);
}

#[test]
fn different_things_do_not_mix() {
    let all = json!([
        scalar("disk", 10.0),
        with(scalar("disk", 10.0), "allocation_info", json!({"role": "web"})),
        with(scalar("disk", 10.0), "revocable", json!({})),
        with(scalar("disk", 10.0), "provider_id", json!({"value": "p"})),
        with(scalar("disk", 10.0), "reservations", json!([{"role": "a", "type": "STATIC"}])),
        with(scalar("disk", 10.0), "disk", json!({"source": {"type": "PATH", "path": {"root": "/a"}}})),
        with(scalar("disk", 10.0), "disk", json!({"source": {"type": "MOUNT", "mount": {"root": "/b"}}})),
    ]);
    let all = list(&all);
    let resources = Resources::from_proto(&all).unwrap();
    assert_eq!(resources.to_proto().len(), all.len());
    assert_eq!(resources.scalar("disk"), Millis(70_000));
    for one in &all {
        let one = Resources::from_proto(std::slice::from_ref(one)).unwrap();
        let rest = resources.checked_sub(&one).unwrap();
        assert!(!rest.contains(&one));
        assert_eq!(rest + &one, resources);
    }
}

#[test]
fn whole_disks_and_volumes_are_not_divided() {
    let volume = |size: f64, shared: bool| {
        let disk = json!({"persistence": {"id": "v"}, "volume": {"container_path": "d", "mode": "RW"}});
        let role = with(with(scalar("disk", size), "disk", disk), "role", json!("db"));
        let json = if shared { with(role, "shared", json!({})) } else { role };
        Resources::from_proto(&list(&json!([json]))).unwrap()
    };
    let whole = volume(10.0, false);
    assert!(whole.contains(&whole));
    assert!(!whole.contains(&volume(5.0, false)));
    assert_eq!(whole.checked_sub(&volume(5.0, false)), None);
    assert!(whole.checked_sub(&whole).unwrap().is_empty());

    let copies = volume(10.0, true) + &volume(10.0, true);
    assert_eq!(copies.to_proto().len(), 2);
    assert_eq!(copies.checked_sub(&volume(10.0, true)), Some(volume(10.0, true)));
    assert_eq!(copies.to_string(), "disk(db)[v]{SHARED}:2x10");
}

#[test]
fn allocation_and_reservation() {
    let plain = Resources::parse("cpus:2;cpus(web):1;cpus(web/api):1;cpus(db):1").unwrap();
    let allocated = plain.allocate("web");
    assert_eq!(allocated.allocation_roles(), BTreeSet::from([Some("web")]));
    assert!(!plain.contains(&allocated));
    assert_eq!(allocated.unallocated(), plain);
    assert_eq!(allocated.to_proto()[0].allocation_info.as_ref().unwrap().role(), "web");
    assert_eq!(plain.allocatable_to("web").scalar("cpus"), Millis(3000));
    assert_eq!(plain.allocatable_to("web/api/x").scalar("cpus"), Millis(4000));
    assert_eq!(plain.allocatable_to("other"), plain.unreserved());
    assert_eq!(plain.reserved_for("db").to_string(), "cpus(db):1");
    let reservation = Reservation {
        kind: ReservationKind::Dynamic,
        role: "web".into(),
        principal: None,
        labels: Vec::new(),
    };
    assert_eq!(plain.unreserved().reserve(&reservation).to_string(), "cpus(web, dynamic):2");
}

#[test]
fn a_stack_grows_by_a_stricter_role_each_time() {
    let level = |kind: &str, role: &str| json!({"type": kind, "role": role, "principal": "p"});
    let stack = json!([level("STATIC", "a"), level("DYNAMIC", "a/b"), level("DYNAMIC", "a/b/c")]);
    let whole = list(&json!([with(scalar("cpus", 1.0), "reservations", stack)]));
    let resources = Resources::from_proto(&whole).unwrap();
    let (identity, _) = resources.iter().next().unwrap();
    assert!(identity.is_refined() && identity.is_dynamically_reserved());
    assert_eq!(identity.reservation_role(), Some("a/b/c"));
    assert_eq!(resources.to_proto(), whole);
    // A stack that differs anywhere is another resource.
    let other = json!([level("STATIC", "a"), level("DYNAMIC", "a/x"), level("DYNAMIC", "a/x/c")]);
    let other = list(&json!([with(scalar("cpus", 1.0), "reservations", other)]));
    assert!(!resources.contains(&Resources::from_proto(&other).unwrap()));
}

#[test]
fn one_that_is_below_half_a_thousandth_is_nothing_and_from_there_on_it_is_one() {
    let read = |value: f64| Resources::from_proto(&list(&json!([scalar("x", value)])));
    for (value, millis) in [
        (0.0, 0),
        (-0.0, 0),
        (0.0005, 1),
        (0.001_499, 1),
        (0.0015, 2),
        (0.1 + 0.2, 300),
        (1e12, 1_000_000_000_000_000),
    ] {
        assert_eq!(read(value).unwrap().scalar("x"), Millis(millis), "{value}");
    }
    for bad in [0.000_499_999, 5e-324, -0.0004, -1.0, 1.1e12, f64::MAX] {
        assert!(read(bad).is_err(), "{bad}");
    }
    // Whole GPUs in thousandths: what rounds to a whole one is one.
    let gpus = |value: f64| Resources::from_proto(&list(&json!([scalar("gpus", value)])));
    assert_eq!(gpus(2.0).unwrap().scalar("gpus"), Millis(2000));
    assert_eq!(gpus(1.000_4).unwrap().scalar("gpus"), Millis(1000));
    assert_eq!(gpus(1.001).unwrap_err().problem, Problem::PartOfGpu);
}

#[test]
fn ranges_and_sets_may_overlap_in_two_resources_but_not_in_one() {
    let range = |begin: u64, end: u64| json!({"begin": begin, "end": end});
    let ports = |ranges: Value| json!({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}});
    let set = |items: Value| json!({"name": "zones", "type": "SET", "set": {"item": items}});
    let sum = list(&json!([
        ports(json!([range(8, 9), range(1, 3), range(4, 4)])),
        ports(json!([range(3, 6)])),
        set(json!(["a", "b"])),
        set(json!(["b", "c"])),
    ]));
    assert_eq!(Resources::from_proto(&sum).unwrap().to_string(), "ports:[1-6, 8-9];zones:{a, b, c}");
    for bad in [
        ports(json!([range(1, 3), range(3, 3)])),
        ports(json!([range(1, 9), range(2, 3)])),
        ports(json!([range(1, 1), range(1, 1)])),
        set(json!(["a", "b", "a"])),
    ] {
        assert!(Resources::from_proto(&list(&json!([bad]))).is_err(), "{bad}");
    }
    let last = ports(json!([range(u64::MAX, u64::MAX), range(0, u64::MAX - 1)]));
    assert_eq!(Resources::from_proto(&list(&json!([last]))).unwrap().ports().iter().count(), 1);
}

#[test]
fn disks_are_divided_as_their_source_allows() {
    let of = |source: Value, size: f64| {
        let one = with(scalar("disk", size), "disk", json!({ "source": source }));
        Resources::from_proto(&list(&json!([one]))).unwrap()
    };
    let path = json!({"type": "PATH", "path": {"root": "/a"}});
    let named = json!({"type": "PATH", "path": {"root": "/a"}, "id": "i"});
    let pool = json!({"type": "RAW", "profile": "fast"});
    for source in [path, named, pool] {
        let (whole, part) = (of(source.clone(), 10.0), of(source.clone(), 4.0));
        assert_eq!(whole.checked_sub(&part), Some(of(source, 6.0)));
    }
    let mount = json!({"type": "MOUNT", "mount": {"root": "/m"}});
    let block = json!({"type": "BLOCK", "id": "b"});
    let raw = json!({"type": "RAW", "id": "r", "profile": "fast"});
    for source in [mount, block, raw] {
        let (whole, part) = (of(source.clone(), 10.0), of(source.clone(), 4.0));
        assert_eq!(whole.checked_sub(&part), None, "{source}");
        assert_eq!((whole.clone() + &whole).to_proto().len(), 2, "{source}");
    }
}
