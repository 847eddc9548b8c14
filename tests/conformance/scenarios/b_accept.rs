//! Scenarios 30, 42–45: offers that are used together, wrongly, too late, or to the last thousandth.

use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::task_status::{Reason, Source};

use crate::conformance::Context;
use crate::conformance::context::AGENT;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{
    Named, able, accept, agent_id, amount, decline, in_roles, info, launch, offer_id, scalar, sized, sleeper,
    task,
};

/// The task with the agent of this offer.
fn on(offer: &v1::Offer, task: v1::TaskInfo) -> v1::TaskInfo {
    v1::TaskInfo { agent_id: offer.agent_id.clone(), ..task }
}

pub(crate) async fn error_returns_offer(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("errors")).await?;
    let offer = framework.offer().await?;
    framework.launch_on(&offer, vec![sized(sleeper("huge"), 1_000.0, 32.0)]).await?;
    let status = framework.state("huge", TaskState::TaskError).await?;
    anyhow::ensure!(status.reason() == Reason::TaskInvalid, "{status:?}");
    anyhow::ensure!(status.source() == Source::Master && status.uuid.is_none(), "{status:?}");
    let again = framework.offer_of(offer.agent_id.named()).await?;
    anyhow::ensure!(again.resources == offer.resources, "{again:?} instead of {offer:?}");
    Ok(())
}

/// Brings about two offers of one agent.
async fn two_of_one_agent(framework: &mut Framework) -> anyhow::Result<(v1::Offer, v1::Offer)> {
    let whole = framework.offer().await?;
    let agent = whole.agent_id.named().to_owned();
    framework.launch_on(&whole, vec![sized(sleeper("half"), AGENT.0 / 2.0, AGENT.1 / 2.0)]).await?;
    framework.state("half", TaskState::TaskRunning).await?;
    let first = framework.offer_of(&agent).await?;
    framework.kill("half").await?;
    framework.state("half", TaskState::TaskKilled).await?;
    let second = framework.offer_of(&agent).await?;
    Ok((first, second))
}

pub(crate) async fn combined_offers(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("combines")).await?;
    let (first, second) = two_of_one_agent(&mut framework).await?;
    let cpus = [&first, &second].map(|offer| amount(&offer.resources, "cpus"));
    anyhow::ensure!(cpus == [AGENT.0 / 2.0; 2], "offers of {cpus:?} CPUs");
    let big = on(&first, sized(task("big", "true"), AGENT.0 * 0.75, 64.0));
    framework.call(accept(&[&first, &second], vec![launch(vec![big])])).await?;
    framework.state("big", TaskState::TaskFinished).await?;
    Ok(())
}

/// Sends an ACCEPT that is wrong as a whole, and checks what becomes of its task.
async fn lost(
    framework: &mut Framework,
    id: &str,
    offers: &[&v1::Offer],
    expected: TaskState,
) -> anyhow::Result<()> {
    let task = match offers.first() {
        Some(offer) => on(offer, task(id, "true")),
        None => v1::TaskInfo { agent_id: Some(agent_id("somewhere")), ..task(id, "true") },
    };
    framework.call(accept(offers, vec![launch(vec![task])])).await?;
    let status = framework.next_update(id, 0).await?;
    anyhow::ensure!(status.state() == expected, "{id}: {status:?}");
    anyhow::ensure!(status.reason() == Reason::InvalidOffers, "{id}: {status:?}");
    anyhow::ensure!(status.source() == Source::Master && status.uuid.is_none(), "{id}: {status:?}");
    Ok(())
}

pub(crate) async fn invalid_combinations(cx: &mut Context) -> anyhow::Result<()> {
    for (aware, expected) in [(false, TaskState::TaskLost), (true, TaskState::TaskDropped)] {
        let mut who = in_roles(info("combines"), &["a", "b"]);
        if aware {
            who = able(who, &[PartitionAware]);
        }
        let mut framework = cx.subscribe(who).await?;
        let offers = framework.offers_of_agents(2).await?;
        lost(&mut framework, "across", &[&offers[0], &offers[1]], expected).await?;
        // What was named wrongly comes back in new offers.
        let offers = framework.offers_of_agents(2).await?;
        lost(&mut framework, "twice", &[&offers[0], &offers[0]], expected).await?;
        let again = framework.offer_of(offers[0].agent_id.named()).await?;
        lost(&mut framework, "none", &[], expected).await?;
        framework.launch_on(&again, vec![task("good", "true")]).await?;
        framework.state("good", TaskState::TaskFinished).await?;
        different_roles(cx, &mut framework, expected).await?;
        framework.tear_down().await?;
    }
    Ok(())
}

/// Two offers of one agent for different roles, brought about by a task that ends while the rest is offered.
async fn different_roles(cx: &Context, framework: &mut Framework, expected: TaskState) -> anyhow::Result<()> {
    let role = |offer: &v1::Offer| {
        offer.allocation_info.as_ref().map(|one| one.role().to_owned()).unwrap_or_default()
    };
    framework.decline_all(0.0).await?;
    for round in 0..20 {
        let whole = framework.offer().await?;
        let agent = whole.agent_id.named().to_owned();
        let id = format!("half{round}");
        framework.launch_on(&whole, vec![sized(sleeper(&id), AGENT.0 / 2.0, AGENT.1 / 2.0)]).await?;
        framework.state(&id, TaskState::TaskRunning).await?;
        let first = framework.offer_of(&agent).await?;
        framework.kill(&id).await?;
        let second = framework.offer_of(&agent).await?;
        if role(&first) != role(&second) {
            return lost(framework, "roles", &[&first, &second], expected).await;
        }
        framework.call(decline(&[&first, &second], Some(v1::Filters { refuse_seconds: Some(0.0) }))).await?;
        framework.decline_all(0.0).await?;
    }
    anyhow::bail!("no two offers for different roles at {}", cx.leader().await?)
}

pub(crate) async fn stale_offers(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("late")).await?;
    let offer = framework.offer().await?;
    framework.decline(&offer, 0.0).await?;
    let fresh = framework.offer_of(offer.agent_id.named()).await?;
    // Declining what is gone, or what never was, is no error.
    framework.decline(&offer, 3_600.0).await?;
    let invented = v1::Offer { id: Some(offer_id("made-up-O1")), ..offer.clone() };
    framework.call(decline(&[&invented, &offer], None)).await?;
    lost(&mut framework, "stale", &[&offer], TaskState::TaskLost).await?;
    // One stale offer spoils the call; the good one is returned.
    lost(&mut framework, "mixed", &[&fresh, &offer], TaskState::TaskLost).await?;
    let again = framework.offer_of(offer.agent_id.named()).await?;
    framework.launch_on(&again, vec![task("good", "true")]).await?;
    framework.state("good", TaskState::TaskFinished).await?;
    // Nobody can use another framework's offer.
    let mut other = cx.subscribe(info("thief")).await?;
    let mine = framework.offers_of_agents(1).await?.remove(0);
    lost(&mut other, "stolen", &[&mine], TaskState::TaskLost).await?;
    framework.launch_on(&mine, vec![task("mine", "true")]).await?;
    framework.state("mine", TaskState::TaskFinished).await?;
    Ok(())
}

pub(crate) async fn rounding(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("rounds")).await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    // Leaves exactly 0.3 CPUs, of which 0.1 and 0.2 fit, although their sum as doubles is more.
    let mut most = on(&offer, sized(sleeper("most"), AGENT.0 - 0.3, 64.0));
    most.resources.push(scalar("gpus", 0.0));
    framework.call(accept(&[&offer], vec![launch(vec![most])])).await?;
    framework.state("most", TaskState::TaskRunning).await?;
    let rest = framework.offer_of(&agent).await?;
    let left = amount(&rest.resources, "cpus");
    anyhow::ensure!(left == 0.3, "{left} CPUs are left instead of 0.3");
    let tasks = vec![
        on(&rest, sized(sleeper("tenth"), 0.1, 32.0)),
        on(&rest, sized(sleeper("fifth"), 0.2, 32.0)),
        on(&rest, sized(sleeper("more"), 0.001, 32.0)),
    ];
    framework.call(accept(&[&rest], vec![launch(tasks)])).await?;
    framework.state("tenth", TaskState::TaskRunning).await?;
    framework.state("fifth", TaskState::TaskRunning).await?;
    let status = framework.state("more", TaskState::TaskError).await?;
    anyhow::ensure!(status.reason() == Reason::TaskInvalid, "{status:?}");
    // Less than half a thousandth is nothing.
    let other = framework.offer().await?;
    let mut nothing = sized(sleeper("nothing"), 0.0004, 32.0);
    nothing.resources.truncate(1);
    framework.launch_on(&other, vec![nothing]).await?;
    framework.state("nothing", TaskState::TaskError).await?;
    Ok(())
}
