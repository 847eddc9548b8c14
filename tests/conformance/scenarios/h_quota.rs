//! Scenarios 101, 102: quotas and weights as operators set them.

use std::collections::BTreeMap;

use tepui_proto::v1;
use tepui_proto::v1::master::Call;
use tepui_proto::v1::master::call::{self, Type};
use tepui_proto::v1::quota::{QuotaConfig, QuotaRequest};
use tepui_proto::v1::value::Scalar;

use super::g_failover::kill_leader;
use crate::conformance::Context;
use crate::conformance::context::{AGENT, QUIET};
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{amount, in_roles, info, lasting, scalar};

/// Sets weights, which must be taken.
pub(in crate::conformance) async fn set_weights(cx: &Context, weights: &[(&str, f64)]) -> anyhow::Result<()> {
    post(cx, &weights_call(weights)).await?.expect(200)?.empty()?;
    Ok(())
}

fn weights_call(weights: &[(&str, f64)]) -> Call {
    let infos = weights
        .iter()
        .map(|(role, weight)| v1::WeightInfo { weight: Some(*weight), role: Some((*role).to_owned()) });
    let update_weights = Some(call::UpdateWeights { weight_infos: infos.collect() });
    Call { r#type: Some(Type::UpdateWeights as i32), update_weights, ..Default::default() }
}

async fn post(cx: &Context, call: &Call) -> anyhow::Result<crate::conformance::wire::Answer> {
    cx.http.post(&cx.leader().await?, "/api/v1", &[], call).await
}

/// A quota of a role. Without amounts it is none.
pub(in crate::conformance) fn config(
    role: &str,
    guarantee: &[(&str, f64)],
    limit: &[(&str, f64)],
) -> QuotaConfig {
    let scalars = |amounts: &[(&str, f64)]| -> BTreeMap<String, Scalar> {
        amounts.iter().map(|(name, value)| ((*name).to_owned(), Scalar { value: Some(*value) })).collect()
    };
    QuotaConfig { role: Some(role.to_owned()), guarantees: scalars(guarantee), limits: scalars(limit) }
}

fn quota_call(force: bool, quota_configs: Vec<QuotaConfig>) -> Call {
    let update_quota = Some(call::UpdateQuota { force: Some(force), quota_configs });
    Call { r#type: Some(Type::UpdateQuota as i32), update_quota, ..Default::default() }
}

/// Sets quotas, which must be taken.
pub(in crate::conformance) async fn set_quota(cx: &Context, configs: Vec<QuotaConfig>) -> anyhow::Result<()> {
    post(cx, &quota_call(false, configs)).await?.expect(200)?.empty()?;
    Ok(())
}

/// The quotas that there are.
pub(in crate::conformance) async fn quotas(cx: &Context) -> anyhow::Result<Vec<QuotaConfig>> {
    let answer = cx.ask(Type::GetQuota).await?.get_quota.unwrap_or_default();
    Ok(answer.status.unwrap_or_default().configs)
}

/// CPUs of everything that is offered until it is quiet.
pub(super) async fn offered(framework: &mut Framework) -> anyhow::Result<f64> {
    framework.listen(QUIET).await?;
    let gone = framework.rescinded();
    let lives =
        |offer: &&v1::Offer| !gone.iter().any(|id| offer.id.as_ref().is_some_and(|own| own.value() == id));
    Ok(framework.offers.iter().filter(lives).map(|offer| amount(&offer.resources, "cpus")).sum())
}

pub(crate) async fn quota(cx: &mut Context) -> anyhow::Result<()> {
    let both = [("cpus", 1.5), ("mem", 256.0)];
    set_quota(cx, vec![config("dev", &both, &both), config("ops", &[], &[("cpus", 1.0)])]).await?;
    let known = quotas(cx).await?;
    anyhow::ensure!(
        known == [config("dev", &both, &both), config("ops", &[], &[("cpus", 1.0)])],
        "{known:?}"
    );
    // All or nothing.
    let nothing = || config("dev", &[], &[]);
    for (bad, says) in [
        (vec![nothing(), config("dev/inner", &[], &[("cpus", 1.0)])], "nested"),
        (vec![nothing(), config("*", &[], &[("cpus", 1.0)])], "'*'"),
        (vec![nothing(), config("-x", &[], &[("cpus", 1.0)])], "-x"),
        (vec![nothing(), config("x", &[("cpus", 2.0)], &[("cpus", 1.0)])], "exceed"),
        (vec![nothing(), config("x", &[("cpus", -1.0)], &[])], "guarantees"),
        (vec![nothing(), config("x", &[("cpus", 100.0)], &[])], "guarantees exceed"),
        (vec![nothing(), config("x", &[], &[("mem", 2e12)])], "too large"),
    ] {
        post(cx, &quota_call(false, bad)).await?.refuses(400)?.saying(says)?;
        anyhow::ensure!(quotas(cx).await? == known, "half of a refused call was applied");
    }
    post(cx, &quota_call(true, vec![config("x", &[("cpus", 100.0)], &[])])).await?.expect(200)?;
    set_quota(cx, vec![nothing(), config("ops", &[], &[]), config("x", &[], &[])]).await?;
    anyhow::ensure!(quotas(cx).await?.is_empty(), "quotas without amounts are none");

    guarantees_and_limits(cx).await?;
    legacy(cx).await
}

async fn guarantees_and_limits(cx: &Context) -> anyhow::Result<()> {
    let all = AGENT.0 * 2.0;
    // What is promised is taken back from others, and kept for the role although nobody is there.
    let mut greedy = cx.subscribe(in_roles(info("greedy"), &["greedy"])).await?;
    greedy.offers_of_agents(2).await?.into_iter().for_each(|offer| greedy.offers.push_back(offer));
    set_quota(cx, vec![config("dev", &[("cpus", all - 1.0)], &[])]).await?;
    greedy.wait("RESCIND", |this| (!this.rescinded().is_empty()).then_some(())).await?;
    let left = offered(&mut greedy).await?;
    anyhow::ensure!(left <= 1.0, "{left} CPUs are offered to others");
    let mut dev = cx.subscribe(in_roles(info("dev"), &["dev/inner"])).await?;
    let got = offered(&mut dev).await?;
    anyhow::ensure!(got >= all - 1.0, "{got} of the guaranteed CPUs are offered");
    greedy.tear_down().await?;
    dev.tear_down().await?;
    // A limit is one for the whole tree below the role.
    set_quota(cx, vec![config("dev", &[], &[("cpus", 1.0)])]).await?;
    let mut dev = cx.subscribe(in_roles(info("dev"), &["dev", "dev/inner"])).await?;
    let got = offered(&mut dev).await?;
    anyhow::ensure!(got == 1.0, "{got} CPUs where one is the limit");
    set_quota(cx, vec![config("dev", &[], &[])]).await?;
    dev.wait("more without a limit", |this| {
        (this.offers.iter().map(|offer| amount(&offer.resources, "cpus")).sum::<f64>() > 1.0).then_some(())
    })
    .await?;
    dev.tear_down().await
}

/// The older calls and `/quota`.
async fn legacy(cx: &Context) -> anyhow::Result<()> {
    let leader = cx.leader().await?;
    let body = r#"{"role":"dev","guarantee":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]}"#;
    let send = async |method: &str, path: &str, body: &'static str| {
        cx.http.send(method, &leader, path, &[], body).await
    };
    send("POST", "/quota", body).await?.expect(200)?;
    send("POST", "/quota", body).await?.refuses(400)?.saying("already")?;
    send("POST", "/quota", r#"{"role":"a/b","guarantee":[]}"#).await?.refuses(400)?;
    send("POST", "/quota", "no JSON").await?.refuses(400)?;
    let status = cx.http.get_json(&leader, "/quota").await?;
    anyhow::ensure!(status["infos"][0]["role"] == "dev", "{status}");
    anyhow::ensure!(status["configs"][0]["limits"]["cpus"]["value"] == 1.0, "{status}");
    send("DELETE", "/quota/dev", "").await?.expect(200)?;
    send("DELETE", "/quota/dev", "").await?.refuses(400)?.saying("no quota")?;
    send("PUT", "/quota", body).await?.expect(405)?;
    let request = QuotaRequest {
        force: Some(true),
        role: Some("dev".to_owned()),
        guarantee: vec![scalar("cpus", 100.0)],
    };
    let set_quota = Some(call::SetQuota { quota_request: Some(request) });
    let set = Call { r#type: Some(Type::SetQuota as i32), set_quota, ..Default::default() };
    post(cx, &set).await?.expect(200)?.empty()?;
    let remove_quota = Some(call::RemoveQuota { role: Some("dev".to_owned()) });
    let remove = Call { r#type: Some(Type::RemoveQuota as i32), remove_quota, ..Default::default() };
    post(cx, &remove).await?.expect(200)?.empty()?;
    post(cx, &remove).await?.refuses(400)?;
    Ok(())
}

pub(crate) async fn weights(cx: &mut Context) -> anyhow::Result<()> {
    for bad in [("a", 0.0), ("a", -1.0), ("a//b", 1.0), ("", 1.0)] {
        post(cx, &weights_call(&[("good", 3.0), bad])).await?.refuses(400)?;
    }
    let nameless = v1::WeightInfo { weight: Some(1.0), role: None };
    let update_weights = Some(call::UpdateWeights { weight_infos: vec![nameless] });
    let nameless = Call { r#type: Some(Type::UpdateWeights as i32), update_weights, ..Default::default() };
    post(cx, &nameless).await?.refuses(400)?.saying("role")?;
    let leader = cx.leader().await?;
    for bad in [
        r#"[{"role":"a","weight":0}]"#,
        r#"[{"role":"a","weight":-2.5}]"#,
        r#"[{"role":"a","weight":"two"}]"#,
        r#"[{"weight":2}]"#,
        r#"{"role":"a"}"#,
        "",
    ] {
        cx.http.send("PUT", &leader, "/weights", &[], bad).await?.refuses(400)?;
    }
    let known = cx.ask(Type::GetWeights).await?.get_weights.unwrap_or_default().weight_infos;
    anyhow::ensure!(!known.iter().any(|info| info.role() == "good"), "half of a refused call: {known:?}");

    // Offers of the role and those below it are taken back.
    let mut framework = cx.subscribe(in_roles(lasting("weighed"), &["weighed/inner"])).await?;
    framework.offers_of_agents(2).await?;
    set_weights(cx, &[("weighed", 2.5)]).await?;
    framework.wait("RESCIND of both offers", |this| (this.rescinded().len() >= 2).then_some(())).await?;
    let body = r#"[{"role":"plain","weight":4}]"#;
    cx.http.send("PUT", &leader, "/weights", &[], body).await?.expect(200)?;

    let leader = kill_leader(cx).await?;
    let known = cx.http.ask(&leader, Type::GetWeights).await?.get_weights.unwrap_or_default().weight_infos;
    for (role, weight) in [("weighed", 2.5), ("plain", 4.0)] {
        let kept = known.iter().any(|info| info.role() == role && info.weight() == weight);
        anyhow::ensure!(kept, "the weight of {role} did not outlive the leader: {known:?}");
    }
    let plain = cx.http.get_json(&leader, "/weights").await?;
    anyhow::ensure!(plain.as_array().is_some_and(|all| all.len() >= 2), "{plain}");
    Ok(())
}
