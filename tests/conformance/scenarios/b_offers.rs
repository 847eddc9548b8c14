//! Scenarios 23, 29, 33, 35, 36, 40: what is offered to whom.

use std::collections::BTreeMap;

use tepui_proto::v1;
use tepui_proto::v1::TaskState;

use crate::conformance::Context;
use crate::conformance::context::{AGENT, QUIET};
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{
    Named, accept, amount, framework_id, in_roles, info, lasting, launch, sized, sleeper, subscribe,
    suppress, task,
};

pub(crate) async fn whole_agents(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("first")).await?;
    let offers = framework.offers_of_agents(2).await?;
    let agents = cx.agents().await?;
    for offer in &offers {
        let found = (amount(&offer.resources, "cpus"), amount(&offer.resources, "mem"));
        anyhow::ensure!(found == AGENT, "an offer of {found:?}");
        let ports: Vec<_> = offer.resources.iter().filter_map(|one| one.ranges.as_ref()).collect();
        anyhow::ensure!(ports.len() == 1 && ports[0].range[0].begin() == 31_000, "{ports:?}");
        anyhow::ensure!(offer.framework_id.named() == framework.id, "{offer:?}");
        anyhow::ensure!(offer.executor_ids.is_empty(), "{offer:?}");
        // Without MULTI_ROLE there is no trace of an allocation.
        anyhow::ensure!(offer.allocation_info.is_none(), "{offer:?}");
        anyhow::ensure!(offer.resources.iter().all(|one| one.allocation_info.is_none()), "{offer:?}");
        let master = cx.ask(v1::master::call::Type::GetMaster).await?.get_master.unwrap_or_default();
        let master_id = master.master_info.unwrap_or_default().id.unwrap_or_default();
        let number = offer.id.named().strip_prefix(&format!("{master_id}-O")).map(str::to_owned);
        anyhow::ensure!(number.is_some_and(|text| text.parse::<u64>().is_ok()), "offer id {:?}", offer.id);
        let agent = agents
            .iter()
            .filter_map(|agent| agent.agent_info.as_ref())
            .find(|info| info.id == offer.agent_id)
            .ok_or_else(|| anyhow::anyhow!("an offer of an unknown agent"))?;
        anyhow::ensure!(offer.hostname == agent.hostname, "{offer:?}");
        let address = offer.url.as_ref().and_then(|url| url.address.clone()).unwrap_or_default();
        anyhow::ensure!(address.ip.as_deref() == Some("127.0.0.1"), "{offer:?}");
        anyhow::ensure!(address.port == agent.port, "{offer:?}");
    }
    let state = cx.state().await?;
    for agent in state["slaves"].as_array().into_iter().flatten() {
        anyhow::ensure!(agent["offered_resources"]["cpus"].as_f64() == Some(AGENT.0), "{agent}");
    }
    let shown = &state["frameworks"][0]["offered_resources"];
    anyhow::ensure!(shown["cpus"].as_f64() == Some(2.0 * AGENT.0), "{shown}");
    Ok(())
}

pub(crate) async fn teardown_frees(cx: &mut Context) -> anyhow::Result<()> {
    let mut first = cx.subscribe(lasting("holder")).await?;
    let offers = first.offers_of_agents(2).await?;
    first.launch_on(&offers[0], vec![sized(sleeper("all"), AGENT.0, AGENT.1)]).await?;
    first.state("all", TaskState::TaskRunning).await?;
    let mut second = cx.subscribe(info("heir")).await?;
    second.listen(QUIET).await?;
    anyhow::ensure!(second.offers.is_empty(), "everything was taken, yet {:?} was offered", second.offers);
    first.tear_down().await?;
    for offer in second.offers_of_agents(2).await? {
        let found = (amount(&offer.resources, "cpus"), amount(&offer.resources, "mem"));
        anyhow::ensure!(found == AGENT, "an offer of {found:?}");
    }
    Ok(())
}

/// Fills one agent, so that there is one left to be offered to one framework at a time.
pub(super) async fn one_agent(cx: &Context) -> anyhow::Result<Framework> {
    let mut filler = cx.subscribe(in_roles(info("filler"), &["filler"])).await?;
    let offers = filler.offers_of_agents(2).await?;
    filler.launch_on(&offers[0], vec![sized(sleeper("all"), AGENT.0, AGENT.1)]).await?;
    filler.state("all", TaskState::TaskRunning).await?;
    filler.call(suppress(&[])).await?;
    filler.decline(&offers[1], 3_600.0).await?;
    Ok(filler)
}

/// Waits for the next offer of any of these frameworks and returns whose it is.
pub(super) async fn next_of(frameworks: &mut [Framework]) -> anyhow::Result<(usize, v1::Offer)> {
    let began = std::time::Instant::now();
    loop {
        for (index, framework) in frameworks.iter_mut().enumerate() {
            framework.listen(std::time::Duration::from_millis(5)).await?;
            if let Some(offer) = framework.offers.pop_front() {
                return Ok((index, offer));
            }
        }
        anyhow::ensure!(began.elapsed() < crate::conformance::PATIENCE, "nobody is offered anything");
    }
}

pub(crate) async fn equal_shares(cx: &mut Context) -> anyhow::Result<()> {
    let _filler = one_agent(cx).await?;
    let mut frameworks = Vec::new();
    for name in ["one", "two", "three"] {
        frameworks.push(cx.subscribe(info(name)).await?);
    }
    let mut counts = [0_usize; 3];
    for _round in 0..30 {
        let (whose, offer) = next_of(&mut frameworks).await?;
        counts[whose] += 1;
        frameworks[whose].decline(&offer, 0.0).await?;
    }
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    anyhow::ensure!(most.unwrap_or(0) <= least.unwrap_or(0) + 1, "unequal: {counts:?}");
    Ok(())
}

pub(crate) async fn nested_roles(cx: &mut Context) -> anyhow::Result<()> {
    let _filler = one_agent(cx).await?;
    let mut frameworks = Vec::new();
    for role in ["a/b", "a/c", "d"] {
        frameworks.push(cx.subscribe(in_roles(info(role), &[role])).await?);
    }
    let mut counts = [0_usize; 3];
    // Each takes a tenth of a CPU of what it is offered and gives the rest back.
    for round in 0..16 {
        let (whose, offer) = next_of(&mut frameworks).await?;
        counts[whose] += 1;
        frameworks[whose].launch_on(&offer, vec![sized(sleeper(&format!("t{round}")), 0.1, 32.0)]).await?;
    }
    let subtree = counts[0] + counts[1];
    anyhow::ensure!(subtree.abs_diff(counts[2]) <= 1, "a/* and d are unequal: {counts:?}");
    anyhow::ensure!(counts[0].abs_diff(counts[1]) <= 1, "a/b and a/c are unequal: {counts:?}");
    Ok(())
}

/// Too little of everything to be worth an offer.
const CRUMBS: (f64, f64) = (0.005, 16.0);

pub(crate) async fn smallest_offer(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("nearly all")).await?;
    let offers = framework.offers_of_agents(2).await?;
    let (nearly, other) = (&offers[0], &offers[1]);
    let mut most = sized(sleeper("most"), AGENT.0 - CRUMBS.0, AGENT.1 - CRUMBS.1);
    most.agent_id.clone_from(&nearly.agent_id);
    framework.call(accept(&[nearly], vec![launch(vec![most])])).await?;
    framework.state("most", TaskState::TaskRunning).await?;
    framework.decline(other, 3_600.0).await?;
    framework.listen(QUIET).await?;
    anyhow::ensure!(framework.offers.is_empty(), "crumbs were offered: {:?}", framework.offers);
    // For a role whose framework says that anything will do they are enough.
    let mut modest = info("modest");
    let anything = v1::OfferFilters { min_allocatable_resources: Some(Default::default()) };
    modest.offer_filters.insert("*".to_owned(), anything);
    let mut modest = cx.subscribe(modest).await?;
    let crumbs = modest.offer_of(nearly.agent_id.named()).await?;
    let found = (amount(&crumbs.resources, "cpus"), amount(&crumbs.resources, "mem"));
    anyhow::ensure!(found == CRUMBS, "{found:?}");
    Ok(())
}

pub(super) fn role_of(offer: &v1::Offer) -> String {
    offer.allocation_info.as_ref().and_then(|allocation| allocation.role.clone()).unwrap_or_default()
}

pub(crate) async fn several_roles(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(in_roles(lasting("roles"), &["a", "b"])).await?;
    let offers = framework.offers_of_agents(2).await?;
    let mut by_role: BTreeMap<String, v1::Offer> = BTreeMap::new();
    for offer in offers {
        for resource in &offer.resources {
            let role = resource.allocation_info.as_ref().and_then(|allocation| allocation.role.clone());
            anyhow::ensure!(
                role.as_deref() == Some(&role_of(&offer)),
                "{resource:?} in an offer for {}",
                role_of(&offer)
            );
        }
        by_role.insert(role_of(&offer), offer);
    }
    // Roles take turns; one that got nothing yet gets something when the other refuses for long.
    for (missing, other) in [("a", "b"), ("b", "a")] {
        if !by_role.contains_key(missing) {
            let held = by_role.get(other).cloned().unwrap_or_default();
            framework.decline(&held, 3_600.0).await?;
            let offer = framework.offer().await?;
            by_role.remove(other);
            by_role.insert(role_of(&offer), offer);
        }
    }
    let wanted = by_role.get("a").or(by_role.get("b")).cloned().unwrap_or_default();
    let role = role_of(&wanted);
    framework.launch_on(&wanted, vec![sleeper("kept")]).await?;
    framework.state("kept", TaskState::TaskRunning).await?;
    // The framework leaves the role; its task goes on, and nothing of the role is offered any more.
    let other = if role == "a" { "b" } else { "a" };
    let info =
        v1::FrameworkInfo { id: Some(framework_id(&framework.id)), ..in_roles(lasting("roles"), &[other]) };
    let mut successor = cx.subscribe_call(&subscribe(info)).await?;
    let offers = successor.offers_of_agents(2).await?;
    anyhow::ensure!(offers.iter().all(|offer| role_of(offer) == other), "{offers:?}");
    let tasks = cx.tasks().await?.tasks;
    let running = |task: &v1::Task| task.task_id.named() == "kept" && task.state() == TaskState::TaskRunning;
    anyhow::ensure!(tasks.iter().any(running), "{tasks:?}");
    let used = tasks.iter().flat_map(|task| &task.resources).filter_map(|one| one.allocation_info.as_ref());
    anyhow::ensure!(used.clone().count() > 0, "a task's resources are allocated to a role");
    anyhow::ensure!(used.into_iter().all(|allocation| allocation.role() == role), "{tasks:?}");
    successor.launch_on(&offers[0], vec![task("new", "true")]).await?;
    successor.state("new", TaskState::TaskFinished).await?;
    successor.kill("kept").await?;
    successor.state("kept", TaskState::TaskKilled).await?;
    Ok(())
}
