//! A damaged disk under one master: it says what is wrong and stays out, and the others go on.

use std::fs;
use std::path::{Path, PathBuf};

use tepui_sdk::v1::TaskState::TaskFinished;
use tepui_tests::harness::{self, PATIENCE, TestCluster, TestFramework, task};

use crate::TEPUI;

/// The largest file below a folder whose path holds this word.
fn largest(folder: &Path, word: &str) -> Option<PathBuf> {
    let mut found: Option<(u64, PathBuf)> = None;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.filter_map(Result::ok) {
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains(word)
                && found.as_ref().is_none_or(|(length, _)| *length < metadata.len())
            {
                found = Some((metadata.len(), path));
            }
        }
    }
    found.map(|(_, path)| path)
}

/// Kills a follower, lets `damage` spoil its file, starts it, and expects a refusal that names the file while the others work.
async fn refuses(word: &str, damage: impl Fn(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut options = harness::options(TEPUI, 3, 1);
    options.master_args.extend(["--raft-snapshot-entries".to_owned(), "20".to_owned()]);
    let mut test = harness::start(options).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "damage").await?;
    for number in 0..12 {
        let id = format!("t{number}");
        framework.launch(vec![task(&id, "true")]).await?;
        framework.wait_state(&id, TaskFinished).await?;
    }
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    let victim = (leader + 1) % 3;
    let folder = test.cluster.master_dir(victim).to_path_buf();
    let path = harness::eventually(&format!("a {word} file"), || async { largest(&folder, word) }).await?;
    test.cluster.kill_master(victim);
    damage(&path)?;
    test.cluster.start_master(victim)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let log = refusal(&test, victim).await?;
    assert!(log.contains(&name), "the message names {name}:\n{log}");
    framework.launch(vec![task("after", "true")]).await?;
    framework.wait_state("after", TaskFinished).await?;
    Ok(())
}

/// What the victim logged since its last start, once it has exited.
async fn refusal(test: &TestCluster, victim: usize) -> anyhow::Result<String> {
    let pid = test.cluster.master_pid(victim).unwrap_or_default();
    harness::eventually("the exit of the damaged master", || async {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = state.is_empty() || state.contains(") Z ");
        gone.then_some(())
    })
    .await?;
    let log = test.cluster.log(&format!("master-{}", victim + 1));
    Ok(log.rsplit("--- start of").next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_log_keeps_its_master_out() -> anyhow::Result<()> {
    refuses("log", |path| {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        let length = file.metadata()?.len();
        file.set_len(length / 2)?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_keeps_its_master_out() -> anyhow::Result<()> {
    refuses("snapshot", |path| {
        let mut bytes = fs::read(path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(path, bytes)?;
        Ok(())
    })
    .await
}
