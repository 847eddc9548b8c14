//! `tepui raft restore`: a backup becomes the folder of the first master of a new cluster. Asks no running master.

use std::path::PathBuf;
use std::process::ExitCode;

use tepui_scheduler::MasterAddress;
use tepui_scheduler::offline::{self, Founded};

use crate::output::{self, Format, Table};

/// Flags of `tepui raft restore`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  tepui raft restore /backup/tepui-2026-11-28 --work-dir /var/lib/tepui/master --master 1=10.0.0.1:5060/5050
  tepui master --node-id 1 --work-dir /var/lib/tepui/master --masters 1=10.0.0.1:5060/5050 …

What was acknowledged after the backup is lost. The new cluster has an id of its own: masters of the former one are
strangers to it, and agents that come over never go back.")]
pub(crate) struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// The folder of the new cluster's first master: empty, or not there yet.
    #[arg(long, value_name = "FOLDER")]
    work_dir: PathBuf,
    /// The first master, as in --masters.
    #[arg(long, value_name = "ID=HOST:PEER_PORT/API_PORT")]
    master: MasterAddress,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Founds the cluster.
///
/// # Errors
/// When the backup is not whole or the folder is not empty.
pub(crate) async fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let me = args.master.peer();
    let founded = offline::restore(&args.file, &args.work_dir, args.master.node_id, me).await?;
    told(args.output, &founded)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what was founded, and tells people how it goes on.
pub(super) fn told(format: Format, founded: &Founded) -> anyhow::Result<()> {
    output::print(format, founded, || {
        let mut table = Table::new(["FOUNDED", ""], "nothing");
        let rows = [
            ("folder", founded.folder.display().to_string()),
            ("cluster", founded.cluster_id.clone()),
            ("former cluster", founded.former_cluster_id.clone()),
            ("first master", founded.node_id.to_string()),
            ("contains entries up to", format!("{} of term {}", founded.index, founded.term)),
            ("epoch", founded.contents.epoch.to_string()),
            ("agents", founded.contents.agents.to_string()),
            ("frameworks", founded.contents.frameworks.to_string()),
            ("tasks", founded.contents.tasks.to_string()),
        ];
        for (name, value) in rows {
            table.row([name.to_owned(), value]);
        }
        table.render()
    })?;
    let (id, folder) = (founded.node_id, founded.folder.display());
    output::note(&format!(
        "Start it with: tepui master --node-id {id} --work-dir {folder} …\nNever start a master of the former cluster again."
    ));
    Ok(())
}
