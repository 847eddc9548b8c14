//! `tepui raft add | remove | move | transfer | snapshot`: who the masters are, which of them leads, and a snapshot now.
//!
//! Owns the way to the right master and the words about it: a master that leads hands over before it is removed, and what takes
//! longer than one call is asked for again. What is allowed is decided by the masters.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tepui_sdk::leader_call::CallError;
use tepui_sdk::operator::{Client, OperatorError};
use tepui_sdk::tepui::operator::response::GetRaft;
use tokio::time::Instant;

use super::status::ask_all;
use crate::args::ClientArgs;
use crate::exit::NoLeader;
use crate::output;

const PAUSE: Duration = Duration::from_millis(200);

/// Flags of `tepui raft add`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "A new master gets its number from the cluster:
  tepui master --join m1:5060,m2:5060,m3:5060 --work-dir /var/lib/tepui/master --secret-file /etc/tepui/secret
and its vote as soon as it has the log. With --learner it follows without one; this command gives it, and waits for the log if need be:
  tepui raft add 4 --timeout 10mins")]
pub(crate) struct AddArgs {
    /// Number of the master, see `tepui raft status`.
    node: u64,
    #[command(flatten)]
    client: ClientArgs,
}

/// Flags of `tepui raft remove`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui raft remove 2
The master need not run. If it does it ends by itself, with the reason as its last words; if it leads it hands over first. Its number is
never given again, and its folder is of no further use.")]
pub(crate) struct RemoveArgs {
    /// Number of the master, see `tepui raft status`.
    node: u64,
    #[command(flatten)]
    client: ClientArgs,
}

/// Flags of `tepui raft move`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example, for a master that was stopped and whose folder was carried to another host:
  tepui raft move 2 10.0.0.9:5060/5050")]
pub(crate) struct MoveArgs {
    /// Number of the master, see `tepui raft status`.
    node: u64,
    /// Where it is reached from now on.
    #[arg(value_name = "HOST:PEER_PORT/API_PORT")]
    to: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Flags of `tepui raft transfer`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui raft transfer        to the master that has the most of the log
  tepui raft transfer 3")]
pub(crate) struct TransferArgs {
    /// Number of the master that is to lead.
    node: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Flags of `tepui raft snapshot`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui raft snapshot
  tepui raft snapshot --node 3 --output json")]
pub(crate) struct SnapshotArgs {
    /// The master that takes it; by default the one that leads.
    #[arg(long, value_name = "N")]
    node: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// What was done, for programs.
#[derive(Serialize)]
struct Done {
    node_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Done {
    fn of(node_id: u64) -> Done {
        Done { node_id, leader: None, index: None, bytes: None }
    }
}

/// Gives a master its vote.
///
/// # Errors
/// When there is no such master, or it does not have the log in time.
pub(crate) async fn add(args: AddArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let deadline = Instant::now() + args.client.timeout;
    let known = leader(&client, &args.client).await?;
    match known.members.iter().find(|member| member.node_id() == args.node) {
        Some(member) if member.voter() => anyhow::bail!("master {} votes already", args.node),
        Some(_) => {}
        None => {
            let waiting = known.members.iter().filter(|member| !member.voter());
            let waiting: Vec<String> = waiting.map(|member| member.node_id().to_string()).collect();
            let waiting = if waiting.is_empty() { "none".to_owned() } else { waiting.join(", ") };
            anyhow::bail!(
                "there is no master {}; without a vote: {waiting}. A new one is started with `tepui master --join …` and gets its \
                 number then",
                args.node
            );
        }
    }
    loop {
        let outcome = client.raft_add(args.node).await;
        match outcome {
            Ok(()) => break,
            Err(error) if may_help(&error) && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error).with_context(|| format!("give master {} its vote", args.node)),
        }
    }
    output::print(args.client.output, &Done::of(args.node), || format!("master {} has a vote\n", args.node))?;
    Ok(ExitCode::SUCCESS)
}

/// Removes a master for good.
///
/// # Errors
/// When there is no such master, or the others would be no majority without it.
pub(crate) async fn remove(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let deadline = Instant::now() + args.client.timeout;
    let mut tried = false;
    loop {
        let known = leader(&client, &args.client).await?;
        let member = known.members.iter().any(|member| member.node_id() == args.node);
        if tried && !member {
            // An earlier attempt whose outcome nobody knew.
            break;
        }
        let outcome = if known.leader == Some(args.node) && known.members.len() > 1 {
            client.raft_transfer(None).await.map(|_| false)
        } else {
            tried = true;
            client.raft_remove(args.node).await.map(|()| true)
        };
        match outcome {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) if may_help(&error) && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error).with_context(|| format!("remove master {}", args.node)),
        }
    }
    output::print(args.client.output, &Done::of(args.node), || {
        format!("master {} is removed; its number is never given again\n", args.node)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Tells all where a master is.
///
/// # Errors
/// When there is no such master, or the address is another one's.
pub(crate) async fn relocate(args: MoveArgs) -> anyhow::Result<ExitCode> {
    let parts = args.to.rsplit_once('/').and_then(|(peer, api)| Some((peer, peer.rsplit_once(':')?.0, api)));
    let (peer, host, api) =
        parts.with_context(|| format!("{:?} is not of the form HOST:PEER_PORT/API_PORT", args.to))?;
    let client = args.client.client()?;
    let moved = client.raft_move(args.node, peer, &format!("{host}:{api}")).await;
    moved.with_context(|| format!("move master {}", args.node))?;
    output::print(args.client.output, &Done::of(args.node), || {
        format!("master {} is expected at {}\n", args.node, args.to)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Hands the leadership over.
///
/// # Errors
/// When the one that is named cannot take it.
pub(crate) async fn transfer(args: TransferArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let known = leader(&client, &args.client).await?;
    let to = match args.node {
        // Asked again after an unknown outcome, it may have happened already.
        Some(node) if known.leader == Some(node) => node,
        node => client.raft_transfer(node).await.context("hand the leadership over")?,
    };
    let done = Done { leader: Some(to), ..Done::of(to) };
    output::print(args.client.output, &done, || format!("master {to} leads\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Takes a snapshot now.
///
/// # Errors
/// When that master does not answer, or has nothing to write.
pub(crate) async fn snapshot(args: SnapshotArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let known = leader(&client, &args.client).await?;
    let node = args.node.or(known.leader).context("no master leads")?;
    let member = known.members.iter().find(|member| member.node_id() == node);
    let member = member.with_context(|| format!("there is no master {node}"))?;
    let taken = client.raft_snapshot(member.api_addr()).await;
    let taken = taken.with_context(|| format!("take a snapshot at master {node}"))?;
    let done = Done { index: taken.index, bytes: taken.bytes, ..Done::of(node) };
    output::print(args.client.output, &done, || {
        format!("snapshot of master {node} through entry {}: {} bytes\n", taken.index(), taken.bytes())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the leading master knows, as soon as there is one.
async fn leader(client: &Client, args: &ClientArgs) -> anyhow::Result<GetRaft> {
    let deadline = Instant::now() + args.timeout;
    loop {
        let reports = ask_all(client, args.masters()).await;
        let mut known = reports.iter().filter_map(|report| report.status.as_ref());
        if let Some(leads) = known.find(|status| status.leader == status.node_id && status.leader.is_some()) {
            return Ok(leads.clone());
        }
        if Instant::now() >= deadline {
            let reason = reports.iter().find_map(|report| report.error.clone());
            return Err(NoLeader(reason.unwrap_or_else(|| "none of them leads".to_owned())).into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether asking again may help.
fn may_help(error: &OperatorError) -> bool {
    matches!(error, OperatorError::Call(CallError::Unreachable(_) | CallError::Unknown(_)))
}
