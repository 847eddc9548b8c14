//! `tepui raft status`.

use std::process::ExitCode;

use futures::future::join_all;
use serde::Serialize;
use tepui_sdk::tepui::operator::response::GetRaft;

use crate::args::ClientArgs;
use crate::exit::NoLeader;
use crate::output::{self, Table};

/// Flags of `tepui raft status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui raft status
  tepui raft status --masters m1:5050,m2:5050,m3:5050 --output json")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) asked: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<GetRaft>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Asks every master for itself.
///
/// # Errors
/// When no master answers at all.
pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let mut reports = ask_all(&client, args.client.masters()).await;
    if reports.iter().all(|report| report.status.is_none()) {
        let reason = reports.iter().find_map(|report| report.error.clone());
        return Err(NoLeader(reason.unwrap_or_else(|| "no master is named".to_owned())).into());
    }
    reports.sort_by_key(|report| report.status.as_ref().map_or(u64::MAX, |status| status.node_id()));
    output::print(args.client.output, &reports, || table(&reports))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks these masters and all others that they know of.
pub(super) async fn ask_all(client: &tepui_sdk::operator::Client, masters: Vec<String>) -> Vec<Report> {
    let mut reports = ask(client, &masters).await;
    // One master is enough to ask: its member list names the others.
    let known = reports.iter().filter_map(|report| report.status.as_ref()).flat_map(|status| &status.members);
    let mut further: Vec<String> = known.filter_map(|member| member.api_addr.clone()).collect();
    further.sort();
    further.dedup();
    further.retain(|address| !masters.contains(address) && !is_listed(&reports, address));
    reports.extend(ask(client, &further).await);
    reports
}

async fn ask(client: &tepui_sdk::operator::Client, masters: &[String]) -> Vec<Report> {
    let reports = masters.iter().map(async |address| match client.get_raft(address).await {
        Ok(status) => Report { asked: address.clone(), status: Some(status), error: None },
        Err(error) => Report { asked: address.clone(), status: None, error: Some(error.to_string()) },
    });
    join_all(reports).await
}

/// A master may be asked by another name than the one in the member list.
fn is_listed(reports: &[Report], address: &str) -> bool {
    reports.iter().filter_map(|report| report.status.as_ref()).any(|status| {
        let own = status.members.iter().find(|member| member.node_id == status.node_id);
        own.is_some_and(|member| member.api_addr() == address)
    })
}

fn table(reports: &[Report]) -> String {
    let headings = [
        "NODE",
        "MASTER",
        "ROLE",
        "TERM",
        "EPOCH",
        "LAST",
        "COMMITTED",
        "APPLIED",
        "SNAPSHOT",
        "LEVEL",
        "NOTE",
    ];
    let mut table = Table::new(headings, "no masters");
    for report in reports {
        let Some(status) = &report.status else {
            let note = report.error.clone().unwrap_or_default();
            let blank = String::new;
            table.row([
                blank(),
                report.asked.clone(),
                "silent".to_owned(),
                blank(),
                blank(),
                blank(),
                blank(),
                blank(),
                blank(),
                blank(),
                note,
            ]);
            continue;
        };
        let own = status.members.iter().find(|member| member.node_id == status.node_id);
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        table.row([
            status.node_id().to_string(),
            report.asked.clone(),
            status.role().to_lowercase(),
            number(status.term),
            number(status.epoch),
            number(status.last_log_index),
            number(status.committed_index),
            number(status.applied_index),
            number(status.snapshot_index),
            format!("{} of {}", status.cluster_feature_level(), status.feature_level()),
            own.filter(|member| !member.voter()).map_or_else(String::new, |_| "learner".to_owned()),
        ]);
    }
    table.render()
}
