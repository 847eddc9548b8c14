//! `tepui raft recover`: when most masters are lost for good, a new cluster from what a survivor's folder has.
//!
//! Owns the comparison of survivors and the question whether the operator means it. Asks no running master.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use tepui_scheduler::MasterAddress;
use tepui_scheduler::offline::{self, SurvivorReport};

use super::restore;
use crate::output::{self, Format, Table};

/// What has to be typed.
const WORD: &str = "recover";

/// Flags of `tepui raft recover`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  Which survivor has the most (nothing is changed):
    tepui raft recover /var/lib/tepui/master /copied/from/m3/master
  A new cluster from it; the survivor's folder is left as it is:
    tepui raft recover /var/lib/tepui/master --into /var/lib/tepui/master-new

Only for the loss of a majority, and only after every master has been stopped. Writes that were acknowledged but never
reached the survivor are lost. Masters of the former cluster must never be started again.")]
pub(crate) struct RecoverArgs {
    /// Work folders of stopped masters of one cluster.
    #[arg(required = true, value_name = "FOLDER")]
    survivors: Vec<PathBuf>,
    /// The work folder of the new cluster's first master: empty, or not there yet. Without it survivors are only compared.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
    /// Where the first master is reached, as in --masters; by default where the survivor was, under its number.
    #[arg(long, requires = "into", value_name = "ID=HOST:PEER_PORT/API_PORT")]
    master: Option<MasterAddress>,
    /// Do not ask.
    #[arg(long, requires = "into")]
    yes: bool,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Compares survivors, and founds a cluster from the best if told to.
///
/// # Errors
/// When a folder cannot be read, they are of different clusters, the operator does not confirm, or the new folder is not empty.
pub(crate) async fn run(args: RecoverArgs) -> anyhow::Result<ExitCode> {
    let mut survivors = Vec::new();
    for folder in &args.survivors {
        let read = offline::survey(folder).await;
        survivors.push(read.with_context(|| format!("read the survivor {}", folder.display()))?);
    }
    survivors.sort_by_key(|one| std::cmp::Reverse(one.reach()));
    let best = survivors.first().context("name the folder of a survivor")?;
    if let Some(other) = survivors.iter().find(|one| one.cluster_id != best.cluster_id) {
        anyhow::bail!(
            "{} is of cluster {}, {} of cluster {}: name survivors of one cluster",
            best.folder.display(),
            best.cluster_id,
            other.folder.display(),
            other.cluster_id
        );
    }
    let Some(into) = args.into else {
        output::print(args.output, &survivors, || table(&survivors))?;
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(master) = &args.master {
        anyhow::ensure!(
            master.node_id == best.node_id,
            "the survivor is master {}, and keeps its number; --master names {}",
            best.node_id,
            master.node_id
        );
    }
    output::note(&table(&survivors));
    output::note(&format!(
        "A new cluster will begin with what master {} has up to entry {} of term {}.\n\
         Writes that were acknowledged but are not there are lost. The former cluster must never run again.",
        best.node_id, best.index, best.term
    ));
    if !args.yes {
        confirm()?;
    }
    let founded = offline::recover(&best.folder, &into, args.master.map(|master| master.peer())).await?;
    restore::told(args.output, &founded)?;
    Ok(ExitCode::SUCCESS)
}

fn confirm() -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    anyhow::ensure!(stdin.is_terminal(), "nobody is there to confirm; --yes says that this is meant");
    let mut out = std::io::stderr();
    write!(out, "Type {WORD:?} to go on: ")?;
    out.flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    anyhow::ensure!(line.trim() == WORD, "not confirmed: nothing was changed");
    Ok(())
}

fn table(survivors: &[SurvivorReport]) -> String {
    let headings =
        ["FOLDER", "NODE", "TERM", "INDEX", "COMMITTED", "EPOCH", "AGENTS", "TASKS", "CLUSTER", "NOTE"];
    let mut table = Table::new(headings, "no survivors");
    for (number, one) in survivors.iter().enumerate() {
        table.row([
            one.folder.display().to_string(),
            one.node_id.to_string(),
            one.term.to_string(),
            one.index.to_string(),
            one.committed.to_string(),
            one.contents.epoch.to_string(),
            one.contents.agents.to_string(),
            one.contents.tasks.to_string(),
            one.cluster_id.clone(),
            if number == 0 { "has the most".to_owned() } else { String::new() },
        ]);
    }
    table.render()
}
