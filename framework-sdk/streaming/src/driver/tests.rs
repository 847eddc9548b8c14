//! A whole driver against a scripted master, with executors in the same process.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tepui_sdk::environment::DriverEnvironment;
use tepui_sdk::operator::Client;
use tepui_sdk::tepui::operator::response::state_cas::Result as CasResult;
use tepui_sdk::tepui::operator::{self as tepui, call, response};
use tepui_sdk::testing::ScriptedMaster;
use tepui_sdk::v1;
use tepui_sdk::v1::scheduler::call::Type;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{EXIT_FINISHED, EXIT_REPLACED};
use crate::executor::{ExecutorEnd, MastersLocate, TestGeneration, serve_driver};
use crate::files::Disk;
use crate::job::Job;
use crate::local::published_files;

const TOKEN: &str = "secret";
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a driver to its end.
async fn run(job: &Job, environment: &DriverEnvironment) -> u8 {
    let end = timeout(PATIENCE, Box::pin(super::main::run(job, environment))).await;
    end.expect("the driver is stuck").unwrap()
}

/// What the masters' log would hold.
#[derive(Default)]
struct Log {
    generation: u64,
    version: u64,
    value: bytes::Bytes,
}

fn answer(log: &Mutex<Log>, call: &tepui::Call, token: Option<&str>) -> tepui::Response {
    let mut log = log.lock().unwrap();
    let kind = |kind: tepui::response::Type| Some(kind as i32);
    if let Some(call::StateGet { .. }) = &call.state_get {
        let (version, generation, value) = (Some(log.version), Some(log.generation), Some(log.value.clone()));
        let state_get = Some(response::StateGet { version, generation, value });
        return tepui::Response { r#type: kind(response::Type::StateGet), state_get, ..Default::default() };
    }
    assert_eq!(token, Some(TOKEN));
    if let Some(cas) = &call.state_cas {
        let result = if cas.generation() != log.generation {
            CasResult::Fenced
        } else if cas.expected_version() != log.version {
            CasResult::Conflict
        } else {
            log.version += 1;
            log.value = cas.value.clone().unwrap_or_default();
            CasResult::Ok
        };
        let state_cas = Some(response::StateCas {
            result: Some(result as i32),
            version: Some(log.version),
            generation: Some(log.generation),
        });
        return tepui::Response { r#type: kind(response::Type::StateCas), state_cas, ..Default::default() };
    }
    let renewal = call.renew_lease.as_ref().expect("nothing else is called");
    let renew_lease = Some(response::RenewLease {
        valid: Some(renewal.generation() == log.generation),
        generation: Some(log.generation),
        lease_ms: Some(900),
    });
    tepui::Response { r#type: kind(response::Type::RenewLease), renew_lease, ..Default::default() }
}

async fn master(generation: u64) -> (ScriptedMaster, Arc<Mutex<Log>>) {
    let master = ScriptedMaster::start().await.unwrap();
    let log = Arc::new(Mutex::new(Log { generation, ..Log::default() }));
    let shared = log.clone();
    master.on_tepui(move |call, token| Ok(answer(&shared, call, token)));
    (master, log)
}

fn environment(master: &ScriptedMaster, generation: u64) -> DriverEnvironment {
    DriverEnvironment {
        masters: vec![master.address().to_owned()],
        name: "whole".into(),
        generation,
        token: TOKEN.into(),
        framework_id: "tepui-driver-whole".into(),
    }
}

fn job(root: &Path, finite: bool) -> Job {
    std::fs::create_dir_all(root.join("in")).unwrap();
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    std::fs::write(root.join("in/a.csv"), format!("seq\n{lines}")).unwrap();
    let root = root.display();
    let text = format!(
        "name = 'whole'\nslots = 2\n[source]\nkind = 'files'\npath = '{root}/in'\nfinite = {finite}\n\
         columns = [{{ name = 'seq', type = 'int' }}]\n\
         [[operators]]\nfilter = 'seq >= 10'\n[sink]\nkind = 'files'\npath = '{root}/out'\nformat = 'jsonl'\n\
         [checkpoint]\npath = '{root}/state'\n[batch]\ninterval_ms = 20\nmax_records = 15\n"
    );
    Job::from_toml_str(&text).unwrap()
}

fn offer(agent: &str) -> v1::Offer {
    v1::Offer {
        id: Some(v1::OfferId { value: Some(format!("offer-{agent}")) }),
        framework_id: Some(v1::FrameworkId { value: Some("tepui-driver-whole".into()) }),
        agent_id: Some(v1::AgentId { value: Some(agent.into()) }),
        hostname: Some(agent.into()),
        resources: super::scalars(4.0, 4096),
        ..v1::Offer::default()
    }
}

fn running(task: &v1::TaskInfo) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: task.task_id.clone(),
        agent_id: task.agent_id.clone(),
        state: Some(v1::TaskState::TaskRunning as i32),
        ..v1::TaskStatus::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_launches_executors_and_sends_them_home() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), true);
    let (mut master, log) = master(1).await;
    let environment = environment(&master, 1);
    let mut executors = JoinSet::new();
    let script = async {
        let subscribe = master.next_call_of(Type::Subscribe).await.unwrap();
        assert_eq!(subscribe.driver_token.as_deref(), Some(TOKEN));
        let info = subscribe.call.subscribe.unwrap().framework_info.unwrap();
        assert_eq!((info.id.unwrap().value(), info.checkpoint), ("tepui-driver-whole", Some(true)));
        assert!(info.failover_timeout >= Some(3600.0));
        let mut tasks = Vec::new();
        while tasks.len() < 2 {
            let call = master.next_call().await.unwrap();
            match call.kind() {
                Type::Revive => master.offer(vec![offer("a1"), offer("a2")]),
                Type::Accept => {
                    let accept = call.call.accept.unwrap();
                    let launched = accept.operations[0].launch.clone().unwrap().task_infos;
                    assert_eq!(launched.len(), 1, "one on each agent");
                    for task in launched {
                        master.update(running(&task));
                        let name = task.task_id.as_ref().unwrap().value().to_owned();
                        let sandbox = folder.path().join(&name);
                        std::fs::create_dir_all(&sandbox).unwrap();
                        let client = Client::new(environment.masters.clone()).unwrap();
                        let (job, locate) = (job.clone(), MastersLocate::new(client, "whole"));
                        executors.spawn(async move {
                            let mut highest = TestGeneration::load(&sandbox).unwrap();
                            serve_driver(&job, &name, &locate, &mut highest, Disk::VOLATILE, PATIENCE).await
                        });
                        tasks.push(task);
                    }
                }
                _ => {}
            }
        }
        let names: Vec<&str> = tasks.iter().map(|t| t.task_id.as_ref().unwrap().value()).collect();
        assert_eq!(names, ["whole-x1-1", "whole-x1-2"]);
        let command = tasks[0].command.as_ref().unwrap();
        assert_eq!(command.value(), "exec \"$TEPUI_BIN\" stream-executor");
    };
    let (code, ()) = tokio::join!(run(&job, &environment), script);
    assert_eq!(code, EXIT_FINISHED);
    while let Some(end) = timeout(PATIENCE, executors.join_next()).await.expect("executors end") {
        assert_eq!(end.unwrap(), ExecutorEnd::Dismissed);
    }
    let mut seen: Vec<String> = Vec::new();
    for file in published_files(&job.sink.path).unwrap() {
        seen.extend(std::fs::read_to_string(file).unwrap().lines().map(str::to_owned));
    }
    let expected: Vec<String> = (10..100).map(|n| format!("{{\"seq\":{n}}}")).collect();
    assert_eq!(seen, expected, "each record once, in order of batch and slot");
    let register: serde_json::Value = serde_json::from_slice(&log.lock().unwrap().value).unwrap();
    assert_eq!(
        (register["finished"].as_bool(), register["totals"]["records"].as_u64()),
        (Some(true), Some(100))
    );
    assert_eq!(register["totals"]["filtered"], 10);

    // Launched once more, a finished job only makes sure of its output.
    log.lock().unwrap().generation = 2;
    let again = DriverEnvironment { generation: 2, ..environment };
    assert_eq!(run(&job, &again).await, EXIT_FINISHED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_driver_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), false);
    let (mut master, log) = master(1).await;
    let environment = environment(&master, 1);
    let replace = async {
        assert!(master.next_call_of(Type::Subscribe).await.is_some());
        log.lock().unwrap().generation = 2;
    };
    let (code, ()) = tokio::join!(run(&job, &environment), replace);
    assert_eq!(code, EXIT_REPLACED);
    assert_eq!(run(&job, &environment).await, EXIT_REPLACED, "nor does it come back");
}
