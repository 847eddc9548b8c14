//! Scenario 106, its health updates: what an executor finds out about its task reaches whoever follows the operator events, each change once.

use anyhow::Context as _;
use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::check_status_info::Command;
use tepui_proto::v1::executor::event;
use tepui_proto::v1::master::Event;
use tepui_proto::v1::task_status::Reason;

use super::c_executors::{WAITS, executor, with};
use super::h_events::until;
use crate::conformance::Context;
use crate::conformance::wire::executor::{Executor, agent_of};
use crate::conformance::wire::messages::{Named, lasting};
use crate::conformance::wire::{Framework, Stream};

/// The next announcement of a task.
async fn announced(stream: &mut Stream, framework: &Framework, what: &str) -> anyhow::Result<v1::TaskStatus> {
    until(stream, &mut Vec::new(), what, |event: &Event| {
        let updated = event.task_updated.clone()?;
        (updated.framework_id.named() == framework.id).then_some(updated)
    })
    .await?
    .status
    .context("TASK_UPDATED without a status")
}

fn checked(exit_code: i32) -> v1::CheckStatusInfo {
    v1::CheckStatusInfo {
        r#type: Some(v1::check_info::Type::Command as i32),
        command: Some(Command { exit_code: Some(exit_code) }),
        ..Default::default()
    }
}

pub(crate) async fn health_on_the_stream(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("health")).await?;
    let mut stream = cx.operator_stream().await?;
    let offer = framework.offer().await?;
    framework.launch_apart(&offer, vec![with("t", &executor("e", WAITS))]).await?;
    let mut executor = Executor::new(&cx.http, &agent_of(&offer), &framework.id, "e");
    executor.subscribe().await?;
    executor.next(event::Type::Launch).await?;
    executor.report("t", TaskState::TaskRunning).await?;
    let first = announced(&mut stream, &framework, "RUNNING").await?;
    anyhow::ensure!(first.state() == TaskState::TaskRunning && first.healthy.is_none(), "{first:?}");

    // The third says nothing new: the next announcement is that of the fourth.
    let health = Reason::TaskHealthCheckStatusUpdated;
    let check = Reason::TaskCheckStatusUpdated;
    let steps = [
        (Some(true), None, health, true),
        (Some(false), None, health, true),
        (Some(false), None, health, false),
        (Some(true), None, health, true),
        (Some(true), Some(checked(1)), check, true),
        (Some(true), Some(checked(0)), check, true),
    ];
    for (number, (healthy, check_status, reason, news)) in steps.into_iter().enumerate() {
        let status = v1::TaskStatus {
            healthy,
            check_status,
            reason: Some(reason as i32),
            ..executor.status("t", TaskState::TaskRunning)
        };
        executor.send(status.clone()).await?;
        let told = framework.next_update("t", number + 1).await?;
        anyhow::ensure!(told.healthy == healthy && told.check_status == status.check_status, "{told:?}");
        if news {
            let what = format!("announcement {number}");
            let announced = announced(&mut stream, &framework, &what).await?;
            let same = announced.healthy == healthy && announced.check_status == status.check_status;
            anyhow::ensure!(same && announced.state() == TaskState::TaskRunning, "{announced:?} at {number}");
            anyhow::ensure!(announced.reason() == reason, "{announced:?} at {number}");
        }
    }
    framework.kill("t").await?;
    framework.tear_down().await
}
