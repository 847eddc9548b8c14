//! Bytes: everything survives, nothing foreign is believed, nothing panics.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::registry::{
    Checkpoint, CodecError, RaiseLevel, Refound, StateHash, decode_envelope, encode_envelope,
};
use crate::testing::driver_spec;

fn full() -> Registry {
    let mut story = Story::new();
    for agent in ["a", "b", "c"] {
        story.agent(agent, "cpus:8;disk:50;ports:[1-5]");
    }
    for framework in ["f", "g"] {
        story.framework(framework);
    }
    story.launch("f", "a", &[("t", "cpus:1"), ("u", "cpus:1;ports:[1-2]")]);
    story.launch("g", "b", &[("t", "cpus:2")]);
    story.apply(Operation::Launch(Launch {
        framework_id: "f".to_owned(),
        agent_id: "b".to_owned(),
        tasks: vec![super::executors::executor_item("f", "b", "x", "e")],
    }));
    story.status("f", "t", TaskState::TaskFinished, b"");
    story.status("f", "u", TaskState::TaskRunning, b"1");
    let reason = String::new();
    story.apply(Operation::RemoveFramework(RemoveFramework { framework_id: "g".to_owned(), reason }));
    let reason = String::new();
    story.apply(Operation::RemoveAgent(RemoveAgent { agent_id: "c".to_owned(), reason }));
    story.apply(Operation::SubmitDriver(SubmitDriver { spec: Some(driver_spec("d", "cpus:1")) }));
    let item = item(crate::ids::DRIVERS_FRAMEWORK, "b", "d.g1", "cpus:1");
    story.apply(Operation::LaunchDriver(LaunchDriver {
        name: "d".to_owned(),
        generation: 1,
        agent_id: "b".to_owned(),
        item: Some(item),
        ..Default::default()
    }));
    story.apply(Operation::StateCas(StateCas {
        scope: "d".to_owned(),
        key: "k".to_owned(),
        generation: 1,
        value: "v".into(),
        ..Default::default()
    }));
    assert_eq!(story.registry.registers.len(), 1);
    // Reservations, a destroyed volume, an orphan, and an operation that nobody has acknowledged.
    let volume = crate::testing::volume(20, "web", "v");
    let reported = crate::registry::OperationRecord {
        framework_id: "f".to_owned(),
        agent_id: "a".to_owned(),
        info: Some(crate::testing::named("o", crate::testing::reserve(Vec::new()))),
        uuid: "u".into(),
        status: Some(v1::OperationStatus { state: Some(2), ..Default::default() }),
    };
    let disk = || resources("disk:20");
    let steps = [
        (disk(), vec![volume.clone()], None),
        (vec![volume], disk(), None),
        (resources("cpus:1"), crate::testing::reserved("cpus:1", &["web"]), Some(Box::new(reported))),
    ];
    let steps = steps.map(|(consumed, converted, operation)| OperateStep {
        step: Some(operate_step::Step::Convert(Convert { consumed, converted, operation })),
    });
    let (framework_id, agent_id) = ("f".to_owned(), "a".to_owned());
    story.apply(Operation::Operate(Operate { framework_id, agent_id, steps: steps.to_vec() }));
    assert_eq!(story.registry.operations.len(), 1);
    assert_eq!(story.registry.agents["a"].destroyed.len(), 1);
    story.apply(Operation::DrainAgent(DrainAgent {
        agent_id: "b".to_owned(),
        max_grace_ms: Some(1_000),
        mark_gone: true,
    }));
    let machine = |name: &str| v1::MachineId { hostname: Some(name.to_owned()), ip: None };
    let window = v1::maintenance::Window {
        machine_ids: vec![machine("x"), machine("y")],
        unavailability: Some(v1::Unavailability {
            start: Some(v1::TimeInfo { nanoseconds: Some(3) }),
            duration: Some(v1::DurationInfo { nanoseconds: Some(4) }),
        }),
    };
    let schedule = Some(v1::maintenance::Schedule { windows: vec![window] });
    story.apply(Operation::UpdateSchedule(UpdateSchedule { schedule }));
    story.apply(Operation::StartMaintenance(StartMaintenance { machines: vec![machine("x")] }));
    story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: "a".to_owned() }));
    assert_eq!((story.registry.machines.len(), story.registry.unreachable.len()), (2, 1));
    let weights = vec![WeightRecord { role: "a/b".to_owned(), weight: 2.5 }];
    story.apply(Operation::SetWeights(SetWeights { weights }));
    let amounts = |cpus| std::collections::BTreeMap::from([("cpus".to_owned(), cpus)]);
    let quota = QuotaRecord { role: "a".to_owned(), guarantees: amounts(1_000), limits: amounts(2_000) };
    story.apply(Operation::SetQuotas(SetQuotas { quotas: vec![quota], capacity: None }));
    assert_eq!((story.registry.weights.len(), story.registry.quotas.len()), (1, 1));
    story.apply(Operation::RaiseLevel(RaiseLevel { level: 3 }));
    story.apply(Operation::Refound(Refound { cluster_id: "next".to_owned() }));
    assert_eq!(story.registry.former_clusters.len(), 1);
    story.apply(Operation::Checkpoint(Checkpoint { of: 3, ..Default::default() }));
    assert_eq!(story.registry.checkpoint, 1);
    story.registry
}

fn snapshot(registry: &Registry) -> Vec<u8> {
    let mut bytes = Vec::new();
    registry.write_snapshot(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Registry, CodecError> {
    Registry::read_snapshot(&mut &*bytes)
}

#[test]
fn a_snapshot_holds_everything() {
    let registry = full();
    let bytes = snapshot(&registry);
    let restored = read(&bytes).unwrap();
    assert_eq!(restored, registry, "derived tables included");
    restored.check_invariants();
    assert_eq!(snapshot(&restored), bytes);
    assert_eq!(read(&snapshot(&Registry::default())).unwrap(), Registry::default());
}

#[test]
fn a_snapshot_of_another_state_than_it_says_is_refused() {
    let registry = full();
    let mut bytes = snapshot(&registry);
    let hash = StateHash::of(&registry).digest().0;
    let place = bytes.windows(32).rposition(|window| window == hash).expect("the hash is in it");
    bytes[place] ^= 1;
    // Whoever wrote it meant it: the checksum of the bytes is right.
    let end = bytes.len() - 32;
    let checksum = crate::digest::sha256(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum);
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, CodecError::WrongState { .. }), "{error}");
}

#[test]
fn every_table_shows_in_the_hash() {
    let registry = full();
    let digest = |registry: &Registry| StateHash::of(registry).digest();
    type Edit = fn(&mut Registry);
    let emptied: [(&str, Edit); 18] = [
        ("cluster id", |one| one.cluster_id = "other".into()),
        ("epoch", |one| one.epoch += 1),
        ("cluster time", |one| one.cluster_ms += 1),
        ("wall clock", |one| one.wall_ms += 1),
        ("checkpoint", |one| one.checkpoint += 1),
        ("leader", |one| one.leader = Some(std::sync::Arc::default())),
        ("agents", |one| one.agents.clear()),
        ("gone agents", |one| one.gone_agents.clear()),
        ("frameworks", |one| one.frameworks.clear()),
        ("completed frameworks", |one| one.completed_frameworks.clear()),
        ("tasks", |one| one.tasks.clear()),
        ("executors", |one| one.executors.clear()),
        ("history", |one| one.history.clear()),
        ("drivers", |one| one.drivers.clear()),
        ("registers", |one| one.registers.clear()),
        ("operations", |one| one.operations.clear()),
        ("maintenance", |one| one.maintenance = std::sync::Arc::default()),
        ("weights and quotas", |one| {
            one.weights.clear();
            one.quotas.clear();
        }),
    ];
    for (what, empty) in emptied {
        let mut other = registry.clone();
        empty(&mut other);
        assert_ne!(digest(&other), digest(&registry), "{what}");
        let mut rolling = StateHash::of(&registry);
        rolling.advance(&other);
        assert_eq!(rolling.digest(), digest(&other), "{what}");
        rolling.advance(&registry);
        assert_eq!(rolling.digest(), digest(&registry), "{what}");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = snapshot(&full());
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).expect_err("cut short");
        assert!(matches!(error, CodecError::Truncated { .. }), "{length}: {error}");
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    let bytes = snapshot(&full());
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x41;
        assert!(read(&damaged).is_err(), "byte {place}");
    }
}

#[test]
fn damage_is_named_with_its_place() {
    let bytes = snapshot(&full());
    let say = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(say(b"not a snapshot"), "snapshot does not begin with its mark");
    let mut newer = bytes.clone();
    newer[8..12].copy_from_slice(&7_u32.to_be_bytes());
    assert_eq!(say(&newer), "format 7 is not known, only 1 is");
    let mut unknown = bytes.clone();
    unknown[12] = 200;
    assert_eq!(say(&unknown), "snapshot record 0 at byte 12 has the unknown kind 200");
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(say(&longer), format!("snapshot goes on behind its trailer at byte {}", bytes.len()));
    let mut hash = bytes.clone();
    *hash.last_mut().unwrap() ^= 1;
    assert_eq!(say(&hash), format!("snapshot's checksum does not match its {} bytes", bytes.len() - 32));
    let mut length = bytes.clone();
    length[13..17].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(say(&length).starts_with("snapshot ends within a record at byte"), "{}", say(&length));
}

#[test]
fn envelopes_survive() {
    let tick = Envelope {
        epoch: 3,
        cluster_ms: 7,
        wall_ms: 8,
        proposal: 9,
        node_id: 2,
        operation: Some(Operation::Tick(Tick {})),
    };
    let bytes = encode_envelope(&tick);
    assert_eq!(bytes[..4], [0, 0, 0, 1], "the format comes first");
    assert_eq!(decode_envelope(bytes.clone()).unwrap(), tick);
    let mut newer = bytes.to_vec();
    newer[3] = 2;
    let error = decode_envelope(newer.into()).unwrap_err();
    assert_eq!(error.to_string(), "format 2 is not known, only 1 is");
    let error = decode_envelope(Bytes::from_static(&[0, 0])).unwrap_err();
    assert_eq!(error.to_string(), "envelope of 2 bytes is too short");
    let error = decode_envelope(Bytes::from_static(&[0, 0, 0, 1, 0xff])).unwrap_err();
    assert!(error.to_string().starts_with("decode envelope:"), "{error}");
    // Number 9999 with two bytes behind it: what a build of the future may write.
    let newer = Bytes::from_static(&[0, 0, 0, 1, 0x10, 3, 0xfa, 0xf0, 0x04, 2, 8, 1]);
    let error = decode_envelope(newer).unwrap_err();
    assert_eq!(error.to_string(), "the operation of this envelope is not known: a newer build wrote it");
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut envelope = vec![0, 0, 0, 1];
        envelope.extend_from_slice(&bytes);
        if let Ok(envelope) = decode_envelope(envelope.into()) {
            // Whatever can be decoded can be applied.
            let mut registry = full();
            registry.apply(&Envelope { epoch: registry.epoch, ..envelope });
            registry.check_invariants();
        }
        let mut snapshot = b"TEPUIREG\0\0\0\x01".to_vec();
        snapshot.extend_from_slice(&bytes);
        prop_assert!(read(&snapshot).is_err());
    }
}
