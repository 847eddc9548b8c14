//! Scenario 103, the part about persistent volumes: what a task wrote is there for the next, until the volume is destroyed.

use tepui_proto::v1;
use tepui_proto::v1::{OperationState, TaskState};

use super::h_reservations::modern;
use crate::conformance::Context;
use crate::conformance::wire::messages::{Named, accept, agent_id, launch, scalar, task};
use crate::conformance::wire::operations::{
    create, destroy, made, named, operator_create, operator_destroy, reserve, reserved, unreserve, volume,
};

/// A task with this volume.
pub(super) fn with_volume(id: &str, command: &str, offer: &v1::Offer, data: v1::Resource) -> v1::TaskInfo {
    v1::TaskInfo {
        agent_id: offer.agent_id.clone(),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0), data],
        ..task(id, command)
    }
}

pub(super) async fn kept_and_destroyed(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = modern(cx, "keeps", "web").await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let data = volume(100.0, "web", "v");
    let command = format!("echo kept > data/file; readlink data > {}", cx.scratch("where").display());
    let operations = vec![
        reserve(vec![reserved("disk", 100.0, "web")]),
        create(vec![data.clone()]),
        launch(vec![with_volume("writes", &command, &offer, data.clone())]),
    ];
    framework.call(accept(&[&offer], operations)).await?;
    framework.state("writes", TaskState::TaskFinished).await?;
    let folder = std::path::PathBuf::from(cx.written("where").await?.trim().to_owned());
    // The next task finds it, at the place that it asks for.
    let offer = framework
        .wait("an offer of the volume", |this| {
            let shows = |offer: &v1::Offer| {
                offer.agent_id.named() == agent && offer.resources.iter().any(|one| one.disk.is_some())
            };
            let at = this.offers.iter().position(shows)?;
            this.offers.remove(at)
        })
        .await?;
    let mut elsewhere = data.clone();
    if let Some(mount) = elsewhere.disk.as_mut().and_then(|disk| disk.volume.as_mut()) {
        mount.container_path = Some("deep/place".to_owned());
    }
    let command = format!(
        "cat deep/place/file > {}; while [ ! -e {} ]; do sleep 0.05; done",
        cx.scratch("read").display(),
        cx.scratch("gate").display()
    );
    framework
        .call(accept(&[&offer], vec![launch(vec![with_volume("reads", &command, &offer, elsewhere)])]))
        .await?;
    anyhow::ensure!(cx.written("read").await?.trim() == "kept", "the file is not there");
    framework.state("reads", TaskState::TaskRunning).await?;
    // In use, it cannot be destroyed; and there is only one of its name.
    let id = agent_id(&agent);
    let (status, text) = cx.outcome(&operator_destroy(&id, vec![data.clone()])).await?;
    anyhow::ensure!(status == 409, "a volume in use: {status} {text}");
    let rest = framework.offer_of(&agent).await?;
    framework.call(accept(&[&rest], vec![named("busy", destroy(vec![data.clone()]))])).await?;
    let status = framework.operation("busy", 0).await?;
    anyhow::ensure!(status.state() == OperationState::OperationError, "{status:?}");
    let (status, text) = cx.outcome(&operator_create(&id, vec![data.clone()])).await?;
    anyhow::ensure!(status == 409, "a second one of its name: {status} {text}");
    std::fs::write(cx.scratch("gate"), "")?;
    framework.state("reads", TaskState::TaskFinished).await?;
    anyhow::ensure!(folder.join("file").exists(), "{} is gone too early", folder.display());
    let offer = framework
        .wait("an offer of the volume", |this| {
            let shows = |offer: &v1::Offer| {
                offer.agent_id.named() == agent && offer.resources.iter().any(|one| one.disk.is_some())
            };
            let at = this.offers.iter().position(shows)?;
            this.offers.remove(at)
        })
        .await?;
    let operations = vec![destroy(vec![data]), unreserve(vec![reserved("disk", 100.0, "web")])];
    framework.call(accept(&[&offer], operations)).await?;
    cx.eventually("the end of the volume", async || (!folder.exists()).then_some(())).await?;
    anyhow::ensure!(made(&cx.total(&agent).await?).is_empty(), "something is left");
    framework.tear_down().await
}
