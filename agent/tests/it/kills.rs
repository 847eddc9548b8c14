//! How commands are ended: asked first, then by force, and always with everything below them.

use tepui_proto::tepui::agent_link::event;
use tepui_proto::v1::TaskState as State;

use crate::master::{Master, framework, shell};
use crate::rig::{Rig, lines, wait_for};

#[tokio::test]
async fn a_command_may_end_in_its_own_way_within_the_grace() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    let line = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    master.run(shell("t1", line), 1).await;
    master.update("t1", State::TaskRunning).await;
    lines(&rig.sandbox("t1").join("stdout")).await;
    master.kill("t1", 60_000).await;
    let killed = master.update("t1", State::TaskKilled).await;
    assert_eq!(killed.message(), "command exited with status 0");
    assert_eq!(lines(&rig.sandbox("t1").join("stdout")).await, "ready\nbye\n");
}

#[tokio::test]
async fn a_command_that_does_nothing_about_it_ends_when_it_is_asked() {
    let master = Master::start().await;
    let _rig = Rig::start(&master).await;
    master.registration(1).await;
    // The shell is replaced, so nothing stands between the signal and the program.
    master.run(shell("t1", "exec sleep 1000"), 1).await;
    master.update("t1", State::TaskRunning).await;
    master.kill("t1", 600_000).await;
    let killed = master.update("t1", State::TaskKilled).await;
    assert_eq!(killed.message(), "command terminated with signal SIGTERM");
}

#[tokio::test]
async fn who_does_not_listen_is_killed_with_all_its_descendants() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    // A child in the group, a grandchild, and one that fled into its own session: none of them listens.
    let line = "trap '' TERM; \
        sh -c 'trap \"\" TERM; sleep 1000 & wait; sleep 1000' & \
        setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & \
        echo ready; while :; do sleep 1000; done";
    master.run(shell("t1", line), 1).await;
    master.update("t1", State::TaskRunning).await;
    lines(&rig.sandbox("t1").join("stdout")).await;
    wait_for("all the processes", || (rig.processes().len() >= 7).then_some(())).await;
    master.kill("t1", 200).await;
    let killed = master.update("t1", State::TaskKilled).await;
    assert_eq!(killed.message(), "command terminated with signal SIGKILL");
    assert!(rig.processes().is_empty(), "{:?}", rig.processes());
}

#[tokio::test]
async fn a_shorter_grace_overtakes_a_longer_one() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "trap '' TERM; echo ready; while :; do sleep 1000; done"), 1).await;
    master.update("t1", State::TaskRunning).await;
    lines(&rig.sandbox("t1").join("stdout")).await;
    master.kill("t1", 3_600_000).await;
    master.kill("t1", 50).await;
    master.update("t1", State::TaskKilled).await;
}

#[tokio::test]
async fn a_removed_framework_takes_its_tasks_along() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "sleep 1000"), 1).await;
    master.update("t1", State::TaskRunning).await;
    master.send(event::Type::ShutdownFramework, |event| event.shutdown_framework = framework().id).await;
    master.update("t1", State::TaskKilled).await;
    wait_for("nothing to be left", || (rig.processes().is_empty() && rig.containers() == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn an_agent_that_is_told_to_leave_ends_its_tasks_first() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "sleep 1000"), 1).await;
    master.update("t1", State::TaskRunning).await;
    master.send(event::Type::Shutdown, |_| {}).await;
    rig.left().await;
    assert!(rig.processes().is_empty());
}
