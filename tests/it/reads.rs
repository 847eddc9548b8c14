//! Reads at standbys: redirected or answered as asked, and with `consistent=true` never behind what was acknowledged, whoever leads.

use reqwest::redirect::Policy;
use serde_json::Value;
use tepui_tests::harness;

use crate::TEPUI;

const PATH: &str = "/weights?tepui_read=local&consistent=true";

struct Masters {
    http: reqwest::Client,
    all: Vec<String>,
}

impl Masters {
    /// Sets the weight of a role at whoever leads; true once that was acknowledged.
    async fn set(&self, weight: usize) -> bool {
        let body = format!(r#"[{{"role":"reads","weight":{weight}}}]"#);
        for master in &self.all {
            let answer = self.http.put(format!("http://{master}/weights")).body(body.clone()).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return true;
            }
        }
        false
    }

    /// The weight as one master proves it; `None` if it cannot prove anything now.
    async fn proven(&self, master: &str) -> anyhow::Result<Option<f64>> {
        let Ok(answer) = self.http.get(format!("http://{master}{PATH}")).send().await else {
            return Ok(None);
        };
        if answer.status() == 503 {
            return Ok(None);
        }
        anyhow::ensure!(answer.status() == 200, "{master} answered {}", answer.status());
        for header in ["tepui-applied-index", "tepui-applied-age-ms"] {
            anyhow::ensure!(answer.headers().contains_key(header), "{master} does not say {header}");
        }
        let weights: Value = answer.json().await?;
        let found = weights.as_array().into_iter().flatten().find(|weight| weight["role"] == "reads");
        Ok(Some(found.and_then(|weight| weight["weight"].as_f64()).unwrap_or_default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_read_is_never_behind_what_was_acknowledged() -> anyhow::Result<()> {
    let mut test = harness::start(harness::options(TEPUI, 3, 0)).await?;
    let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build()?;
    let masters = Masters { http, all: test.cluster.masters() };
    let leader = test.cluster.wait_for_leader(harness::PATIENCE).await?;

    for weight in 1..40 {
        assert!(masters.set(weight).await, "weight {weight} was not acknowledged");
        for master in &masters.all {
            assert_eq!(masters.proven(master).await?, Some(weight as f64), "{master}");
        }
    }
    let standby = &masters.all[(leader + 1) % 3];
    let plain = masters.http.get(format!("http://{standby}/state")).send().await?;
    assert_eq!(plain.status(), 307);
    let local = masters.http.get(format!("http://{standby}/state?tepui_read=local")).send().await?;
    assert_eq!(local.status(), 200);
    assert_eq!(local.headers()["tepui-absent"], "offers, connections");
    let tag = local.headers()["etag"].clone();
    let again = masters.http.get(format!("http://{standby}/state?tepui_read=local"));
    let again = again.header("if-none-match", tag).send().await?.status();
    assert!(again == 304 || again == 200, "{again}: changed in between, or not");

    // Nobody proves anything of the past to whoever asks during and after a change of leader.
    test.cluster.kill_master(leader);
    let others: Vec<&String> =
        masters.all.iter().enumerate().filter(|(index, _)| *index != leader).map(|(_, it)| it).collect();
    for master in &others {
        if let Some(weight) = masters.proven(master).await? {
            assert_eq!(weight, 39.0, "{master} lost an acknowledged write");
        }
    }
    harness::eventually("acknowledged write", || async { masters.set(100).await.then_some(()) }).await?;
    for master in &others {
        let found = harness::eventually("proof", || async { masters.proven(master).await.ok().flatten() });
        assert_eq!(found.await?, 100.0, "{master}");
    }
    // Without a majority there is no proof, but the standby's own copy is there.
    let next = test.cluster.wait_for_leader(harness::PATIENCE).await?;
    let last = (0..3).find(|index| ![leader, next].contains(index)).unwrap_or_default();
    test.cluster.kill_master(next);
    harness::eventually("refusal", || async {
        let answer = masters.http.get(format!("http://{}{PATH}", masters.all[last])).send().await;
        answer.ok().filter(|answer| answer.status() == 503)
    })
    .await?;
    let copy = masters.http.get(format!("http://{}/weights?tepui_read=local", masters.all[last]));
    assert_eq!(copy.send().await?.status(), 200);
    Ok(())
}
