//! Scenario 103: reservations by frameworks and by operators.

use tepui_proto::v1;
use tepui_proto::v1::framework_info::capability::Type::ReservationRefinement;
use tepui_proto::v1::{OperationState, TaskState};

use super::h_volumes;
use crate::conformance::Context;
use crate::conformance::context::AGENT;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{
    Named, able, accept, agent_id, amount, in_roles, info, launch, scalar, sleeper,
};
use crate::conformance::wire::operations::{
    acknowledge_operation, made, named, operator_reserve, operator_unreserve, reserve, reserved, signed,
    unreserve,
};

/// A framework of this role that knows the modern form of reservations.
pub(super) async fn modern(cx: &Context, name: &str, role: &str) -> anyhow::Result<Framework> {
    cx.subscribe(able(in_roles(info(name), &[role]), &[ReservationRefinement])).await
}

/// The amount of a scalar that is reserved for a role.
pub(super) fn reserved_amount(resources: &[v1::Resource], name: &str, role: &str) -> f64 {
    let ours = |one: &&v1::Resource| one.reservations.last().is_some_and(|last| last.role() == role);
    let ours: Vec<v1::Resource> = resources.iter().filter(ours).cloned().collect();
    amount(&ours, name)
}

pub(crate) async fn all(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(pipeline(cx)).await?;
    Box::pin(refused_by_principal(cx)).await?;
    Box::pin(free_and_offered(cx)).await?;
    Box::pin(forms(cx)).await?;
    Box::pin(h_volumes::kept_and_destroyed(cx)).await
}

/// RESERVE and LAUNCH in one call, then UNRESERVE.
async fn pipeline(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = modern(cx, "reserves", "web").await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let (cpus, mem) = (reserved("cpus", 0.5, "web"), reserved("mem", 64.0, "web"));
    let mut task = sleeper("t");
    task.agent_id.clone_from(&offer.agent_id);
    task.resources = vec![reserved("cpus", 0.25, "web"), mem.clone()];
    let operations = vec![named("one", reserve(vec![cpus.clone(), mem.clone()])), launch(vec![task])];
    framework.call(accept(&[&offer], operations)).await?;
    let status = framework.operation("one", 0).await?;
    anyhow::ensure!(status.state() == OperationState::OperationFinished, "{status:?}");
    anyhow::ensure!(status.uuid.is_some() && status.agent_id.named() == agent, "{status:?}");
    anyhow::ensure!(status.converted_resources.len() == 2, "{status:?}");
    framework.call(acknowledge_operation(&status)).await?;
    framework.state("t", TaskState::TaskRunning).await?;
    // The rest of the reservation is offered to the role.
    let rest = framework.offer_of(&agent).await?;
    let left = reserved_amount(&rest.resources, "cpus", "web");
    anyhow::ensure!(left == 0.25, "{left} reserved CPUs in {rest:?}");
    let state = cx.state().await?;
    let shown =
        state["slaves"].as_array().and_then(|all| all.iter().find(|one| one["id"] == *agent)).cloned();
    let shown = shown.unwrap_or_default();
    anyhow::ensure!(shown["reserved_resources"]["web"]["cpus"] == 0.5, "{shown}");
    anyhow::ensure!(shown["unreserved_resources"]["cpus"] == AGENT.0 - 0.5, "{shown}");
    // More than is free cannot be given back, the rest can.
    let operations = vec![
        named("all", unreserve(vec![cpus.clone()])),
        named("rest", unreserve(vec![reserved("cpus", 0.25, "web")])),
    ];
    framework.call(accept(&[&rest], operations)).await?;
    let status = framework.operation("all", 0).await?;
    anyhow::ensure!(status.state() == OperationState::OperationError && status.uuid.is_none(), "{status:?}");
    let status = framework.operation("rest", 0).await?;
    anyhow::ensure!(status.state() == OperationState::OperationFinished, "{status:?}");
    framework.call(acknowledge_operation(&status)).await?;
    framework.kill("t").await?;
    framework.state("t", TaskState::TaskKilled).await?;
    let back = framework
        .wait("the task's part of the reservation", |this| {
            let at = this.offers.iter().position(|offer| {
                offer.agent_id.named() == agent && reserved_amount(&offer.resources, "cpus", "web") == 0.25
            })?;
            this.offers.remove(at)
        })
        .await?;
    let (cpus, mem) = (reserved("cpus", 0.25, "web"), mem);
    framework.call(accept(&[&back], vec![unreserve(vec![cpus, mem])])).await?;
    cx.eventually("an agent without reservations", async || {
        made(&cx.total(&agent).await.ok()?).is_empty().then_some(())
    })
    .await?;
    framework.tear_down().await
}

/// A framework that is known by name must sign its reservations with it.
async fn refused_by_principal(cx: &mut Context) -> anyhow::Result<()> {
    let info = v1::FrameworkInfo { principal: Some("me".to_owned()), ..in_roles(info("signs"), &["web"]) };
    let mut framework = cx.subscribe(able(info, &[ReservationRefinement])).await?;
    let offer = framework.offer().await?;
    let one = || reserved("cpus", 0.5, "web");
    let operations =
        vec![named("wrong", reserve(vec![signed(one(), "you")])), named("none", reserve(vec![one()]))];
    framework.call(accept(&[&offer], operations)).await?;
    for id in ["wrong", "none"] {
        let status = framework.operation(id, 0).await?;
        anyhow::ensure!(status.state() == OperationState::OperationError, "{status:?}");
        anyhow::ensure!(status.message().contains("principal"), "{status:?}");
    }
    framework.tear_down().await
}

/// Operators reserve what is free, and what is offered, but not what is in use or not there.
async fn free_and_offered(cx: &mut Context) -> anyhow::Result<()> {
    let agent = first_agent(cx).await?;
    let id = agent_id(&agent);
    let half = || vec![reserved("cpus", 0.5, "web")];
    let (status, text) = cx.outcome(&operator_reserve(&id, half())).await?;
    anyhow::ensure!(status == 202, "free resources: {status} {text}");
    anyhow::ensure!(reserved_amount(&cx.total(&agent).await?, "cpus", "web") == 0.5);
    let (status, text) = cx.outcome(&operator_unreserve(&id, half())).await?;
    anyhow::ensure!(status == 202, "{status} {text}");
    let mut framework = cx.subscribe(info("holds")).await?;
    let offer = framework.offer_of(&agent).await?;
    let (status, text) = cx.outcome(&operator_reserve(&id, half())).await?;
    anyhow::ensure!(status == 202, "offered resources: {status} {text}");
    framework
        .wait("RESCIND", |this| this.rescinded().contains(&offer.id.named().to_owned()).then_some(()))
        .await?;
    let less = framework.offer_of(&agent).await?;
    anyhow::ensure!(amount(&less.resources, "cpus") == AGENT.0 - 0.5, "{less:?}");
    let cases = [
        (operator_reserve(&id, vec![reserved("cpus", AGENT.0, "web")]), 409, "not there"),
        (operator_reserve(&agent_id("nobody"), half()), 400, "agent_id"),
        (operator_reserve(&id, vec![scalar("cpus", 0.5)]), 400, "reserve.resources"),
        (operator_reserve(&id, Vec::new()), 400, "reserve.resources"),
        (operator_unreserve(&id, vec![reserved("cpus", 0.5, "db")]), 409, "of nobody"),
        (operator_unreserve(&id, vec![scalar("cpus", 0.5)]), 400, "unreserve.resources"),
    ];
    for (call, expected, what) in cases {
        let (status, text) = cx.outcome(&call).await?;
        anyhow::ensure!(status == expected, "{what}: {status} {text}");
        anyhow::ensure!(expected != 400 || text.contains(what), "{what}: {text}");
    }
    let (status, text) = cx.outcome(&operator_unreserve(&id, half())).await?;
    anyhow::ensure!(status == 202, "{status} {text}");
    framework.tear_down().await
}

/// The form endpoints say the same.
async fn forms(cx: &mut Context) -> anyhow::Result<()> {
    let agent = first_agent(cx).await?;
    let leader = cx.leader().await?;
    let one = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"role":"web","reservation":{}}]"#;
    let disk = r#"[{"name":"disk","type":"SCALAR","scalar":{"value":10},"role":"web","reservation":{}}]"#;
    let volume = r#"[{"name":"disk","type":"SCALAR","scalar":{"value":10},"role":"web","reservation":{},
        "disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"data"}}}]"#;
    let steps = [
        ("/reserve", "resources", one, 202),
        ("/master/reserve", "resources", disk, 202),
        ("/create-volumes", "volumes", volume, 202),
        ("/create-volumes", "volumes", volume, 409),
        ("/unreserve", "resources", disk, 409),
        ("/destroy-volumes", "volumes", volume, 202),
        ("/unreserve", "resources", disk, 202),
        ("/unreserve", "resources", one, 202),
        ("/unreserve", "resources", one, 409),
        ("/reserve", "resources", "{", 400),
        ("/reserve", "volumes", one, 400),
    ];
    for (path, field, value, expected) in steps {
        let body = format!("slaveId={}&{field}={}", encoded(&agent), encoded(value));
        let answer = cx.http.send("POST", &leader, path, &[], body).await?;
        anyhow::ensure!(answer.status == expected, "{path} {field}: {} {:?}", answer.status, answer.body);
    }
    let answer = cx.http.get(&leader, "/reserve").await?;
    anyhow::ensure!(answer.status == 405, "{}", answer.status);
    anyhow::ensure!(made(&cx.total(&agent).await?).is_empty(), "something is left");
    Ok(())
}

pub(super) async fn first_agent(cx: &Context) -> anyhow::Result<String> {
    let agents = cx.agents().await?;
    let id =
        agents.first().and_then(|agent| agent.agent_info.as_ref()).map(|info| info.id.named().to_owned());
    id.ok_or_else(|| anyhow::anyhow!("no agent"))
}

/// Percent-encoded as the value of a form's field.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
