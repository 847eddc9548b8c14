//! Replicas that apply the same log are equal, whether or not one went through a snapshot; and nobody is over-allocated.

use proptest::prelude::*;
use tepui_proto::tepui::operator::DriverState;

use super::*;
use crate::ids::DRIVERS_FRAMEWORK;
use crate::registry::{Checkpoint, StateHash, decode_envelope, encode_envelope};
use crate::testing::{driver_spec, named, reserve, reserved, shared, volume};

const STATES: [TaskState; 6] = [
    TaskState::TaskRunning,
    TaskState::TaskKilling,
    TaskState::TaskFinished,
    TaskState::TaskFailed,
    TaskState::TaskDropped,
    TaskState::TaskGone,
];

fn name(prefix: &'static str, count: u8) -> impl Strategy<Value = String> {
    (0..count).prop_map(move |number| format!("{prefix}{number}"))
}

fn task_and_text() -> impl Strategy<Value = (String, String)> {
    let text = prop_oneof![
        Just("cpus:0.5"),
        Just("cpus:1;mem:10"),
        Just("cpus:2;ports:[1-2]"),
        Just("cpus:1;ports:[2-3]"),
        Just("mem:60"),
        Just("executor"),
    ];
    (name("t", 8), text.prop_map(str::to_owned))
}

fn agent(id: &str) -> Option<v1::AgentInfo> {
    let mut info = agent_info(id, "cpus:3;mem:100;disk:60;ports:[1-9]");
    info.id = Some(v1::AgentId { value: Some(id.to_owned()) });
    Some(info)
}

fn observation() -> impl Strategy<Value = Observed> {
    let uuid = prop_oneof![Just(&b""[..]), Just(&b"1"[..]), Just(&b"2"[..])];
    let task = prop_oneof![4 => name("t", 8), 1 => name("d0.g", 4)];
    let framework = prop_oneof![4 => name("f", 3), 1 => Just(DRIVERS_FRAMEWORK.to_owned())];
    let event = (framework, task, 0..STATES.len(), 0..STATES.len(), uuid, any::<bool>());
    let status = event.prop_map(|(framework_id, task, state, latest, uuid, told)| {
        if told {
            Observation::Status(ObservedStatus {
                framework_id,
                status: Some(status(&task, STATES[state], uuid)),
                latest_state: Some(STATES[latest] as i32),
            })
        } else {
            Observation::Acknowledged(ObservedAcknowledgement {
                framework_id,
                task_id: task,
                uuid: uuid.into(),
            })
        }
    });
    let accepted = (name("a", 3), 0_u64..20)
        .prop_map(|(agent_id, launch_seq)| Observation::Accepted(ObservedAccept { agent_id, launch_seq }));
    let resources = (name("a", 3), 0_u64..9)
        .prop_map(|(agent_id, version)| Observation::Resources(ObservedResources { agent_id, version }));
    let acknowledged = (name("f", 3), name("o", 3)).prop_map(|(framework_id, operation_id)| {
        let uuid = bytes::Bytes::new();
        Observation::OperationAcknowledged(ObservedOperationAcknowledgement {
            framework_id,
            operation_id,
            uuid,
        })
    });
    let exited = (name("a", 3), name("f", 3), name("e", 2), 0_u64..20).prop_map(
        |(agent_id, framework_id, executor_id, accepted_launch_seq)| {
            Observation::ExecutorExited(ObservedExecutorExit {
                agent_id,
                framework_id,
                executor_id,
                accepted_launch_seq,
            })
        },
    );
    prop_oneof![6 => status, 1 => accepted, 1 => resources, 1 => acknowledged, 1 => exited]
        .prop_map(|observation| Observed { observation: Some(observation) })
}

/// The word whole, or cut in two in the middle of its tasks.
fn word_or_more() -> impl Strategy<Value = Operation> {
    (word(), any::<bool>()).prop_map(|(operation, cut)| match operation {
        Operation::ReregisterAgent(word) if cut => Operation::ReregisterMore(ReregisterMore {
            agent_id: word.info.and_then(|info| info.id).map_or_else(String::new, |id| id.value().to_owned()),
            frameworks: word.frameworks,
            framework_grace_ms: word.framework_grace_ms,
            executors: word.executors,
            tasks: word.tasks,
        }),
        whole => whole,
    })
}

/// What an honest agent says: tasks that it may have been given. Its resources are checked when the test replays.
fn word() -> impl Strategy<Value = Operation> {
    let told = (name("f", 3), name("t", 8), 0..STATES.len());
    let held =
        prop::sample::select(vec![Vec::new(), vec![volume(40, "web", "v")], reserved("cpus:1", &["web"])]);
    let resources = (0_u64..6, held.clone(), held);
    (name("a", 3), prop::collection::vec(told, 0..4), 0_u64..10, resources).prop_map(
        |(id, told, accepted, has)| {
            let mut tasks: Vec<AgentTask> = Vec::new();
            for (framework, task, state) in told {
                tasks.push(AgentTask {
                    framework_id: Some(v1::FrameworkId { value: Some(framework) }),
                    // Without resources, so that what was never launched takes no room.
                    task: Some(v1::TaskInfo { resources: Vec::new(), ..info(&id, &task, "cpus:1") }),
                    launch_seq: Some(1),
                    state: Some(STATES[state] as i32),
                    ..Default::default()
                });
            }
            Operation::ReregisterAgent(ReregisterAgent {
                info: agent(&id),
                accepted_launch_seq: accepted,
                tasks,
                frameworks: vec![framework("f0")],
                framework_grace_ms: 10,
                resources_version: has.0,
                resources: has.1,
                orphaned_volumes: has.2,
                ..Default::default()
            })
        },
    )
}

fn launches() -> impl Strategy<Value = Operation> {
    let tasks = prop::collection::vec(task_and_text(), 1..4);
    (name("f", 3), name("a", 3), tasks).prop_map(|(framework_id, agent_id, tasks)| {
        let one = |(id, text): &(String, String)| match text.as_str() {
            // With an executor, in a group.
            "executor" => {
                let executor = format!("e{}", id.len() % 2);
                LaunchItem {
                    group: 1,
                    ..super::executors::executor_item(&framework_id, &agent_id, id, &executor)
                }
            }
            text => item(&framework_id, &agent_id, id, text),
        };
        let tasks = tasks.iter().map(one).collect();
        Operation::Launch(Launch { framework_id, agent_id, tasks })
    })
}

/// Reservations and volumes made, used and unmade, whether or not they are there.
fn conversions() -> impl Strategy<Value = Operation> {
    let shapes = vec![
        resources("cpus:1"),
        reserved("cpus:1", &["web"]),
        resources("disk:40"),
        vec![volume(40, "web", "v")],
        vec![shared(volume(40, "web", "s"))],
    ];
    let shape = prop::sample::select(shapes);
    let step = (shape.clone(), shape.clone(), any::<bool>(), name("o", 3));
    let step =
        step.prop_map(|(consumed, converted, reported, id)| (consumed, converted, reported.then_some(id)));
    (name("f", 3), name("a", 3), prop::collection::vec(step, 1..4), name("t", 8), shape).prop_map(
        |(framework_id, agent_id, conversions, task, needs)| {
            let mut steps = Vec::new();
            for (consumed, converted, id) in conversions {
                let operation = id.map(|id| {
                    Box::new(crate::registry::OperationRecord {
                        framework_id: framework_id.clone(),
                        agent_id: agent_id.clone(),
                        info: Some(named(&id, reserve(Vec::new()))),
                        status: Some(v1::OperationStatus { state: Some(2), ..Default::default() }),
                        ..Default::default()
                    })
                });
                steps.push(operate_step::Step::Convert(Convert { consumed, converted, operation }));
            }
            let mut one = item(&framework_id, &agent_id, &task, "cpus:1");
            one.task.as_mut().unwrap().resources = needs;
            let launch =
                Launch { framework_id: framework_id.clone(), agent_id: agent_id.clone(), tasks: vec![one] };
            steps.push(operate_step::Step::Launch(launch));
            let steps = steps.into_iter().map(|step| OperateStep { step: Some(step) }).collect();
            Operation::Operate(Operate { framework_id, agent_id, steps })
        },
    )
}

fn driver_operation() -> impl Strategy<Value = Operation> {
    let states = [DriverState::DriverRunning, DriverState::DriverBackoff, DriverState::DriverFinished];
    prop_oneof![
        Just(Operation::SubmitDriver(SubmitDriver { spec: Some(driver_spec("d0", "cpus:1")) })),
        (1_u64..5, name("a", 3)).prop_map(|(generation, agent_id)| {
            let task = format!("d0.g{generation}");
            Operation::LaunchDriver(LaunchDriver {
                name: "d0".to_owned(),
                generation,
                item: Some(item(DRIVERS_FRAMEWORK, &agent_id, &task, "cpus:1")),
                agent_id,
                ..Default::default()
            })
        }),
        (1_u64..5, 0..states.len(), any::<bool>()).prop_map(move |(generation, state, counted)| {
            Operation::ObserveDriver(ObserveDriver {
                name: "d0".to_owned(),
                generation,
                state: states[state] as i32,
                ended: Some(TaskState::TaskFailed as i32),
                counted,
                ..Default::default()
            })
        }),
        Just(Operation::KillDriver(KillDriver { name: "d0".to_owned(), grace_ms: None })),
        (0_u64..3, 1_u64..5).prop_map(|(expected_version, generation)| {
            Operation::StateCas(StateCas {
                scope: "d0".to_owned(),
                key: "k".to_owned(),
                expected_version,
                generation,
                value: format!("v{generation}").into(),
                ..Default::default()
            })
        }),
    ]
}

fn fleet_operation() -> impl Strategy<Value = Operation> {
    let machine = |name: String| v1::MachineId { hostname: Some(name), ip: None };
    let machines = || prop::collection::vec(name("a", 4), 0..3);
    let list = move |names: Vec<String>| names.into_iter().map(machine).collect::<Vec<_>>();
    let schedule = prop::collection::vec(machines(), 0..3).prop_map(move |windows| {
        let windows = windows.into_iter().map(|names| v1::maintenance::Window {
            machine_ids: list(names),
            unavailability: Some(v1::Unavailability {
                start: Some(v1::TimeInfo { nanoseconds: Some(1) }),
                duration: None,
            }),
        });
        let schedule = Some(v1::maintenance::Schedule { windows: windows.collect() });
        Operation::UpdateSchedule(UpdateSchedule { schedule })
    });
    prop_oneof![
        (name("a", 3), any::<bool>(), prop::option::of(0_u64..9)).prop_map(
            |(agent_id, mark_gone, max_grace_ms)| {
                Operation::DrainAgent(DrainAgent { agent_id, max_grace_ms, mark_gone })
            }
        ),
        name("a", 3).prop_map(|agent_id| Operation::DrainedAgent(DrainedAgent { agent_id })),
        (name("a", 3), any::<bool>())
            .prop_map(|(agent_id, active)| Operation::ActivateAgent(ActivateAgent { agent_id, active })),
        name("a", 9).prop_map(|agent_id| Operation::MarkGone(MarkGone { agent_id })),
        schedule,
        machines().prop_map(move |names| {
            Operation::StartMaintenance(StartMaintenance { machines: list(names) })
        }),
        machines()
            .prop_map(move |names| Operation::StopMaintenance(StopMaintenance { machines: list(names) })),
        (machines(), machines())
            .prop_map(|(unreachable, gone)| { Operation::PruneAgents(PruneAgents { unreachable, gone }) }),
    ]
}

fn setting() -> impl Strategy<Value = Operation> {
    let role = prop_oneof![Just("a"), Just("b"), Just("a/b"), Just("")];
    (role, 0_u64..4, 0_u64..4, any::<bool>()).prop_map(|(role, guarantee, limit, quota)| {
        let role = role.to_owned();
        if !quota {
            let weights = vec![WeightRecord { role, weight: guarantee as f64 }];
            return Operation::SetWeights(SetWeights { weights });
        }
        let amounts = |amount: u64| std::collections::BTreeMap::from([("cpus".to_owned(), amount)]);
        let quotas = vec![QuotaRecord { role, guarantees: amounts(guarantee), limits: amounts(limit) }];
        Operation::SetQuotas(SetQuotas { quotas, capacity: Some(Capacity { amounts: amounts(4) }) })
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => (1_u64..4).prop_map(|node_id| Operation::TakeLead(TakeLead { node_id, ..Default::default() })),
        1 => Just(Operation::Tick(Tick {})),
        2 => name("f", 3).prop_map(|id| Operation::AdmitFramework(AdmitFramework {
            info: Some(framework(&id)),
            ..Default::default()
        })),
        1 => (name("f", 3), any::<bool>()).prop_map(|(id, in_place)| Operation::UpdateFramework(UpdateFramework {
            info: Some(framework(&id)),
            in_place,
            ..Default::default()
        })),
        1 => (name("f", 3), any::<bool>()).prop_map(|(framework_id, suppressed)| {
            let roles = vec!["*".to_owned(), "unknown".to_owned()];
            Operation::SuppressRoles(SuppressRoles { framework_id, roles, suppressed })
        }),
        1 => name("f", 3).prop_map(|framework_id| Operation::DisconnectFramework(DisconnectFramework {
            framework_id,
            deadline_ms: 5,
        })),
        1 => name("f", 3).prop_map(|framework_id| Operation::RemoveFramework(RemoveFramework {
            framework_id,
            reason: String::new(),
        })),
        2 => name("a", 3).prop_map(|id| Operation::AdmitAgent(AdmitAgent { info: agent(&id), ..Default::default() })),
        3 => word_or_more(),
        1 => name("a", 3).prop_map(|agent_id| Operation::DisconnectAgent(DisconnectAgent { agent_id })),
        1 => name("a", 3).prop_map(|agent_id| Operation::MarkUnreachable(MarkUnreachable { agent_id })),
        1 => name("a", 9).prop_map(|agent_id| Operation::RemoveAgent(RemoveAgent {
            agent_id,
            reason: String::new(),
        })),
        3 => fleet_operation(),
        6 => launches(),
        1 => (name("f", 3), name("t", 8)).prop_map(|(framework_id, task_id)| Operation::MarkKill(MarkKill {
            framework_id,
            task_id,
            kill_policy: None,
        })),
        6 => prop::collection::vec(observation(), 1..5)
            .prop_map(|events| Operation::Observe(Observe { events })),
        4 => driver_operation(),
        1 => Just(Operation::Checkpoint(Checkpoint::default())),
        1 => setting(),
        6 => conversions(),
    ]
}

/// Agents that come back from being unreachable may bring more than fits by now; only then may the law of capacity break.
fn keeps_capacity(operation: &Operation) -> bool {
    !matches!(operation, Operation::ReregisterAgent(_) | Operation::ReregisterMore(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn replicas_end_equal(
        operations in prop::collection::vec((operation(), any::<bool>()), 1..120),
        cut in 0_usize..120,
    ) {
        let mut first = Registry::default();
        let mut second = Registry::default();
        let mut honest = true;
        let mut hash = StateHash::default();
        for (place, (operation, stale)) in operations.iter().enumerate() {
            let epoch = if *stale && place % 7 == 0 { first.epoch.wrapping_sub(1) } else { first.epoch };
            let envelope = Envelope {
                epoch,
                cluster_ms: place as u64 * 10,
                wall_ms: place as u64 * 1000,
                operation: Some(operation.clone()),
                ..Default::default()
            };
            let before = (first.epoch, first.cluster_ms);
            let one = first.apply(&envelope);
            let other = second.apply(&decode_envelope(encode_envelope(&envelope)).unwrap());
            prop_assert_eq!(&one, &other);
            prop_assert!(before.0 <= first.epoch && before.1 <= first.cluster_ms);
            first.check_invariants();
            if keeps_capacity(operation) {
                if honest {
                    first.check_capacity();
                }
            } else {
                honest = false;
            }
            if place == cut {
                let mut bytes = Vec::new();
                second.write_snapshot(&mut bytes).unwrap();
                second = Registry::read_snapshot(&mut bytes.as_slice()).unwrap();
            }
            prop_assert_eq!(&first, &second);
            if place % 3 == 0 {
                hash.advance(&second);
                prop_assert_eq!(hash.digest(), StateHash::of(&first).digest(), "kept up to date and anew");
            }
        }
        let mut bytes = (Vec::new(), Vec::new());
        first.write_snapshot(&mut bytes.0).unwrap();
        second.write_snapshot(&mut bytes.1).unwrap();
        prop_assert_eq!(bytes.0, bytes.1);
    }
}
