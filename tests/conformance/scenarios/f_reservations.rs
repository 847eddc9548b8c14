//! Scenario 91: reservations and volumes outlive the agent's process and the leading master.

use anyhow::Context as _;
use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::framework_info::capability::Type::ReservationRefinement;

use super::f_partitions::active_agents;
use super::g_failover::{kill_leader, resubscribe};
use super::h_reservations::reserved_amount;
use super::h_volumes::with_volume;
use crate::conformance::Context;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{Named, able, accept, in_roles, lasting, launch};
use crate::conformance::wire::operations::{create, made, reserve, reserved, volume};

/// The next offer with everything that was reserved.
async fn whole_offer(framework: &mut Framework, agent: &str) -> anyhow::Result<v1::Offer> {
    framework
        .wait("an offer of the reservation", |this| {
            let shows = |offer: &v1::Offer| {
                offer.agent_id.named() == agent
                    && reserved_amount(&offer.resources, "cpus", "web") == 0.5
                    && offer.resources.iter().any(|one| one.disk.is_some())
            };
            let at = this.offers.iter().position(shows)?;
            this.offers.remove(at)
        })
        .await
}

/// What a master shows of the reservations on an agent, in whichever list the agent stands: one that is not back yet at a new leader
/// is in the second.
async fn shown(cx: &Context, agent: &str) -> anyhow::Result<serde_json::Value> {
    let all = cx.http.get_json(&cx.leader().await?, "/slaves").await?;
    let mut agents = ["slaves", "recovered_slaves"].iter().filter_map(|list| all[*list].as_array()).flatten();
    let it = agents.find(|one| one["id"] == agent).with_context(|| format!("no agent {agent}: {all}"))?;
    Ok(it["reserved_resources_full"].clone())
}

pub(crate) async fn survive(cx: &mut Context) -> anyhow::Result<()> {
    let info = able(in_roles(lasting("reserves"), &["web"]), &[ReservationRefinement]);
    let mut framework = cx.subscribe(info.clone()).await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let index = cx.agent_index(&agent).await?;
    let data = volume(100.0, "web", "v");
    let operations = vec![
        reserve(vec![reserved("cpus", 0.5, "web"), reserved("disk", 100.0, "web")]),
        create(vec![data.clone()]),
        launch(vec![with_volume("writes", "echo kept > data/file", &offer, data.clone())]),
    ];
    framework.call(accept(&[&offer], operations)).await?;
    framework.state("writes", TaskState::TaskFinished).await?;
    let before = made(&cx.total(&agent).await?);
    anyhow::ensure!(before.len() == 2, "{before:?}");
    let reserved_before = shown(cx, &agent).await?;
    anyhow::ensure!(reserved_before["web"].as_array().is_some_and(|all| all.len() == 2), "{reserved_before}");
    // The agent's process ends and comes back.
    cx.cluster.kill_agent(index);
    framework.offers.clear();
    cx.eventually("an inactive agent", async || {
        let agents = cx.agents().await.ok()?;
        agents.iter().any(|agent| !agent.active()).then_some(())
    })
    .await?;
    framework.listen(std::time::Duration::from_millis(200)).await?;
    cx.cluster.start_agent(index)?;
    active_agents(cx, 2).await?;
    let after = made(&cx.total(&agent).await?);
    anyhow::ensure!(after == before, "{after:?} after the agent's restart");
    whole_offer(&mut framework, &agent).await?;
    // So does the leading master, and both at once.
    for together in [false, true] {
        if together {
            cx.cluster.kill_agent(index);
        }
        let leader = kill_leader(cx).await?;
        let after = shown(cx, &agent).await?;
        anyhow::ensure!(after == reserved_before, "{after} at the next leader, before the agent is back");
        if together {
            cx.cluster.start_agent(index)?;
        }
        active_agents(cx, 2).await?;
        let after = made(&cx.total(&agent).await?);
        anyhow::ensure!(after == before, "{after:?} after the agent is back");
        framework = resubscribe(cx, &leader, &framework.id, info.clone()).await?;
        whole_offer(&mut framework, &agent).await?;
        for master in 0..cx.cluster.masters().len() {
            if cx.cluster.master_pid(master).is_none() {
                cx.cluster.start_master(master)?;
            }
        }
        cx.leader().await?;
    }
    framework.offers.clear();
    framework.call(super::super::wire::messages::revive(&[])).await?;
    framework.decline_all(0.0).await?;
    let mut framework = resubscribe(cx, &cx.leader().await?, &framework.id, info).await?;
    let offer = whole_offer(&mut framework, &agent).await?;
    let command = format!("cat data/file > {}", cx.scratch("read").display());
    framework
        .call(accept(&[&offer], vec![launch(vec![with_volume("reads", &command, &offer, data)])]))
        .await?;
    anyhow::ensure!(cx.written("read").await?.trim() == "kept", "the file is not there");
    framework.state("reads", TaskState::TaskFinished).await?;
    framework.tear_down().await
}
