//! Scenario 104: machines that are to be worked on.

use serde_json::{Value, json};
use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::allocator::{InverseOfferStatus, inverse_offer_status::Status};
use tepui_proto::v1::maintenance::{ClusterStatus, Schedule, Window};
use tepui_proto::v1::master::Call;
use tepui_proto::v1::master::call::{StartMaintenance, StopMaintenance, Type, UpdateMaintenanceSchedule};
use tepui_proto::v1::scheduler::call;
use tepui_proto::v1::task_status::Reason;

use super::f_partitions::active_agents;
use crate::conformance::Context;
use crate::conformance::context::QUIET;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{Named, filters, lasting, of, sleeper};

const NANOS: i64 = 1_900_000_000_000_000_000;

fn machine(hostname: &str) -> v1::MachineId {
    v1::MachineId { hostname: Some(hostname.to_owned()), ip: None }
}

pub(super) fn window(machines: &[&str]) -> Window {
    Window {
        machine_ids: machines.iter().map(|name| machine(name)).collect(),
        unavailability: Some(unavailability()),
    }
}

fn unavailability() -> v1::Unavailability {
    v1::Unavailability {
        start: Some(v1::TimeInfo { nanoseconds: Some(NANOS) }),
        duration: Some(v1::DurationInfo { nanoseconds: Some(3_600_000_000_000) }),
    }
}

pub(crate) fn update(windows: Vec<Window>) -> Call {
    let update = UpdateMaintenanceSchedule { schedule: Some(Schedule { windows }) };
    Call {
        r#type: Some(Type::UpdateMaintenanceSchedule as i32),
        update_maintenance_schedule: Some(update),
        ..Default::default()
    }
}

fn start(machines: &[&str]) -> Call {
    let machines = machines.iter().map(|name| machine(name)).collect();
    Call {
        r#type: Some(Type::StartMaintenance as i32),
        start_maintenance: Some(StartMaintenance { machines }),
        ..Default::default()
    }
}

pub(crate) fn stop(machines: Vec<v1::MachineId>) -> Call {
    Call {
        r#type: Some(Type::StopMaintenance as i32),
        stop_maintenance: Some(StopMaintenance { machines }),
        ..Default::default()
    }
}

async fn status(cx: &Context) -> anyhow::Result<ClusterStatus> {
    let answer = cx.ask(Type::GetMaintenanceStatus).await?.get_maintenance_status;
    answer.and_then(|answer| answer.status).ok_or_else(|| anyhow::anyhow!("no get_maintenance_status"))
}

async fn answers(cx: &Context) -> anyhow::Result<Vec<InverseOfferStatus>> {
    Ok(status(cx).await?.draining_machines.into_iter().flat_map(|machine| machine.statuses).collect())
}

/// Waits until exactly one answer is shown, and it is this one.
async fn one_answer(cx: &Context, expected: Status) -> anyhow::Result<InverseOfferStatus> {
    cx.eventually(&format!("{} of an inverse offer", expected.as_str_name()), async || {
        let told = answers(cx).await.ok()?;
        (told.len() == 1 && told[0].status() == expected).then(|| told[0].clone())
    })
    .await
}

pub(super) async fn schedule(cx: &Context) -> anyhow::Result<Schedule> {
    let answer = cx.ask(Type::GetMaintenanceSchedule).await?.get_maintenance_schedule;
    answer.and_then(|answer| answer.schedule).ok_or_else(|| anyhow::anyhow!("no get_maintenance_schedule"))
}

pub(super) async fn hostname(cx: &Context, agent: &str) -> anyhow::Result<String> {
    let agents = cx.agents().await?;
    let infos = agents.into_iter().filter_map(|agent| agent.agent_info);
    let info = infos.into_iter().find(|info| info.id.named() == agent);
    Ok(info.ok_or_else(|| anyhow::anyhow!("no agent {agent}"))?.hostname().to_owned())
}

/// Takes the newest inverse offer that is out, waiting for one beyond the first `known`.
async fn inverse(framework: &mut Framework, known: usize) -> anyhow::Result<v1::InverseOffer> {
    framework
        .wait("an inverse offer", |this| {
            let events = this.heard.iter().filter_map(|event| event.inverse_offers.as_ref());
            events.flat_map(|offers| &offers.inverse_offers).nth(known).cloned()
        })
        .await
}

async fn answer(
    framework: &Framework,
    offer: &v1::InverseOffer,
    accept: bool,
    seconds: f64,
) -> anyhow::Result<()> {
    let inverse_offer_ids = offer.id.clone().into_iter().collect();
    let filters = Some(filters(seconds));
    let call = if accept {
        let accept = call::AcceptInverseOffers { inverse_offer_ids, filters };
        v1::scheduler::Call { accept_inverse_offers: Some(accept), ..of(call::Type::AcceptInverseOffers) }
    } else {
        let decline = call::DeclineInverseOffers { inverse_offer_ids, filters };
        v1::scheduler::Call { decline_inverse_offers: Some(decline), ..of(call::Type::DeclineInverseOffers) }
    };
    framework.call(call).await
}

pub(crate) async fn maintenance(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(bad_schedules(cx)).await?;
    let mut framework = cx.subscribe(lasting("leaves")).await?;
    let agent = framework.run(vec![sleeper("t")]).await?;
    let host = hostname(cx, &agent).await?;
    announced(cx, &mut framework, &agent, &host).await?;
    down_and_up(cx, &mut framework, &agent, &host).await
}

async fn bad_schedules(cx: &Context) -> anyhow::Result<()> {
    let mut endless = window(&["m"]);
    endless.unavailability = Some(v1::Unavailability {
        duration: Some(v1::DurationInfo { nanoseconds: Some(-1) }),
        ..unavailability()
    });
    let nameless = Window { machine_ids: vec![v1::MachineId::default()], ..window(&[]) };
    let bad = [
        (vec![window(&["m", "M"])], "twice"),
        (vec![window(&["m"]), window(&["m"])], "twice"),
        (vec![window(&[])], "empty"),
        (vec![nameless], "hostname"),
        (vec![endless], "duration"),
    ];
    for (windows, word) in bad {
        cx.operate(&update(windows)).await?.refuses(400)?.saying(word)?;
    }
    for call in [start(&[]), start(&["m"]), stop(Vec::new()), stop(vec![machine("m")])] {
        cx.operate(&call).await?.refuses(400)?;
    }
    anyhow::ensure!(schedule(cx).await?.windows.is_empty(), "a bad schedule was taken");
    Ok(())
}

/// The machine is put into the schedule: its users are told and asked.
async fn announced(cx: &Context, framework: &mut Framework, agent: &str, host: &str) -> anyhow::Result<()> {
    framework.call(of(call::Type::Revive)).await?;
    let before = framework.offer_of(agent).await?;
    anyhow::ensure!(before.unavailability.is_none(), "{before:?}");
    cx.operate(&update(vec![window(&[host])])).await?.expect(200)?.empty()?;
    framework
        .wait("a rescinded offer", |this| {
            this.rescinded().contains(&before.id.named().to_owned()).then_some(())
        })
        .await?;
    let offer = framework.offer_of(agent).await?;
    anyhow::ensure!(offer.unavailability == Some(unavailability()), "{offer:?}");
    let first = inverse(framework, 0).await?;
    anyhow::ensure!(
        first.agent_id.named() == agent && first.framework_id.named() == framework.id,
        "{first:?}"
    );
    anyhow::ensure!(
        first.unavailability == Some(unavailability()) && first.resources.is_empty(),
        "{first:?}"
    );
    let shown = cx.framework(&framework.id).await?.map(|one| one.inverse_offers.len());
    anyhow::ensure!(shown == Some(1), "{shown:?} inverse offers are shown");
    anyhow::ensure!(answers(cx).await?.is_empty(), "an answer before there was one");
    answer(framework, &first, false, 0.1).await?;
    let one = one_answer(cx, Status::Decline).await?;
    anyhow::ensure!(one.framework_id.named() == framework.id && one.timestamp.is_some(), "{one:?}");
    // The refusal was short: it is asked again, and answers otherwise.
    let second = inverse(framework, 1).await?;
    answer(framework, &second, true, 3_600.0).await?;
    one_answer(cx, Status::Accept).await?;
    framework.listen(QUIET).await?;
    let asked = framework.heard.iter().filter_map(|event| event.inverse_offers.as_ref()).count();
    anyhow::ensure!(asked == 2, "asked {asked} times, although it wants to be left alone");
    anyhow::ensure!(
        framework.states_of("t").last() == Some(&TaskState::TaskRunning),
        "its task is disturbed"
    );
    let machines = status(cx).await?;
    anyhow::ensure!(
        machines.draining_machines.len() == 1 && machines.down_machines.is_empty(),
        "{machines:?}"
    );
    Ok(())
}

async fn down_and_up(
    cx: &mut Context,
    framework: &mut Framework,
    agent: &str,
    host: &str,
) -> anyhow::Result<()> {
    let index = cx.agent_index(agent).await?;
    let leader = cx.leader().await?;
    let list = json!([{ "hostname": host }]).to_string();
    cx.http.send("GET", &leader, "/machine/down", &[], "").await?.expect(405)?;
    cx.http.send("POST", &leader, "/machine/down", &[], "{}").await?.refuses(400)?;
    cx.http.send("POST", &leader, "/machine/down", &[], list.clone()).await?.expect(200)?.empty()?;
    let lost = framework.state("t", TaskState::TaskLost).await?;
    anyhow::ensure!(lost.reason() == Reason::AgentRemoved && lost.uuid.is_none(), "{lost:?}");
    framework.failure(agent).await?;
    cx.eventually("the end of the agent's process", async || cx.agent_has_exited(index).then_some(()))
        .await?;
    let status: Value = cx.http.get_json(&leader, "/maintenance/status").await?;
    anyhow::ensure!(status["down_machines"][0]["hostname"] == host, "{status}");
    // Refused while the machine is down, which must stay in the schedule.
    cx.operate(&start(&[host])).await?.refuses(400)?;
    cx.operate(&update(Vec::new())).await?.refuses(400)?.saying(host)?;
    cx.cluster.kill_agent(index);
    cx.cluster.start_agent(index)?;
    cx.eventually("the end of the agent's process", async || cx.agent_has_exited(index).then_some(()))
        .await?;
    active_agents(cx, 1).await?;
    cx.http.send("POST", &leader, "/machine/up", &[], list).await?.expect(200)?.empty()?;
    cx.cluster.kill_agent(index);
    cx.cluster.start_agent(index)?;
    active_agents(cx, 2).await?;
    anyhow::ensure!(cx.agent_index(agent).await? == index, "the agent came back with another id");
    let schedule: Value = cx.http.get_json(&leader, "/maintenance/schedule").await?;
    anyhow::ensure!(schedule.get("windows").is_none(), "a machine that is up is still scheduled: {schedule}");
    // The plain endpoint takes what it shows.
    let start = json!({ "start": { "nanoseconds": NANOS } });
    let plan = json!({ "windows": [{ "machine_ids": [{ "hostname": "m", "ip": "10.9.8.7" }], "unavailability": start }] });
    cx.http
        .send("POST", &leader, "/maintenance/schedule", &[], plan.to_string())
        .await?
        .expect(200)?
        .empty()?;
    let shown: Value = cx.http.get_json(&leader, "/maintenance/schedule").await?;
    anyhow::ensure!(shown == plan, "{shown}");
    cx.operate(&update(Vec::new())).await?.expect(200)?.empty()?;
    Ok(())
}
