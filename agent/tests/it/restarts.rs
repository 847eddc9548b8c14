//! An agent that stops and starts again: its tasks run on, none runs twice, none is forgotten.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui_proto::v1::TaskState as State;
use tepui_proto::v1::task_status::Reason;

use crate::master::{Master, PATIENCE, shell};
use crate::rig::{Rig, lines, wait_for};

/// While the agent does not know what became of its tasks, it says so.
#[tokio::test]
async fn an_agent_that_recovers_answers_for_itself_only() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "sleep 1000"), 1).await;
    master.update("t1", State::TaskRunning).await;
    let port: u16 = rig.address.rsplit_once(':').unwrap().1.parse().unwrap();
    rig.stop_agent().await;
    // The supervising process holds its lock, but has not said that it started: the recovery waits for it.
    let container = std::fs::read_dir(rig.work_dir().join("meta/containers")).unwrap().next().unwrap();
    let started = container.unwrap().path().join("started");
    let away = started.with_extension("away");
    std::fs::rename(&started, &away).unwrap();
    let (client, address) = (rig.client.clone(), rig.address.clone());
    let starting = rig.start_agent(move |config| config.port = port);
    let asking = async {
        let get = async |path: &str| {
            let answer = client.get(format!("http://{address}{path}")).send().await;
            answer.ok().map(|answer| answer.status().as_u16())
        };
        while get("/health").await != Some(200) {
            tokio::task::yield_now().await;
        }
        for path in
            ["/state", "/slave(1)/state", "/flags", "/containers", "/metrics/snapshot", "/files/debug"]
        {
            assert_eq!(get(path).await, Some(503), "{path}");
        }
        assert_eq!((get("/version").await, get("/none").await), (Some(200), Some(404)));
        let call = client.post(format!("http://{address}/api/v1")).header("content-type", "application/json");
        let answer = call.body(r#"{"type":"GET_HEALTH"}"#).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
        std::fs::rename(&away, &started).unwrap();
    };
    tokio::join!(starting, asking);
    let state = rig.get_json("/state").await;
    assert_eq!(state["frameworks"][0]["executors"][0]["tasks"][0]["id"], "t1");
}

#[tokio::test]
async fn a_task_runs_on_while_its_agent_is_away() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    let first = master.registration(1).await;
    let line = "echo start >> count; until [ -e go ]; do sleep 0.02; done; echo done";
    master.run(shell("t1", line), 1).await;
    let running = master.update("t1", State::TaskRunning).await;
    lines(&rig.sandbox("t1").join("count")).await;
    let supervisor = running.container_status.as_ref().unwrap().executor_pid.unwrap().cast_signed();
    rig.stop_agent().await;
    assert!(rig.processes().contains(&supervisor), "stopping the agent stops no task");

    rig.start_agent(|_| {}).await;
    let again = master.registration(2).await;
    assert_eq!(again.agent_info.as_ref().unwrap().id.as_ref().unwrap().value(), "master-S0");
    assert_eq!(again.epoch(), 1);
    assert_ne!(again.boot_id, first.boot_id);
    assert_eq!(again.tasks.len(), 1);
    assert_eq!(again.tasks[0].state(), State::TaskRunning);
    assert_eq!(again.tasks[0].latest_status.as_ref().unwrap().uuid, running.uuid);
    assert_eq!(again.frameworks.len(), 1);
    // The same launch again starts nothing.
    master.run(shell("t1", line), 1).await;
    fs::write(rig.sandbox("t1").join("go"), "").unwrap();
    let finished = master.update("t1", State::TaskFinished).await;
    assert_eq!(finished.message(), "command exited with status 0");
    assert_eq!(fs::read_to_string(rig.sandbox("t1").join("count")).unwrap(), "start\n");
}

#[tokio::test]
async fn an_adopted_task_can_be_killed() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "trap '' TERM; echo ready; while :; do sleep 1000; done"), 1).await;
    master.update("t1", State::TaskRunning).await;
    lines(&rig.sandbox("t1").join("stdout")).await;
    rig.stop_agent().await;
    rig.start_agent(|_| {}).await;
    master.registration(2).await;
    master.kill("t1", 100).await;
    master.update("t1", State::TaskKilled).await;
    assert!(rig.processes().is_empty());
}

#[tokio::test]
async fn an_end_while_the_agent_was_away_is_told_later() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "until [ -e go ]; do sleep 0.02; done; exit 4"), 1).await;
    master.update("t1", State::TaskRunning).await;
    rig.stop_agent().await;
    fs::write(rig.sandbox("t1").join("go"), "").unwrap();
    wait_for("the task to end", || rig.processes().is_empty().then_some(())).await;
    rig.start_agent(|_| {}).await;
    let failed = master.update("t1", State::TaskFailed).await;
    assert_eq!(failed.message(), "command exited with status 4");
}

#[tokio::test]
async fn an_unacknowledged_end_survives_the_agent() {
    let master = Master::start().await;
    master.hold_acknowledgements();
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "true"), 1).await;
    let starting = master.update("t1", State::TaskStarting).await;
    wait_for("the task to end", || rig.exit_record().filter(|path| path.exists())).await;
    rig.stop_agent().await;
    rig.start_agent(|_| {}).await;
    let again = master.registration(2).await;
    // What the registration says of the end depends on whether it was on disk by then; the oldest update comes first in any case.
    assert_eq!(again.tasks[0].unacknowledged.as_ref().unwrap().uuid, starting.uuid);
    master.resume_acknowledgements();
    let repeated = master.update("t1", State::TaskStarting).await;
    assert_eq!(repeated.uuid, starting.uuid);
    master.update("t1", State::TaskFinished).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_task_whose_supervising_process_was_killed() {
    for agent_away in [false, true] {
        let master = Master::start().await;
        let mut rig = Rig::start(&master).await;
        master.registration(1).await;
        master
            .run(shell("t1", "sleep 1000 & setsid sleep 1000 & touch -d @1000 .; echo ready; wait"), 1)
            .await;
        let running = master.update("t1", State::TaskRunning).await;
        lines(&rig.sandbox("t1").join("stdout")).await;
        let pid = running.container_status.unwrap().executor_pid.unwrap().cast_signed();
        if agent_away {
            rig.stop_agent().await;
        }
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        if agent_away {
            assert!(!rig.processes().is_empty(), "nobody looks after them now");
            rig.start_agent(|_| {}).await;
        }
        let failed = master.update("t1", State::TaskFailed).await;
        assert_eq!(failed.reason(), Reason::ExecutorTerminated, "{}", failed.message());
        assert!(rig.processes().is_empty(), "{:?}", rig.processes());
        let changed = fs::metadata(rig.sandbox("t1")).unwrap().modified().unwrap();
        assert!(changed.elapsed().unwrap() < PATIENCE, "its sandbox is kept from now on");
    }
}
