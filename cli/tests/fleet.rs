//! What the executable asks of a master when operators change agents and machines, and what it says.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use tepui_sdk::testing::ScriptedMaster;
use tepui_sdk::v1;
use tepui_sdk::v1::DrainState;
use tepui_sdk::v1::master::call::Type;
use tepui_sdk::v1::master::{Call, Response, response};

async fn tepui(masters: &str, arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let masters = masters.to_owned();
    tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_tepui"))
            .args(arguments)
            .env("TEPUI_MASTERS", masters)
            .env("NO_COLOR", "1")
            .env_remove("TEPUI_LOG")
            .env_remove("TEPUI_CONFIG")
            .output()
            .expect("the executable runs")
    })
    .await
    .expect("the executable ends")
}

fn machine(hostname: &str) -> v1::MachineId {
    v1::MachineId { hostname: Some(hostname.to_owned()), ip: None }
}

fn answer(call: &Call) -> Response {
    let window = |name: &str| v1::maintenance::Window {
        machine_ids: vec![machine(name)],
        unavailability: Some(v1::Unavailability {
            start: Some(v1::TimeInfo { nanoseconds: Some(5) }),
            duration: None,
        }),
    };
    let status = v1::maintenance::ClusterStatus {
        draining_machines: vec![v1::maintenance::cluster_status::DrainingMachine {
            id: Some(machine("busy")),
            statuses: vec![v1::allocator::InverseOfferStatus {
                status: Some(v1::allocator::inverse_offer_status::Status::Accept as i32),
                framework_id: Some(v1::FrameworkId { value: Some("f".to_owned()) }),
                timestamp: Some(v1::TimeInfo { nanoseconds: Some(1) }),
            }],
        }],
        down_machines: vec![machine("open")],
    };
    match call.r#type() {
        Type::GetMaintenanceSchedule => Response {
            get_maintenance_schedule: Some(response::GetMaintenanceSchedule {
                schedule: Some(v1::maintenance::Schedule { windows: vec![window("earlier")] }),
            }),
            ..Default::default()
        },
        Type::GetMaintenanceStatus => Response {
            get_maintenance_status: Some(response::GetMaintenanceStatus { status: Some(status) }),
            ..Default::default()
        },
        Type::GetAgents => {
            let info = v1::DrainInfo {
                state: Some(DrainState::Drained as i32),
                config: Some(v1::DrainConfig::default()),
            };
            let agent = response::get_agents::Agent {
                agent_info: Some(v1::AgentInfo { hostname: Some("h".to_owned()), ..Default::default() }),
                active: Some(false),
                version: Some(String::new()),
                deactivated: Some(true),
                drain_info: Some(info),
                ..Default::default()
            };
            let agents = response::GetAgents { agents: vec![agent], ..Default::default() };
            Response { get_agents: Some(agents), ..Default::default() }
        }
        Type::GetTasks => Response { get_tasks: Some(response::GetTasks::default()), ..Default::default() },
        _ => Response::default(),
    }
}

#[tokio::test]
async fn changes_reach_the_master_as_they_were_meant() {
    let master = ScriptedMaster::start().await.expect("a master");
    let seen: Arc<Mutex<Vec<Call>>> = Arc::default();
    let log = Arc::clone(&seen);
    master.on_operator(move |call, _| {
        if !call.r#type().as_str_name().starts_with("GET_") {
            log.lock().expect("the log").push(call.clone());
        }
        Ok(answer(call))
    });
    let calls: [&[&str]; 7] = [
        &["agents", "drain", "a-1", "--max-grace", "1500ms", "--mark-gone"],
        &["agents", "deactivate", "a-1"],
        &["agents", "reactivate", "a-1"],
        &["agents", "gone", "a-1"],
        &["maintenance", "plan", "node-7", "10.0.0.8", "--in", "1hrs", "--for", "2hrs"],
        &["maintenance", "down", "node-7"],
        &["maintenance", "up", "node-7"],
    ];
    for arguments in calls {
        let output = tepui(master.address(), arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
    }
    let seen = seen.lock().expect("the log").clone();
    let kinds: Vec<Type> = seen.iter().map(Call::r#type).collect();
    let expected = [
        Type::DrainAgent,
        Type::DeactivateAgent,
        Type::ReactivateAgent,
        Type::MarkAgentGone,
        Type::UpdateMaintenanceSchedule,
        Type::StartMaintenance,
        Type::StopMaintenance,
    ];
    assert_eq!(kinds, expected);
    let drain = seen[0].drain_agent.clone().expect("the member");
    let grace = drain.max_grace_period.expect("a grace");
    assert_eq!((grace.seconds, grace.nanos, drain.mark_gone), (Some(1), Some(500_000_000), Some(true)));
    let schedule = seen[4].update_maintenance_schedule.clone().and_then(|update| update.schedule);
    let windows = schedule.expect("a schedule").windows;
    assert_eq!(windows.len(), 2, "what was planned before stays");
    let machines = &windows[1].machine_ids;
    assert_eq!((machines[0].hostname(), machines[1].ip()), ("node-7", "10.0.0.8"));
    let time = windows[1].unavailability.expect("a time");
    assert_eq!(time.duration.and_then(|duration| duration.nanoseconds), Some(7_200_000_000_000));
    master.stop().await;
}

#[tokio::test]
async fn states_are_shown_to_people() {
    let master = ScriptedMaster::start().await.expect("a master");
    master.on_operator(|call, _| Ok(answer(call)));
    let cases: [(&[&str], &[&str]); 3] = [
        (&["agents"], &["drained"]),
        (&["maintenance", "status"], &["busy", "draining", "1", "open", "down"]),
        (&["maintenance", "schedule"], &["\"hostname\":\"earlier\""]),
    ];
    for (arguments, words) in cases {
        let output = tepui(master.address(), arguments).await;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        for word in words {
            assert!(out.contains(word), "{arguments:?} lacks {word}: {out}");
        }
    }
    let output = tepui(master.address(), &["maintenance", "down", "/"]).await;
    assert_eq!(output.status.code(), Some(2), "no machine");
    master.stop().await;
}
