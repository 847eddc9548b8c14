//! Ctrl-C, whenever it comes, leaves no process behind.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui::cluster::{CLUSTER_VARIABLE, find_processes};
use tepui_tests::harness;

use crate::TEPUI;

/// Starts a command over its folder, interrupts it as soon as `is_time`, and returns its exit code.
async fn interrupt(command: &str, is_time: impl Fn(&Path) -> bool) -> anyhow::Result<Option<i32>> {
    let _lock = harness::lock()?;
    let folder = tempfile::tempdir()?;
    let dir = folder.path().canonicalize()?.join("cluster");
    let mut child = Command::new(TEPUI).arg(command).arg("--dir").arg(&dir).spawn()?;
    harness::eventually("moment of the interrupt", || async { is_time(&dir).then_some(()) }).await?;
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
    let status = harness::eventually("exit", || {
        let status = child.try_wait();
        async { status.ok().flatten() }
    })
    .await?;
    assert_eq!(find_processes(&[(CLUSTER_VARIABLE, &dir)]), Vec::<i32>::new(), "left by {command}");
    Ok(status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_at_any_moment_leaves_no_process() -> anyhow::Result<()> {
    let exists = |name: &'static str| move |dir: &Path| dir.join(name).exists();
    for (command, code) in [("local", 0), ("demo", 130)] {
        for moment in ["secret", "logs/master-1.log", "logs/agent-1.log", "agent-1/endpoint.json"] {
            assert_eq!(interrupt(command, exists(moment)).await?, Some(code), "{command} at {moment}");
        }
    }
    Ok(())
}
