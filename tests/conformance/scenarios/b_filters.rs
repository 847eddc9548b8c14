//! Scenarios 24–27, 31, 32: what a framework that refused, suppressed or ignored an offer hears next.

use std::time::{Duration, Instant};

use tepui_proto::v1::scheduler::{Call, call};
use tepui_proto::v1::{Filters, TaskState};

use crate::conformance::Context;
use crate::conformance::context::{AGENT, ALLOCATION_INTERVAL, OFFER_TIMEOUT, QUIET};
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{
    Named, accept, amount, decline, in_roles, info, launch, revive, sized, sleeper, subscribe, suppress, task,
};

/// Takes one offer of each of the cluster's two agents.
async fn both(framework: &mut Framework) -> anyhow::Result<()> {
    let offers = framework.offers_of_agents(2).await?;
    for offer in offers {
        framework.offers.push_back(offer);
    }
    Ok(())
}

/// Fails if the framework is offered anything for a while.
async fn nothing(framework: &mut Framework, why: &str) -> anyhow::Result<()> {
    framework.listen(QUIET).await?;
    anyhow::ensure!(framework.offers.is_empty(), "offers {why}: {:?}", framework.offers);
    Ok(())
}

pub(crate) async fn decline_and_revive(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("decliner")).await?;
    both(&mut framework).await?;
    let agent = framework.offers.front().map(|offer| offer.agent_id.named().to_owned()).unwrap_or_default();
    let offer = framework.offer_of(&agent).await?;
    framework.decline(&offer, 0.0).await?;
    let again = framework.offer_of(&agent).await?;
    anyhow::ensure!(again.id != offer.id, "an offer id came twice");
    anyhow::ensure!(again.resources == offer.resources, "{again:?} instead of {offer:?}");
    framework.offers.push_back(again);
    framework.decline_all(3_600.0).await?;
    nothing(&mut framework, "while everything is filtered").await?;
    framework.call(revive(&[])).await?;
    both(&mut framework).await
}

pub(crate) async fn filter_of_less(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("filters")).await?;
    let agent = framework.run(vec![sized(sleeper("half"), AGENT.0 / 2.0, AGENT.1 / 2.0)]).await?;
    framework.wait("the other agent", |this| (!this.offers.is_empty()).then_some(())).await?;
    framework.decline_all(3_600.0).await?;
    nothing(&mut framework, "while everything is filtered").await?;
    framework.kill("half").await?;
    let whole = framework.offer_of(&agent).await?;
    anyhow::ensure!(amount(&whole.resources, "cpus") == AGENT.0, "{whole:?}");
    Ok(())
}

pub(crate) async fn shortest_filter(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("impatient")).await?;
    both(&mut framework).await?;
    let declined = Instant::now();
    framework.decline_all(0.01).await?;
    framework.offer().await?;
    let lasted = declined.elapsed();
    anyhow::ensure!(
        lasted >= ALLOCATION_INTERVAL,
        "a filter of 10 ms lasted {lasted:?}, less than an interval"
    );
    Ok(())
}

pub(crate) async fn odd_filters(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("odd")).await?;
    both(&mut framework).await?;
    let offers: Vec<_> = framework.offers.drain(..).collect();
    let declined = Instant::now();
    // Unset and negative both mean five seconds, the largest number more than anybody waits.
    framework.call(decline(&[&offers[0]], Some(Filters { refuse_seconds: Some(-1.0) }))).await?;
    framework.decline(&offers[1], 4_294_967_295.0).await?;
    let back = framework.offer().await?;
    anyhow::ensure!(back.agent_id == offers[0].agent_id, "the filter of 136 years is over");
    let lasted = declined.elapsed();
    anyhow::ensure!(lasted >= Duration::from_secs(5), "a filter of -1 s lasted {lasted:?} instead of 5 s");
    framework.call(decline(&[&back], None)).await?;
    nothing(&mut framework, "after a refusal without filters").await
}

pub(crate) async fn offer_timeout(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("slow")).await?;
    let began = Instant::now();
    let first = framework.offer().await?;
    framework
        .wait("RESCIND", |this| this.rescinded().iter().any(|id| id == first.id.named()).then_some(()))
        .await?;
    let lasted = began.elapsed();
    anyhow::ensure!(lasted + Duration::from_millis(500) >= OFFER_TIMEOUT, "rescinded after {lasted:?}");
    let second = framework.offer_of(first.agent_id.named()).await?;
    anyhow::ensure!(second.id != first.id, "an offer id came twice");
    // Neither a used nor a declined offer is rescinded later.
    framework.launch_on(&second, vec![task("used", "true")]).await?;
    framework.state("used", TaskState::TaskFinished).await?;
    let third = framework.offer().await?;
    framework.decline(&third, 3_600.0).await?;
    framework.listen(OFFER_TIMEOUT + QUIET).await?;
    let rescinded = framework.rescinded();
    for (what, offer) in [("used", &second), ("declined", &third)] {
        let late = rescinded.iter().any(|id| id == offer.id.named());
        anyhow::ensure!(!late, "the {what} offer was rescinded");
    }
    Ok(())
}

pub(crate) async fn suppression(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("quiet")).await?;
    both(&mut framework).await?;
    framework.call(suppress(&[])).await?;
    // What is out stays out and can be used.
    let offer = framework.offer().await?;
    framework.launch_on(&offer, vec![task("late", "true")]).await?;
    framework.state("late", TaskState::TaskFinished).await?;
    framework.decline_all(0.0).await?;
    nothing(&mut framework, "to a suppressed framework").await?;
    anyhow::ensure!(framework.rescinded().is_empty(), "SUPPRESS rescinds nothing");
    framework.call(revive(&[])).await?;
    both(&mut framework).await?;
    framework.tear_down().await?;

    // Suppressed from the start, role by role.
    let mut call: Call = subscribe(in_roles(info("roles"), &["a", "b"]));
    call.subscribe.get_or_insert_with(call::Subscribe::default).suppressed_roles =
        vec!["a".to_owned(), "b".to_owned()];
    let mut framework = cx.subscribe_call(&call).await?;
    nothing(&mut framework, "although all roles are suppressed").await?;
    framework.call(revive(&["a"])).await?;
    let offers = framework.offers_of_agents(2).await?;
    let role_of = |offer: &tepui_proto::v1::Offer| {
        offer.allocation_info.as_ref().and_then(|allocation| allocation.role.clone()).unwrap_or_default()
    };
    anyhow::ensure!(offers.iter().all(|offer| role_of(offer) == "a"), "{offers:?}");
    framework.call(suppress(&["a"])).await?;
    for offer in &offers {
        framework.decline(offer, 0.0).await?;
    }
    nothing(&mut framework, "although all roles are suppressed again").await?;
    // One role that is not subscribed spoils the whole call.
    framework.call(revive(&["b", "c"])).await?;
    nothing(&mut framework, "after a REVIVE of an unknown role").await?;
    framework.call(revive(&["b"])).await?;
    let offers = framework.offers_of_agents(2).await?;
    anyhow::ensure!(offers.iter().all(|offer| role_of(offer) == "b"), "{offers:?}");
    Ok(())
}

pub(crate) async fn unused_part_returns(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("halves")).await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let mut half = sized(sleeper("half"), AGENT.0 / 2.0, AGENT.1 / 2.0);
    half.agent_id.clone_from(&offer.agent_id);
    framework.call(accept(&[&offer], vec![launch(vec![half])])).await?;
    framework.state("half", TaskState::TaskRunning).await?;
    let rest = framework.offer_of(&agent).await?;
    let found = (amount(&rest.resources, "cpus"), amount(&rest.resources, "mem"));
    anyhow::ensure!(found == (AGENT.0 / 2.0, AGENT.1 / 2.0), "the rest is {found:?}");
    // An ACCEPT without operations refuses.
    framework.call(accept(&[&rest], Vec::new())).await?;
    let again = framework.offer_of(&agent).await?;
    anyhow::ensure!(again.resources == rest.resources && again.id != rest.id, "{again:?}");
    framework.call(accept(&[&again], vec![launch(Vec::new())])).await?;
    framework.offer_of(&agent).await?;
    Ok(())
}
