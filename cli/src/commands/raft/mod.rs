//! `tepui raft`: the replication of the masters. One file per subcommand; owns only the list of them.

mod backup;
mod members;
mod recover;
mod restore;
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
    /// Give a master that follows without a vote its vote.
    Add(members::AddArgs),
    /// Take a master out of the cluster for good.
    Remove(members::RemoveArgs),
    /// Tell all masters where one of them is from now on.
    Move(members::MoveArgs),
    /// Hand the leadership to another master.
    Transfer(members::TransferArgs),
    /// Have a master take a snapshot of its state now.
    Snapshot(members::SnapshotArgs),
    /// Write a copy of the masters' state, or verify one.
    Backup(backup::BackupArgs),
    /// Begin a new cluster with a backup.
    Restore(restore::RestoreArgs),
    /// Begin a new cluster with what a survivor has, after most masters were lost.
    Recover(recover::RecoverArgs),
}

/// Runs a subcommand.
///
/// # Errors
/// See the subcommands.
pub async fn run(args: RaftArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        RaftCommand::Status(args) => status::run(args).await,
        RaftCommand::Add(args) => members::add(args).await,
        RaftCommand::Remove(args) => members::remove(args).await,
        RaftCommand::Move(args) => members::relocate(args).await,
        RaftCommand::Transfer(args) => members::transfer(args).await,
        RaftCommand::Snapshot(args) => members::snapshot(args).await,
        RaftCommand::Backup(args) => backup::run(args).await,
        RaftCommand::Restore(args) => restore::run(args).await,
        RaftCommand::Recover(args) => recover::run(args).await,
    }
}
