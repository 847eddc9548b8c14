//! `tepui raft backup`: carries a copy of the masters' state away, or verifies one.
//!
//! Owns the file: written beside, synced, verified, and only then given its name. The copy comes from a standby if one answers.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;
use tepui_scheduler::offline::{BackupReport, verify_backup};
use tepui_sdk::operator::Client;
use tepui_sdk::tepui::operator::response::GetRaft;

use super::status::{Report, ask_all};
use crate::args::ClientArgs;
use crate::exit::NoLeader;
use crate::output::{self, Table};

/// Flags of `tepui raft backup`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui raft backup /backup/tepui-$(date +%F) --masters m1:5050,m2:5050,m3:5050
  tepui raft backup --verify /backup/tepui-2026-11-28 --output json

The file holds all that was submitted, environments and drivers' tokens included: it is made readable by its owner only.")]
pub(crate) struct BackupArgs {
    /// The file to be written, or to be verified.
    file: PathBuf,
    /// Ask no master: verify that the file is whole and that this build understands it.
    #[arg(long, conflicts_with_all = ["force", "from"])]
    verify: bool,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// The master that gives the copy; by default the standby that has the most.
    #[arg(long, value_name = "HOST:PORT")]
    from: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
struct Done {
    file: PathBuf,
    /// The master that it is from; absent if it was only verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(flatten)]
    report: BackupReport,
}

/// Writes or verifies a copy.
///
/// # Errors
/// When no master gives one, the file cannot be written, or it is not whole.
pub(crate) async fn run(args: BackupArgs) -> anyhow::Result<ExitCode> {
    let done = if args.verify {
        Done { report: verified(&args.file).await?, file: args.file, from: None }
    } else {
        anyhow::ensure!(
            args.force || !args.file.exists(),
            "{} exists already; --force replaces it",
            args.file.display()
        );
        let client = args.client.client()?;
        let from = match args.from {
            Some(from) => from,
            None => giver(&client, args.client.masters()).await?,
        };
        let report = take(&client, &from, &args.file, args.force).await?;
        Done { file: args.file, from: Some(from), report }
    };
    output::print(args.client.output, &done, || table(&done))?;
    Ok(ExitCode::SUCCESS)
}

/// The standby that has the most, else the leading master.
async fn giver(client: &Client, masters: Vec<String>) -> anyhow::Result<String> {
    let reports = ask_all(client, masters).await;
    let reason = reports.iter().find_map(|report| report.error.clone());
    let rank = |report: &Report| -> Option<(bool, u64)> {
        let status: &GetRaft = report.status.as_ref()?;
        Some((status.role() == "follower", status.applied_index()))
    };
    let best = reports.into_iter().filter(|report| report.status.is_some()).max_by_key(rank);
    let best = best.ok_or_else(|| NoLeader(reason.unwrap_or_else(|| "no master is named".to_owned())))?;
    Ok(best.asked)
}

async fn take(client: &Client, from: &str, file: &Path, force: bool) -> anyhow::Result<BackupReport> {
    let mut name = file.file_name().context("the file has no name")?.to_owned();
    name.push(".partial");
    let draft = file.with_file_name(name);
    let taken = receive(client, from, &draft).await;
    let kept = match taken {
        Ok(report) => keep(&draft, file, force).map(|()| report),
        Err(error) => Err(error),
    };
    if kept.is_err() {
        // Half a copy is worth nothing; if it cannot be taken away, the next attempt replaces it.
        drop(fs::remove_file(&draft));
    }
    kept
}

/// Writes what the master sends, piece by piece, and verifies it.
async fn receive(client: &Client, from: &str, draft: &Path) -> anyhow::Result<BackupReport> {
    let mut response = client.backup(from).await.with_context(|| format!("get a backup from {from}"))?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(draft);
    let mut out = BufWriter::new(file.with_context(|| format!("write {}", draft.display()))?);
    while let Some(piece) = response.chunk().await.with_context(|| format!("read the backup from {from}"))? {
        out.write_all(&piece).with_context(|| format!("write {}", draft.display()))?;
    }
    let file = out.into_inner().with_context(|| format!("write {}", draft.display()))?;
    file.sync_all().with_context(|| format!("sync {}", draft.display()))?;
    verified(draft).await.context("what arrived is not whole")
}

async fn verified(file: &Path) -> anyhow::Result<BackupReport> {
    let file = file.to_owned();
    Ok(tokio::task::spawn_blocking(move || verify_backup(&file)).await??)
}

/// Gives the file its name, for good.
fn keep(draft: &Path, file: &Path, force: bool) -> anyhow::Result<()> {
    let named = if force {
        fs::rename(draft, file)
    } else {
        // Unlike a rename, a link never replaces what somebody else put there meanwhile.
        fs::hard_link(draft, file).and_then(|()| fs::remove_file(draft))
    };
    named.with_context(|| format!("name the backup {}", file.display()))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("sync {}", folder.display()))
}

fn table(done: &Done) -> String {
    let Done { file, from, report } = done;
    let contents = &report.contents;
    let mut table = Table::new(["BACKUP", ""], "nothing");
    let rows = [
        ("file", file.display().to_string()),
        ("from", from.clone().unwrap_or_else(|| "(verified only)".to_owned())),
        ("cluster", report.cluster_id.clone()),
        ("index", report.index.to_string()),
        ("term", report.term.to_string()),
        ("epoch", contents.epoch.to_string()),
        ("feature level", contents.feature_level.to_string()),
        ("agents", contents.agents.to_string()),
        ("frameworks", contents.frameworks.to_string()),
        ("tasks", contents.tasks.to_string()),
        ("drivers", contents.drivers.to_string()),
        ("bytes", report.bytes.to_string()),
        ("sha256", report.sha256.clone()),
    ];
    for (name, value) in rows {
        table.row([name.to_owned(), value]);
    }
    table.render()
}
