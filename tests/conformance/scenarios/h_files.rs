//! Scenario 107, the files: what can be read of a master's log and of a sandbox, and what cannot.

use anyhow::Context as _;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::master::{self, call};

use crate::conformance::Context;
use crate::conformance::wire::messages::{lasting, task};

/// The master's log by the plain endpoints and by the operator API.
pub(crate) async fn of_the_master(cx: &Context, master: &str) -> anyhow::Result<()> {
    let read =
        async |query: &str| cx.http.get_json(master, &format!("/files/read?path=/master/log{query}")).await;
    let size = read("&offset=-1").await?;
    anyhow::ensure!(size["data"] == "" && size["offset"].as_u64() > Some(100), "{size}");
    let part = read("&offset=2&length=7").await?;
    anyhow::ensure!(part["offset"] == 2 && part["data"].as_str().map(str::len) == Some(7), "{part}");
    let beyond = read("&offset=1000000000").await?;
    anyhow::ensure!(beyond["data"] == "", "{beyond}");
    let long = read("&offset=0&length=1000000").await?;
    anyhow::ensure!(long["data"].as_str().is_some_and(|text| text.len() <= 64 << 10), "a read has no bound");
    let listed = cx.http.get_json(master, "/files/browse?path=/master/log").await?;
    anyhow::ensure!(listed[0]["path"] == "/master/log" && listed[0]["size"].as_u64() > Some(100), "{listed}");
    let debug = cx.http.get_json(master, "/master/files/debug").await?;
    anyhow::ensure!(debug["/master/log"].is_string(), "{debug}");
    let whole = cx.http.get(master, "/files/download?path=/master/log").await?.expect(200)?;
    anyhow::ensure!(whole.header("content-type") == Some("application/octet-stream"), "a download");
    anyhow::ensure!(whole.text().contains("master started"), "the log of another");
    for (path, status) in [
        ("/files/read", 400),
        ("/files/read?path=/master/log&offset=abc", 400),
        ("/files/read?path=/master/log&offset=-2", 400),
        ("/files/read?path=/etc/passwd&offset=0", 404),
        ("/files/browse?path=/nowhere", 404),
        ("/files/download?path=/master/nowhere", 404),
    ] {
        cx.http.get(master, path).await?.expect(status)?;
    }
    let of = |kind: call::Type| master::Call { r#type: Some(kind as i32), ..Default::default() };
    let path = Some("/master/log".to_owned());
    let list = master::Call {
        list_files: Some(call::ListFiles { path: path.clone() }),
        ..of(call::Type::ListFiles)
    };
    let listed = cx.http.operator(master, &list).await?.list_files.unwrap_or_default();
    anyhow::ensure!(listed.file_infos.len() == 1, "{listed:?}");
    let file = call::ReadFile { path, offset: Some(2), length: Some(7) };
    let read_call = master::Call { read_file: Some(file), ..of(call::Type::ReadFile) };
    let read = cx.http.operator(master, &read_call).await?.read_file.unwrap_or_default();
    anyhow::ensure!(read.data() == part["data"].as_str().unwrap_or_default().as_bytes(), "{read:?}");
    let other = call::ReadFile { path: Some("/etc/passwd".to_owned()), offset: Some(0), length: None };
    let wrong = master::Call { read_file: Some(other), ..of(call::Type::ReadFile) };
    cx.http.post(master, "/api/v1", &[], &wrong).await?.refuses(404)?;
    Ok(())
}

/// A sandbox, by the path that the agent's state names.
pub(crate) async fn of_an_agent(cx: &Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("writer")).await?;
    let agent = framework.run(vec![task("w", "printf 0123456789")]).await?;
    framework.state("w", TaskState::TaskFinished).await?;
    let address = cx.cluster.agents()[cx.agent_index(&agent).await?].clone();
    let folder = cx
        .eventually("the sandbox in the agent's state", async || {
            let state = cx.http.get_json(&address, "/slave(1)/state").await.ok()?;
            let both = ["frameworks", "completed_frameworks"].into_iter();
            let frameworks = both.flat_map(|list| state[list].as_array().cloned().unwrap_or_default());
            let mine = frameworks.filter(|one| one["id"] == framework.id.as_str());
            let executors = mine.flat_map(|one| {
                let both = ["executors", "completed_executors"].into_iter();
                both.flat_map(|list| one[list].as_array().cloned().unwrap_or_default()).collect::<Vec<_>>()
            });
            executors.filter_map(|one| one["directory"].as_str().map(str::to_owned)).next()
        })
        .await?;
    let latest = format!("/frameworks/{}/executors/w/runs/latest", framework.id);
    for folder in [&folder, &latest] {
        let read = async |query: &str| {
            cx.http.get_json(&address, &format!("/files/read?path={folder}/stdout{query}")).await
        };
        let part = read("&offset=3&length=4").await?;
        anyhow::ensure!(part["data"] == "3456" && part["offset"] == 3, "{part}");
        let size = read("&offset=-1").await?;
        anyhow::ensure!(size["offset"] == 10 && size["data"] == "", "{size}");
        anyhow::ensure!(read("&offset=50").await?["data"] == "", "behind the end");
        let listed = cx.http.get_json(&address, &format!("/files/browse?path={folder}")).await?;
        let names = listed.as_array().context("a list")?.iter().filter_map(|one| one["path"].as_str());
        anyhow::ensure!(names.into_iter().any(|name| name.ends_with("/stdout")), "{listed}");
        let whole = cx.http.get(&address, &format!("/files/download?path={folder}/stdout")).await?;
        anyhow::ensure!(whole.expect(200)?.text() == "0123456789", "the whole file");
        cx.http.get(&address, &format!("/files/read?path={folder}&offset=0")).await?.expect(400)?;
        cx.http.get(&address, &format!("/files/read?path={folder}/none&offset=0")).await?.expect(404)?;
    }
    cx.http.get(&address, "/files/read?path=/etc/passwd&offset=0").await?.expect(404)?;
    framework.tear_down().await
}
