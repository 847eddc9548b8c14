//! Scenarios 73, 74, 76: what of a framework may change, and how an operator ends one.

use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::master;
use tepui_proto::v1::scheduler::{Call, call};

use crate::conformance::Context;
use crate::conformance::context::QUIET;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{
    Named, able, framework_id, in_roles, info, lasting, of, sleeper, subscribe, task,
};

fn again(info: v1::FrameworkInfo, id: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo { id: Some(framework_id(id)), ..info }
}

pub(crate) async fn changed_on_return(cx: &mut Context) -> anyhow::Result<()> {
    let old = v1::FrameworkInfo { principal: Some("alice".to_owned()), ..lasting("old name") };
    let first = cx.subscribe(old.clone()).await?;
    let new = v1::FrameworkInfo {
        name: Some("new name".to_owned()),
        webui_url: Some("http://new.example/".to_owned()),
        hostname: Some("new.example".to_owned()),
        failover_timeout: Some(7_200.0),
        // These two are kept as they were, without a word.
        user: Some("somebody".to_owned()),
        checkpoint: Some(false),
        ..able(again(old.clone(), &first.id), &[PartitionAware])
    };
    let _second = cx.subscribe(new.clone()).await?;
    let shown = cx.framework(&first.id).await?.and_then(|one| one.framework_info).unwrap_or_default();
    let expected = v1::FrameworkInfo { user: old.user.clone(), checkpoint: old.checkpoint, ..new };
    anyhow::ensure!(shown == expected, "{shown:?} instead of {expected:?}");
    let state = cx.state().await?;
    let framework = &state["frameworks"][0];
    anyhow::ensure!(framework["name"] == "new name", "{framework}");
    anyhow::ensure!(framework["webui_url"] == "http://new.example/", "{framework}");
    anyhow::ensure!(framework["capabilities"][0] == "PARTITION_AWARE", "{framework}");
    anyhow::ensure!(framework["user"] == "root" && framework["checkpoint"] == true, "{framework}");
    // Another principal is refused, and so is none.
    for principal in [Some("bob".to_owned()), None] {
        let other = v1::FrameworkInfo { principal, ..again(old.clone(), &first.id) };
        cx.refused(&subscribe(other)).await?;
    }
    let alive = cx.framework(&first.id).await?.is_some_and(|one| one.connected());
    anyhow::ensure!(alive, "a refused successor ended the framework");
    Ok(())
}

/// An UPDATE_FRAMEWORK of this framework.
fn update(framework: &Framework, info: v1::FrameworkInfo, suppressed: &[&str]) -> Call {
    let update = call::UpdateFramework {
        framework_info: Some(again(info, &framework.id)),
        suppressed_roles: suppressed.iter().map(|role| (*role).to_owned()).collect(),
        ..Default::default()
    };
    Call {
        framework_id: Some(framework_id(&framework.id)),
        update_framework: Some(update),
        ..of(call::Type::UpdateFramework)
    }
}

fn roles_of(offers: &[v1::Offer]) -> Vec<&str> {
    let roles = offers.iter().filter_map(|offer| offer.allocation_info.as_ref());
    roles.map(v1::resource::AllocationInfo::role).collect()
}

pub(crate) async fn update_call(cx: &mut Context) -> anyhow::Result<()> {
    let base = in_roles(lasting("changing"), &["a"]);
    let mut framework = cx.subscribe(base.clone()).await?;
    for (what, bad) in [
        ("user", v1::FrameworkInfo { user: Some("somebody".to_owned()), ..base.clone() }),
        ("checkpoint", v1::FrameworkInfo { checkpoint: Some(false), ..base.clone() }),
        ("principal", v1::FrameworkInfo { principal: Some("bob".to_owned()), ..base.clone() }),
        ("role", in_roles(lasting("changing"), &["a//b"])),
    ] {
        let answer = framework.post(&update(&framework, bad, &[])).await?;
        answer.refuses(400).map_err(|error| error.context(what))?;
    }
    let named = v1::FrameworkInfo { name: Some("changed".to_owned()), ..base.clone() };
    framework.post(&update(&framework, named, &[])).await?.expect(200)?.empty()?;
    let shown = cx.framework(&framework.id).await?.and_then(|one| one.framework_info).unwrap_or_default();
    anyhow::ensure!(shown.name() == "changed", "{shown:?}");
    // A role more: offers for it come. A role less: its offers are taken back, its task goes on.
    let agent = framework.run(vec![sleeper("kept")]).await?;
    framework.wait("the other agent", |this| (!this.offers.is_empty()).then_some(())).await?;
    framework.decline_all(3_600.0).await?;
    let both = in_roles(lasting("changing"), &["a", "b"]);
    framework.post(&update(&framework, both, &[])).await?.expect(200)?;
    let offers = framework.offers_of_agents(2).await?;
    anyhow::ensure!(roles_of(&offers).contains(&"b"), "{:?}", roles_of(&offers));
    let only_a = in_roles(lasting("changing"), &["a"]);
    framework.post(&update(&framework, only_a, &[])).await?.expect(200)?;
    for offer in offers.iter().filter(|offer| roles_of(std::slice::from_ref(offer)) == ["b"]) {
        framework
            .wait("RESCIND", |this| this.rescinded().iter().any(|id| id == offer.id.named()).then_some(()))
            .await?;
    }
    framework.listen(QUIET / 2).await?;
    let states = framework.states_of("kept");
    anyhow::ensure!(states.last() == Some(&TaskState::TaskRunning), "{states:?} on {agent}");
    // Suppressed and unsuppressed by the same call; the latter drops the filters.
    framework.post(&update(&framework, base.clone(), &["a"])).await?.expect(200)?;
    framework.decline_all(3_600.0).await?;
    framework.listen(QUIET / 2).await?;
    framework.offers.clear();
    framework.post(&update(&framework, base, &[])).await?.expect(200)?;
    framework.offers_of_agents(2).await?;
    Ok(())
}

/// The same by a form, as scripts send it.
async fn form(cx: &Context, master: &str) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("by form")).await?;
    let header = [("content-type", "application/x-www-form-urlencoded")];
    for (body, status) in
        [("", 400), ("framework=x", 400), ("frameworkId=nobody", 400), ("frameworkId=%", 400)]
    {
        cx.http.send("POST", master, "/teardown", &header, body).await?.refuses(status)?;
    }
    cx.http.get(master, "/teardown").await?.refuses(405)?;
    let body = format!("frameworkId={}", framework.id);
    cx.http.send("POST", master, "/master/teardown", &header, body.clone()).await?.expect(200)?.empty()?;
    framework.end().await?;
    anyhow::ensure!(cx.completed().await?.contains(&framework.id), "the framework is not completed");
    cx.http.send("POST", master, "/teardown", &[], body).await?.refuses(400)?;
    Ok(())
}

pub(crate) async fn operator_teardown(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("doomed")).await?;
    framework.run(vec![sleeper("t")]).await?;
    let mut other = cx.subscribe(info("spared")).await?;
    let teardown = |id: &str| master::Call {
        r#type: Some(master::call::Type::Teardown as i32),
        teardown: Some(master::call::Teardown { framework_id: Some(framework_id(id)) }),
        ..Default::default()
    };
    let master = cx.leader().await?;
    cx.http.post(&master, "/api/v1", &[], &teardown("nobody")).await?.refuses(400)?;
    cx.http.post(&master, "/api/v1", &[], &teardown(&framework.id)).await?.expect(200)?.empty()?;
    framework.end().await?;
    anyhow::ensure!(cx.completed().await?.contains(&framework.id), "the framework is not completed");
    // Once completed it is unknown to this call.
    cx.http.post(&master, "/api/v1", &[], &teardown(&framework.id)).await?.refuses(400)?;
    cx.eventually("no active task", async || cx.tasks().await.ok()?.tasks.is_empty().then_some(())).await?;
    form(cx, &master).await?;
    // The operator API says so if it is not told how to read the call.
    let body = tepui_proto::wire::encode(cx.media, &teardown(&other.id));
    cx.http.send("POST", &master, "/api/v1", &[], body).await?.refuses(400)?;
    framework.heard.clear();
    let offer = other.offer().await?;
    other.launch_on(&offer, vec![task("t", "true")]).await?;
    other.state("t", TaskState::TaskFinished).await?;
    Ok(())
}
