//! `tepui agents drain`, `deactivate`, `reactivate`, `gone`: what operators do with one agent.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tepui_proto::google;
use tepui_sdk::operator::Client;
use tepui_sdk::v1::AgentId;
use tepui_sdk::v1::master::call::DrainAgent;

use crate::args::{ClientArgs, parse_duration};
use crate::output;

/// Changes of one agent.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// End the tasks of an agent and offer nothing of it any more.
    Drain {
        /// Id of the agent.
        agent: String,
        /// The longest time between SIGTERM and SIGKILL; by default what each task asks for.
        #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
        max_grace: Option<Duration>,
        /// When it is empty, treat it as gone for good.
        #[arg(long)]
        mark_gone: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Offer nothing of an agent any more; its tasks go on.
    Deactivate(AgentArgs),
    /// Offer an agent again that was deactivated or drained.
    Reactivate(AgentArgs),
    /// Say that an agent will never come back.
    Gone(AgentArgs),
}

/// One agent.
#[derive(Clone, Debug, clap::Args)]
pub struct AgentArgs {
    /// Id of the agent.
    agent: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Does it, and says what was done.
///
/// # Errors
/// When no leading master answers, or it refuses.
pub async fn run(action: Action) -> anyhow::Result<ExitCode> {
    let id = |agent: &str| AgentId { value: Some(agent.to_owned()) };
    match action {
        Action::Drain { agent, max_grace, mark_gone, client } => {
            let max_grace_period = max_grace.map(|grace| google::protobuf::Duration {
                seconds: i64::try_from(grace.as_secs()).ok(),
                nanos: i32::try_from(grace.subsec_nanos()).ok(),
            });
            let drain =
                DrainAgent { agent_id: Some(id(&agent)), max_grace_period, mark_gone: Some(mark_gone) };
            client.client()?.drain_agent(drain).await.with_context(|| format!("drain agent {agent}"))?;
            output::note(&format!("agent {agent} is being drained; `tepui agents` shows how far it is"));
        }
        Action::Deactivate(args) => {
            let client = args.client.client()?;
            settle("deactivate", &args.agent, client.deactivate_agent(id(&args.agent)).await)?;
        }
        Action::Reactivate(args) => {
            let client = args.client.client()?;
            settle("reactivate", &args.agent, client.reactivate_agent(id(&args.agent)).await)?;
        }
        Action::Gone(args) => {
            let client: Client = args.client.client()?;
            settle("mark gone", &args.agent, client.mark_agent_gone(id(&args.agent)).await)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn settle(
    what: &str,
    agent: &str,
    answer: Result<(), tepui_sdk::operator::OperatorError>,
) -> anyhow::Result<()> {
    answer.with_context(|| format!("{what} agent {agent}"))?;
    output::note(&format!("{what}: agent {agent}: done"));
    Ok(())
}
