//! Tasks and executors of frameworks without checkpointing: they end with their agent, and with the next one at the latest.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui_proto::tepui::agent_link::event;
use tepui_proto::v1::{self, TaskState as State};

use crate::master::{Master, framework, shell};
use crate::rig::{Rig, lines, wait_for};

/// Runs a task of a framework that does not checkpoint, and waits until its command runs. Returns its supervising process.
async fn run(rig: &Rig, master: &Master, task: v1::TaskInfo, launch_seq: u64) -> i32 {
    let id = task.task_id.as_ref().unwrap().value().to_owned();
    let run = event::RunTask {
        framework: Some(v1::FrameworkInfo { checkpoint: None, ..framework() }),
        task: Some(task),
        launch_seq: Some(launch_seq),
        task_group: None,
    };
    master.send(event::Type::RunTask, |event| event.run_task = Some(run)).await;
    let running = master.update(&id, State::TaskRunning).await;
    lines(&rig.sandbox(&id).join("stdout")).await;
    running.container_status.unwrap().executor_pid.unwrap().cast_signed()
}

#[tokio::test]
async fn a_task_ends_with_its_agent() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    let polite = "trap 'echo asked > asked; exit' TERM; echo ready; while :; do sleep 0.02; done";
    run(&rig, &master, shell("polite", polite), 1).await;
    let mut deaf =
        shell("deaf", "setsid sleep 1000 & trap '' TERM; echo ready; while :; do sleep 1000; done");
    let grace = v1::DurationInfo { nanoseconds: Some(100_000_000) };
    deaf.kill_policy = Some(v1::KillPolicy { grace_period: Some(grace) });
    run(&rig, &master, deaf, 2).await;
    let asked = rig.sandbox("polite").join("asked");
    assert!(!asked.exists(), "while the agent is there");
    rig.stop_agent().await;
    wait_for("the end of both", || rig.processes().is_empty().then_some(())).await;
    assert!(asked.exists(), "it is asked before it is forced");

    rig.start_agent(|_| {}).await;
    let registered = master.registration(2).await;
    assert!(registered.tasks.is_empty(), "{registered:?}");
    assert_eq!(rig.containers(), 0);
}

/// Those that did not notice: their supervising process hangs, or it is dead.
#[tokio::test]
async fn a_starting_agent_ends_what_is_left() {
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        let master = Master::start().await;
        let mut rig = Rig::start(&master).await;
        master.registration(1).await;
        let line = "setsid sleep 1000 & trap '' TERM; echo ready; while :; do sleep 1000; done";
        let supervisor = run(&rig, &master, shell("t", line), 1).await;
        if signal == Signal::SIGSTOP {
            kill(Pid::from_raw(supervisor), signal).unwrap();
        }
        rig.stop_agent().await;
        if signal == Signal::SIGKILL {
            kill(Pid::from_raw(supervisor), signal).unwrap();
        }
        assert!(!rig.processes().is_empty(), "nobody looks after them now");
        rig.start_agent(|_| {}).await;
        assert!(rig.processes().is_empty(), "{:?}", rig.processes());
        let registered = master.registration(2).await;
        assert!(registered.tasks.is_empty(), "{registered:?}");
        assert_eq!(rig.containers(), 0);
        // The same launch again starts nothing: it was accepted once.
        let run = event::RunTask {
            framework: Some(framework()),
            task: Some(shell("t", line)),
            launch_seq: Some(1),
            task_group: None,
        };
        master.send(event::Type::RunTask, |event| event.run_task = Some(run)).await;
        master.run(shell("u", "true"), 2).await;
        master.update("u", State::TaskFinished).await;
        assert!(rig.processes().is_empty());
    }
}
