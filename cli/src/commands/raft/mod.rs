//! `tepui raft`: the replication of the masters. One file per subcommand; owns only the list of them.

mod status;

use std::process::ExitCode;

/// Flags of `tepui raft`.
#[derive(Clone, Debug, clap::Args)]
pub struct RaftArgs {
    #[command(subcommand)]
    command: RaftCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum RaftCommand {
    /// Show what each master knows about the log and who leads.
    Status(status::StatusArgs),
}

/// Runs a subcommand.
///
/// # Errors
/// See the subcommands.
pub async fn run(args: RaftArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        RaftCommand::Status(args) => status::run(args).await,
    }
}
