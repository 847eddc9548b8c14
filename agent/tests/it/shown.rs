//! Custom executors, their volumes and what is reserved, as the agent's endpoints show them.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use tepui_proto::tepui::agent_link::event as link_event;
use tepui_proto::v1;
use v1::TaskState as State;
use v1::executor::{call, event};
use v1::resource::disk_info::Persistence;
use v1::resource::{DiskInfo, ReservationInfo, reservation_info};
use v1::task_status::Reason;

use crate::executor::{Executor, task};
use crate::master::{Master, PATIENCE, framework};
use crate::rig::{Rig, lines, wait_for};

/// Lives until it is told to end by a file, or killed.
const LINGER: &str = "echo started > started; until [ -e go ]; do sleep 0.02; done; exit 3";

pub(crate) async fn ask(rig: &Rig, call: Value) -> Value {
    let kind = call["type"].as_str().unwrap().to_lowercase();
    let request = rig.client.post(format!("http://{}/api/v1", rig.address));
    let request = request.header("content-type", "application/json").body(call.to_string()).send();
    let response = tokio::time::timeout(PATIENCE, request).await.unwrap().unwrap();
    assert_eq!(response.status(), 200, "{call}");
    serde_json::from_slice::<Value>(&response.bytes().await.unwrap()).unwrap()[kind].clone()
}

fn reserved(name: &str, amount: f64) -> v1::Resource {
    let reservation = ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic.into()),
        role: Some("web".to_owned()),
        principal: Some("ops".to_owned()),
        ..Default::default()
    };
    v1::Resource {
        name: Some(name.to_owned()),
        r#type: Some(v1::value::Type::Scalar.into()),
        scalar: Some(v1::value::Scalar { value: Some(amount) }),
        reservations: vec![reservation],
        ..Default::default()
    }
}

fn volume(id: &str, place: &str) -> v1::Resource {
    v1::Resource {
        disk: Some(DiskInfo {
            persistence: Some(Persistence { id: Some(id.to_owned()), principal: None }),
            volume: Some(v1::Volume {
                container_path: Some(place.to_owned()),
                mode: Some(v1::volume::Mode::Rw.into()),
                ..Default::default()
            }),
            source: None,
        }),
        ..reserved("disk", 64.0)
    }
}

fn with_volume(id: &str, executor: &str, volume_id: &str, place: &str) -> v1::TaskInfo {
    v1::TaskInfo { resources: vec![volume(volume_id, place)], ..task(id, executor, LINGER) }
}

async fn make(master: &Master, version: u64, resources: Vec<v1::Resource>) {
    let update = link_event::UpdateResources { version: Some(version), resources, destroyed: Vec::new() };
    master.send(link_event::Type::UpdateResources, |event| event.update_resources = Some(update)).await;
}

/// The executor, once its sandbox is there: nobody but its own process, which starts in it, would come before.
async fn executor(rig: &Rig) -> Executor {
    let sandbox = rig.sandbox("e");
    wait_for("the sandbox", || sandbox.is_dir().then_some(())).await;
    Executor::new(&rig.address, "e")
}

#[tokio::test]
async fn an_executor_is_shown_with_its_tasks_while_it_runs_and_after() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    for (seq, id) in [(1, "t1"), (2, "t2")] {
        let mut wanted = task(id, "e", LINGER);
        wanted.resources = vec![v1::Resource { reservations: Vec::new(), ..reserved("cpus", 1.0) }];
        let info = wanted.executor.as_mut().unwrap();
        info.name = Some("the executor".to_owned());
        info.resources = vec![v1::Resource { reservations: Vec::new(), ..reserved("cpus", 0.5) }];
        info.command.as_mut().unwrap().user = Some("somebody".to_owned());
        master.run(wanted, seq).await;
    }
    lines(&rig.sandbox("e").join("started")).await;
    let state = rig.get_json("/state").await;
    let shown = &state["frameworks"][0]["executors"][0];
    assert_eq!((&shown["queued_tasks"][1]["id"], &shown["tasks"]), (&json!("t2"), &json!([])), "{shown}");
    assert_eq!(rig.get_json("/metrics/snapshot").await["slave/executors_registering"], 1.0);
    let mut executor = Executor::new(&rig.address, "e");
    let container = executor.subscribe(call::Subscribe::default()).await.container_id.unwrap();
    executor.next(event::Type::Launch).await;
    executor.next(event::Type::Launch).await;
    executor.report("t1", State::TaskRunning).await;
    master.update("t1", State::TaskRunning).await;

    let state = rig.get_json("/state").await;
    let executors = state["frameworks"][0]["executors"].as_array().unwrap();
    assert_eq!(executors.len(), 1, "{state}");
    let shown = &executors[0];
    assert_eq!((&shown["id"], &shown["name"]), (&json!("e"), &json!("the executor")));
    assert_eq!((&shown["type"], &shown["container"]), (&json!("CUSTOM"), &json!(container.value())));
    assert_eq!((&shown["tasks"][0]["id"], &shown["tasks"][1]["id"]), (&json!("t1"), &json!("t2")));
    assert_eq!(
        (&shown["tasks"][0]["executor_id"], &shown["tasks"][0]["user"]),
        (&json!("e"), &json!("somebody"))
    );
    assert_eq!(shown["resources"]["cpus"], 2.5, "of the executor once, and of both tasks");
    let directory = shown["directory"].as_str().unwrap().to_owned();
    assert_eq!(fs::canonicalize(rig.sandbox("e")).unwrap(), fs::canonicalize(&directory).unwrap());
    for path in [directory.as_str(), "/frameworks/fw/executors/e/runs/latest"] {
        let read = rig.get_json(&format!("/files/read?path={path}/started&offset=0")).await;
        assert_eq!(read["data"], "started\n");
    }
    let (_, _, body) = rig.get("/tepui/v1/sandbox?framework_id=fw&task_id=t1&path=started").await;
    assert_eq!(body, b"started\n");
    let found = ask(&rig, json!({"type": "GET_EXECUTORS"})).await;
    let info = &found["executors"][0]["executor_info"];
    assert_eq!((&info["executor_id"]["value"], &info["type"]), (&json!("e"), &json!("CUSTOM")), "{found}");
    assert!(info.get("data").is_none() && found["executors"].as_array().unwrap().len() == 1, "{found}");
    let found = ask(&rig, json!({"type": "GET_STATE"})).await;
    assert_eq!(found["get_tasks"]["launched_tasks"][0]["executor_id"]["value"], "e", "{found}");
    let found = ask(&rig, json!({"type": "GET_CONTAINERS"})).await;
    let found = found["containers"].as_array().unwrap();
    assert_eq!(found.len(), 1, "one container for both tasks: {found:?}");
    assert_eq!(found[0]["container_id"]["value"], container.value());
    assert_eq!(
        (&found[0]["executor_id"]["value"], &found[0]["executor_name"]),
        (&json!("e"), &json!("the executor"))
    );
    assert_eq!(found[0]["resource_statistics"]["cpus_limit"], 2.5);
    assert_eq!(
        found[0]["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"],
        "127.0.0.1"
    );
    assert_eq!(rig.get_json("/metrics/snapshot").await["slave/executors_running"], 1.0);

    // Its end is waited for like that of any container; tasks that end before it end nothing.
    let wait =
        json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": {"value": container.value()}}});
    let waiting = ask(&rig, wait.clone());
    let ending = async {
        executor.report("t1", State::TaskFinished).await;
        master.update("t1", State::TaskFinished).await;
        master.hold_acknowledgements();
        fs::write(rig.sandbox("e").join("go"), "").unwrap();
        master.update("t2", State::TaskFailed).await;
    };
    let (waited, ()) = tokio::join!(waiting, ending);
    assert_eq!(waited["exit_status"], 3 << 8, "{waited}");
    // As in Mesos it stays among the others until nothing of it is unacknowledged.
    let state = rig.get_json("/state").await;
    let shown = &state["frameworks"][0]["executors"][0];
    assert_eq!((&shown["id"], &shown["tasks"]), (&json!("e"), &json!([])), "{state}");
    assert_eq!(shown["completed_tasks"].as_array().unwrap().len(), 2, "{shown}");
    let tasks = ask(&rig, json!({"type": "GET_TASKS"})).await;
    assert_eq!(tasks["terminated_tasks"][0]["task_id"]["value"], "t2", "{tasks}");
    master.resume_acknowledgements();
    master.close_stream();
    master.registration(2).await;
    master.update("t2", State::TaskFailed).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    let shown = loop {
        let state = rig.get_json("/state").await;
        let completed = state["completed_frameworks"][0]["completed_executors"].clone();
        if completed.is_array() {
            break completed;
        }
        assert!(std::time::Instant::now() < deadline, "{state}");
    };
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]["id"]), (1, &json!("e")), "{shown}");
    assert_eq!(shown[0]["completed_tasks"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown[0]["directory"], directory);
    assert_eq!(ask(&rig, wait).await["exit_status"], 3 << 8);
    let (_, headers, body) = rig.get("/tepui/v1/sandbox?framework_id=fw&task_id=t1&path=started").await;
    assert_eq!((body.as_slice(), headers["tepui-task-ended"].as_bytes()), (&b"started\n"[..], &b"true"[..]));
}

#[tokio::test]
async fn what_the_cluster_made_of_the_agents_resources_is_shown() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    make(&master, 1, vec![reserved("cpus", 1.5), volume("v", "data"), reserved("mem", 1e9)]).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    let state = loop {
        let state = rig.get_json("/state").await;
        if state["reserved_resources"]["web"].is_object() {
            break state;
        }
        assert!(std::time::Instant::now() < deadline, "{state}");
    };
    assert_eq!((&state["resources"]["cpus"], &state["resources"]["disk"]), (&json!(4.0), &json!(1024.0)));
    assert_eq!(state["unreserved_resources"]["cpus"], 2.5);
    assert_eq!(state["unreserved_resources"]["disk"], 960.0);
    assert_eq!(state["reserved_resources"]["web"]["cpus"], 1.5);
    assert_eq!(state["reserved_resources"]["web"]["disk"], 64.0);
    assert_eq!(state["reserved_resources"]["web"]["mem"], 0.0, "what is not there cannot be reserved");
    let full = state["reserved_resources_full"]["web"].as_array().unwrap();
    let disk = full.iter().find(|one| one["name"] == "disk").unwrap();
    assert_eq!(disk["disk"]["persistence"]["id"], "v", "{disk}");
    // Both forms, as old readers and new ones look for it.
    assert_eq!((&disk["role"], &disk["reservation"]["principal"]), (&json!("web"), &json!("ops")), "{disk}");
    assert_eq!(disk["reservations"][0]["role"], "web", "{disk}");
    let unreserved = state["unreserved_resources_full"].as_array().unwrap();
    assert!(unreserved.iter().all(|one| one["role"] == "*"), "{unreserved:?}");
    assert_eq!(rig.get_json("/metrics/snapshot").await["slave/disk_total"], 1024.0);
}

#[tokio::test]
async fn volumes_of_tasks_are_in_the_sandbox_before_the_executor_gets_them_and_are_read_there() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    make(&master, 1, vec![volume("v", "data"), volume("w", "data"), volume("x", "own")]).await;
    master.run(with_volume("t1", "e", "v", "deep/data"), 1).await;
    let mut executor = executor(&rig).await;
    executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;
    let sandbox = rig.sandbox("e");
    fs::write(sandbox.join("deep/data/file"), "kept").unwrap();
    assert_eq!(fs::read(rig.work_dir().join("volumes/roles/web/v/file")).unwrap(), b"kept");

    // A second task of the same executor has another volume at another place; a third wants a place that is taken.
    master.run(with_volume("t2", "e", "w", "other"), 2).await;
    let launched = executor.next(event::Type::Launch).await.launch.unwrap().task.unwrap();
    assert_eq!(launched.task_id.unwrap().value(), "t2");
    assert!(sandbox.join("other").is_dir());
    symlink("/etc", sandbox.join("trap")).unwrap();
    for (seq, (id, place)) in (3..).zip([("t3", "other"), ("t4", "trap/data"), ("t5", "../up")]) {
        master.run(with_volume(id, "e", "x", place), seq).await;
        let failed = master.update(id, State::TaskFailed).await;
        assert_eq!(failed.reason(), Reason::ContainerUpdateFailed, "{}", failed.message());
        assert!(failed.message().contains("container_path"), "{}", failed.message());
    }
    // The place of a task that has ended is free again.
    executor.report("t2", State::TaskFinished).await;
    master.update("t2", State::TaskFinished).await;
    master.run(with_volume("t6", "e", "x", "other"), 6).await;
    executor.next(event::Type::Launch).await;
    assert!(fs::read_link(sandbox.join("other")).unwrap().ends_with("volumes/roles/web/x"));

    // Files are read through the agent's own links, and through no other.
    symlink("/etc", sandbox.join("etc")).unwrap();
    symlink(rig.work_dir().join("volumes/roles/web/w"), sandbox.join("stolen")).unwrap();
    symlink("/etc", sandbox.join("deep/data/etc")).unwrap();
    fs::write(rig.work_dir().join("volumes/roles/web/w/secret"), "s").unwrap();
    let directory = rig.get_json("/state").await["frameworks"][0]["executors"][0]["directory"].clone();
    for run in ["/frameworks/fw/executors/e/runs/latest", directory.as_str().unwrap()] {
        let read = rig.get_json(&format!("/files/read?path={run}/deep/data/file&offset=0")).await;
        assert_eq!(read["data"], "kept");
        let listed = rig.get_json(&format!("/files/browse?path={run}/deep/data")).await;
        assert_eq!(listed[1]["path"], format!("{run}/deep/data/file"), "{listed}");
        let call = json!({"type": "LIST_FILES", "list_files": {"path": format!("{run}/deep/data")}});
        assert_eq!(ask(&rig, call).await["file_infos"].as_array().unwrap().len(), 2);
        assert_eq!(rig.get(&format!("/files/download?path={run}/deep/data/file")).await.2, b"kept");
        for bad in
            ["etc/passwd", "deep/data/etc/passwd", "stolen/secret", "deep/data/../w/secret", "trap/passwd"]
        {
            let (status, _, body) = rig.get(&format!("/files/read?path={run}/{bad}&offset=0")).await;
            assert_eq!(status, 404, "{bad}: {}", String::from_utf8_lossy(&body));
        }
    }
    let volume = "/tepui/v1/sandbox?framework_id=fw&task_id=t1&path=deep/data/file";
    assert_eq!(rig.get(volume).await.2, b"kept");
    assert_eq!(rig.get("/tepui/v1/sandbox?framework_id=fw&task_id=t1&path=etc/passwd").await.0, 404);
    // Once the task has replaced the link by its own, the way is closed.
    fs::remove_file(sandbox.join("deep/data")).unwrap();
    symlink("/etc", sandbox.join("deep/data")).unwrap();
    let path = "/files/read?path=/frameworks/fw/executors/e/runs/latest/deep/data/passwd&offset=0";
    assert_eq!(rig.get(path).await.0, 404);
}

#[tokio::test]
async fn a_group_waits_for_the_volumes_of_all_its_tasks() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    make(&master, 1, vec![volume("v", "data")]).await;
    let run = |tasks: Vec<v1::TaskInfo>, seq: u64| link_event::RunTask {
        framework: Some(framework()),
        task: None,
        launch_seq: Some(seq),
        task_group: Some(v1::TaskGroupInfo { tasks }),
    };
    let good = run(vec![task("t1", "e", LINGER), with_volume("t2", "e", "v", "data")], 1);
    master.send(link_event::Type::RunTask, |event| event.run_task = Some(good)).await;
    let mut executor = executor(&rig).await;
    executor.subscribe(call::Subscribe::default()).await;
    let group = executor.next(event::Type::LaunchGroup).await.launch_group.unwrap().task_group.unwrap();
    assert_eq!(group.tasks.len(), 2);
    assert!(rig.sandbox("e").join("data").is_dir());
    let bad = run(vec![task("t3", "e", LINGER), with_volume("t4", "e", "v", "/etc")], 3);
    master.send(link_event::Type::RunTask, |event| event.run_task = Some(bad)).await;
    for id in ["t3", "t4"] {
        assert_eq!(master.update(id, State::TaskFailed).await.reason(), Reason::ContainerUpdateFailed);
    }
}

#[tokio::test]
async fn updates_and_messages_are_counted_as_they_are() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(task("t1", "e", LINGER), 1).await;
    let mut executor = executor(&rig).await;
    executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;
    let count =
        async |name: &str| rig.get_json("/metrics/snapshot").await[format!("slave/{name}")].as_f64().unwrap();
    executor.report("t1", State::TaskRunning).await;
    executor.report("none", State::TaskRunning).await;
    let staging = executor.status("t1", State::TaskStaging);
    let staging = v1::executor::Call {
        update: Some(call::Update { status: Some(staging) }),
        ..executor.call(call::Type::Update)
    };
    assert_eq!(executor.post(&staging).await, 400);
    assert_eq!(count("valid_status_updates").await, 1.0);
    assert_eq!(count("invalid_status_updates").await, 2.0);
    let message = call::Message { data: Some("up".into()) };
    let call = v1::executor::Call { message: Some(message), ..executor.call(call::Type::Message) };
    assert_eq!(executor.post(&call).await, 202);
    for (executor_id, data) in [("e", "down"), ("nobody", "down")] {
        let message = link_event::Message {
            framework_id: framework().id,
            executor_id: Some(v1::ExecutorId { value: Some(executor_id.to_owned()) }),
            data: Some(data.into()),
        };
        master.send(link_event::Type::Message, |event| event.message = Some(message)).await;
    }
    executor.next(event::Type::Message).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    while (count("valid_framework_messages").await, count("invalid_framework_messages").await) != (2.0, 1.0) {
        assert!(std::time::Instant::now() < deadline, "{}", rig.get_json("/metrics/snapshot").await);
    }
    wait_for("the executor", || (!rig.processes().is_empty()).then_some(())).await;
}
