//! The dashboard from every master, standbys too: each asset that the page names is there, nothing comes from elsewhere, and the event
//! stream brings the whole cluster.

use std::collections::BTreeSet;

use tepui::live::Live;
use tepui_tests::harness::{self, PATIENCE};

use crate::TEPUI;

/// Values of `src` and `href` in a page.
fn references(page: &str) -> BTreeSet<String> {
    ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|target| !target.starts_with('#') && !target.starts_with("data:"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_master_serves_the_page_its_assets_and_the_events() -> anyhow::Result<()> {
    let test = harness::start(harness::options(TEPUI, 3, 2)).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    for (index, master) in test.cluster.masters().into_iter().enumerate() {
        let answer = client.get(format!("http://{master}/")).send().await?.error_for_status()?;
        let kind = answer.headers()["content-type"].to_str()?.to_owned();
        assert!(kind.starts_with("text/html"), "{kind}");
        let page = answer.text().await?;
        let references = references(&page);
        assert!(references.len() >= 2, "a page with style and script: {references:?}");
        for reference in references {
            assert!(!reference.contains("//"), "{reference} comes from elsewhere");
            let url = format!("http://{master}/{}", reference.trim_start_matches('/'));
            let asset = client.get(&url).send().await?.error_for_status()?.bytes().await?;
            assert!(!asset.is_empty(), "{url} is empty");
            assert!(!String::from_utf8_lossy(&asset).contains("https://"), "{url} refers to elsewhere");
        }
        let mut live = Live::follow(vec![master]);
        let deadline = std::time::Instant::now() + PATIENCE;
        while live.all("agent").len() < 2 || live.all("master").len() < 3 {
            anyhow::ensure!(std::time::Instant::now() < deadline, "agents {:?}", live.all("agent"));
            live.changed(std::time::Duration::from_millis(200)).await;
        }
        let leadership = live.all("leadership").pop().unwrap_or_default();
        assert_eq!(leadership["leader"].as_u64(), Some(leader as u64 + 1), "{leadership}");
        assert_eq!(leadership["standby"].as_bool(), Some(index != leader), "{leadership}");
        for agent in live.all("agent") {
            assert_eq!(agent["state"], "registered", "{agent}");
            assert_eq!(agent["total"]["cpus"].as_f64(), Some(2.0), "{agent}");
        }
    }
    Ok(())
}
