//! Scenarios 34, 37–39, 41: weights, and what hides agents from frameworks.

use std::collections::BTreeMap;

use tepui_proto::tepui::operator;
use tepui_proto::v1;
use tepui_proto::v1::framework_info::capability::Type::{GpuResources, RegionAware};
use tepui_proto::v1::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector as Which};
use tepui_proto::v1::scheduler::attribute_constraint::{Predicate, Selector, predicate};
use tepui_proto::v1::scheduler::offer_constraints::{RoleConstraints, role_constraints::Group};
use tepui_proto::v1::scheduler::{AttributeConstraint, Call, OfferConstraints, call};

use super::b_offers::{next_of, one_agent};
use super::h_quota::set_weights;
use crate::conformance::Context;
use crate::conformance::context::{MIXED_HOSTS, QUIET, TINY};
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{
    able, accept, framework_id, in_roles, info, launch, of, revive, scalar, sized, sleeper, subscribe,
};

pub(crate) async fn weights(cx: &mut Context) -> anyhow::Result<()> {
    set_weights(cx, &[("heavy", 2.0)]).await?;
    let _filler = one_agent(cx).await?;
    let mut frameworks = Vec::new();
    for role in ["light", "heavy/inner"] {
        frameworks.push(cx.subscribe(in_roles(info(role), &[role])).await?);
    }
    let mut counts = [0_usize; 2];
    // Each takes a tenth of a CPU of what it is offered and gives the rest back.
    for round in 0..18 {
        let (whose, offer) = next_of(&mut frameworks).await?;
        counts[whose] += 1;
        frameworks[whose].launch_on(&offer, vec![sized(sleeper(&format!("t{round}")), 0.1, 32.0)]).await?;
    }
    anyhow::ensure!(counts[0].abs_diff(6) <= 1, "one to two, not {counts:?}");
    Ok(())
}

/// Hosts of the agents that are offered, until it is quiet.
async fn hosts(framework: &mut Framework) -> anyhow::Result<BTreeMap<String, v1::Offer>> {
    framework.wait("an offer", |this| (!this.offers.is_empty()).then_some(())).await?;
    framework.listen(QUIET).await?;
    let named = |offer: v1::Offer| (offer.hostname.clone().unwrap_or_default(), offer);
    Ok(framework.offers.drain(..).map(named).collect())
}

fn only<'a>(offers: &'a BTreeMap<String, v1::Offer>, wanted: &[&str]) -> anyhow::Result<Vec<&'a v1::Offer>> {
    let found: Vec<&str> = offers.keys().map(String::as_str).collect();
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    anyhow::ensure!(found == wanted, "{found:?} instead of {wanted:?}");
    Ok(offers.values().collect())
}

const PLAIN: &str = MIXED_HOSTS[0];
const GPUS: &str = MIXED_HOSTS[1];
const SOUTH: &str = MIXED_HOSTS[2];

pub(crate) async fn excluded_from_fairness(cx: &mut Context) -> anyhow::Result<()> {
    let in_role = |role: &str| able(in_roles(info(role), &[role]), &[GpuResources]);
    let mut rich = cx.subscribe(in_role("rich")).await?;
    let offers = hosts(&mut rich).await?;
    only(&offers, &[GPUS, PLAIN])?;
    // It holds every GPU of the cluster, and hardly anything else.
    let mut all = sized(sleeper("all"), TINY.0, TINY.1);
    all.resources.push(scalar("gpus", 2.0));
    all.agent_id.clone_from(&offers[GPUS].agent_id);
    rich.call(accept(&[&offers[GPUS]], vec![launch(vec![all])])).await?;
    rich.state("all", v1::TaskState::TaskRunning).await?;
    rich.decline(&offers[PLAIN], 3_600.0).await?;
    let mut other = cx.subscribe(in_role("other")).await?;
    let offer = other.offer().await?;
    rich.call(revive(&[])).await?;
    let mut half = sized(sleeper("half"), 0.5, 64.0);
    half.agent_id.clone_from(&offer.agent_id);
    other.call(accept(&[&offer], vec![launch(vec![half])])).await?;
    // A twentieth of the CPUs against an eighth: GPUs would have made it everything against an eighth.
    let (whose, offer) = next_of(&mut [other, rich]).await?;
    anyhow::ensure!(whose == 1, "GPUs count for shares: {offer:?}");
    Ok(())
}

pub(crate) async fn gpu_capability(cx: &mut Context) -> anyhow::Result<()> {
    let mut plain = cx.subscribe(info("plain")).await?;
    only(&hosts(&mut plain).await?, &[PLAIN])?;
    let mut able = cx.subscribe(able(info("able"), &[GpuResources])).await?;
    let offers = hosts(&mut able).await?;
    let offer = only(&offers, &[GPUS])?[0];
    anyhow::ensure!(crate::conformance::wire::messages::amount(&offer.resources, "gpus") == 2.0, "{offer:?}");
    Ok(())
}

/// Why the framework does not get the agents that it does not get, with the number of agents.
async fn obstacles(cx: &Context, framework: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let call = operator::Call {
        r#type: Some(operator::call::Type::ExplainOffers as i32),
        explain_offers: Some(operator::call::ExplainOffers { framework_id: Some(framework_id(framework)) }),
        ..Default::default()
    };
    let answer = cx.http.post(&cx.leader().await?, "/tepui/v1/operator", &[], &call).await?;
    let explained = answer.expect(200)?.message::<operator::Response>(cx.media)?.explain_offers;
    let roles = explained.unwrap_or_default().roles;
    let named = roles.into_iter().flat_map(|role| role.obstacles);
    Ok(named.map(|one| (one.reason().to_owned(), one.agents())).collect())
}

pub(crate) async fn whitelist_and_regions(cx: &mut Context) -> anyhow::Result<()> {
    let mut plain = cx.subscribe(info("plain")).await?;
    only(&hosts(&mut plain).await?, &[PLAIN])?;
    let reasons = obstacles(cx, &plain.id).await?;
    for (reason, agents) in [("OTHER_REGION", 1), ("GPU_AGENT", 1), ("NOTHING_FREE", 1)] {
        anyhow::ensure!(reasons.get(reason) == Some(&agents), "{reasons:?} instead of {reason}");
    }
    let mut aware = cx.subscribe(able(info("aware"), &[RegionAware])).await?;
    let offers = hosts(&mut aware).await?;
    let offer = only(&offers, &[SOUTH])?[0];
    let fault = offer.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
    let region = fault.and_then(|fault| fault.region.as_ref()).map(|region| region.name().to_owned());
    anyhow::ensure!(region.as_deref() == Some("south"), "{offer:?}");
    aware.tear_down().await?;
    plain.tear_down().await?;

    // The list of hosts is read again by itself. Offers that are out stay out; what comes back of them is not offered again.
    let mut aware = cx.subscribe(able(info("aware"), &[RegionAware, GpuResources])).await?;
    let before = hosts(&mut aware).await?;
    only(&before, &MIXED_HOSTS)?;
    cx.whitelist(&[SOUTH])?;
    cx.eventually("a list of one host", async || {
        let reasons = obstacles(cx, &aware.id).await.ok()?;
        (reasons.get("NOT_LISTED") == Some(&2)).then_some(())
    })
    .await?;
    aware.listen(QUIET).await?;
    anyhow::ensure!(aware.rescinded().is_empty(), "offers that are out stay out");
    for offer in before.values() {
        aware.decline(offer, 0.0).await?;
    }
    let offers = hosts(&mut aware).await?;
    only(&offers, &[SOUTH])?;
    cx.whitelist(&MIXED_HOSTS)?;
    let offers = hosts(&mut aware).await?;
    only(&offers, &[GPUS, PLAIN])?;
    Ok(())
}

fn matches(regex: &str) -> predicate::Predicate {
    predicate::Predicate::TextMatches(predicate::TextMatches { regex: Some(regex.to_owned()) })
}

fn equals(value: &str) -> predicate::Predicate {
    predicate::Predicate::TextEquals(predicate::TextEquals { value: Some(value.to_owned()) })
}

fn attribute(name: &str) -> Which {
    Which::AttributeName(name.to_owned())
}

/// What has to hold of an agent: all of one of these groups.
type Groups = Vec<Vec<(Which, predicate::Predicate)>>;

fn constraints(groups: Groups) -> OfferConstraints {
    let constraint = |(which, predicate)| AttributeConstraint {
        selector: Some(Selector { selector: Some(which) }),
        predicate: Some(Predicate { predicate: Some(predicate) }),
    };
    let group = |all: Vec<_>| Group { attribute_constraints: all.into_iter().map(constraint).collect() };
    let of_role = RoleConstraints { groups: groups.into_iter().map(group).collect() };
    OfferConstraints { role_constraints: BTreeMap::from([("*".to_owned(), of_role)]) }
}

fn constrained(constraints: OfferConstraints) -> Call {
    let mut call = subscribe(able(info("constrained"), &[RegionAware, GpuResources]));
    call.subscribe.get_or_insert_default().offer_constraints = Some(constraints);
    call
}

pub(crate) async fn offer_constraints(cx: &mut Context) -> anyhow::Result<()> {
    let not_exists = predicate::Predicate::NotExists(predicate::NotExists {});
    let pseudo = |kind: PseudoattributeType| Which::PseudoattributeType(kind as i32);
    let table: Vec<(Groups, &[&str])> = vec![
        (vec![vec![(attribute("rack"), equals("r1"))]], &[PLAIN]),
        // The first attribute with the name counts.
        (vec![vec![(attribute("rack"), equals("r9"))], vec![(attribute("rack"), equals("r2"))]], &[SOUTH]),
        (vec![vec![(attribute("rack"), matches("r[0-9]"))]], &[PLAIN, SOUTH]),
        // Whole texts are matched.
        (vec![vec![(attribute("rack"), matches("r|g1"))]], &[GPUS]),
        (vec![vec![(attribute("row"), not_exists)]], &[GPUS, PLAIN]),
        // A number passes every test of texts.
        (vec![vec![(attribute("row"), equals("no number"))]], &[SOUTH]),
        (vec![vec![(pseudo(PseudoattributeType::Hostname), matches("(gpus|south)[.].*"))]], &[GPUS, SOUTH]),
        (vec![vec![(pseudo(PseudoattributeType::Region), equals("south"))]], &[SOUTH]),
        (
            vec![vec![
                (pseudo(PseudoattributeType::Zone), equals("south-1")),
                (attribute("rack"), matches("r.*")),
            ]],
            &[SOUTH],
        ),
    ];
    for (groups, wanted) in table {
        let mut framework = cx.subscribe_call(&constrained(constraints(groups.clone()))).await?;
        let offers = hosts(&mut framework).await?;
        only(&offers, wanted).map_err(|error| error.context(format!("{groups:?}")))?;
        framework.tear_down().await?;
    }
    // What cannot be used is refused by name.
    for (bad, says) in [
        (constraints(vec![vec![(attribute("rack"), matches("(a{50}){50}"))]]), "too complex"),
        (constraints(vec![vec![(attribute("rack"), matches("("))]]), "("),
        (constraints(vec![vec![]]), "empty group"),
        (constraints(vec![]), "no groups"),
    ] {
        let reason = cx.refused(&constrained(bad)).await?;
        anyhow::ensure!(reason.contains(says), "{reason} does not name {says}");
    }
    // A change holds for offers to come, and is shown.
    let first = constraints(vec![vec![(attribute("rack"), equals("r1"))]]);
    let mut framework = cx.subscribe_call(&constrained(first)).await?;
    let offers = hosts(&mut framework).await?;
    let second = constraints(vec![vec![(attribute("rack"), equals("r2"))]]);
    let framework_info = v1::FrameworkInfo {
        id: Some(framework_id(&framework.id)),
        ..able(info("constrained"), &[RegionAware, GpuResources])
    };
    let update = call::UpdateFramework {
        framework_info: Some(framework_info),
        suppressed_roles: Vec::new(),
        offer_constraints: Some(second.clone()),
    };
    let call = Call {
        framework_id: Some(framework_id(&framework.id)),
        update_framework: Some(update),
        ..of(call::Type::UpdateFramework)
    };
    framework.post(&call).await?.expect(200)?;
    let shown = cx.framework(&framework.id).await?.and_then(|shown| shown.offer_constraints);
    anyhow::ensure!(shown.as_ref() == Some(&second), "{shown:?}");
    only(&hosts(&mut framework).await?, &[SOUTH])?;
    anyhow::ensure!(framework.rescinded().is_empty(), "offers that are out stay out");
    framework.decline(&offers[PLAIN], 0.0).await?;
    framework.listen(QUIET).await?;
    anyhow::ensure!(framework.offers.is_empty(), "what fits no longer: {:?}", framework.offers);
    Ok(())
}
