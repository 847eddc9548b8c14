//! `tepui explain`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use tepui_proto::tepui::operator::response::ExplainOffers;
use tepui_proto::tepui::operator::{OfferObstacle, RoleOffers};
use tepui_proto::v1::value::Scalar;

use crate::args::ClientArgs;
use crate::output::{self, Table, milliseconds, quantity};

/// Flags of `tepui explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui explain 3a1f…-0004
  tepui explain 3a1f…-0004 --output json

`tepui frameworks` shows the ids.")]
pub struct ExplainArgs {
    /// Id of the framework.
    #[arg(value_name = "FRAMEWORK")]
    framework: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Tells why a framework is not getting offers.
///
/// # Errors
/// When no leading master answers, or the framework is not known.
pub async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let explained = client.explain_offers(&args.framework).await.context("explain the framework's offers")?;
    output::print(args.client.output, &explained, || text(&explained))?;
    Ok(ExitCode::SUCCESS)
}

fn text(explained: &ExplainOffers) -> String {
    let mut lines = Vec::new();
    let mut line = |line: String| lines.push(line);
    let id = explained.framework_id.as_ref().map_or("", |id| id.value());
    let state = if explained.connected() { "connected" } else { "not connected" };
    line(format!("{} ({id}), {state}", explained.name()));
    if explained.awaits_agents() {
        line(
            "nothing is offered to anybody until most agents are back after the change of leader".to_owned(),
        );
    }
    for role in &explained.roles {
        line(String::new());
        line(format!("role {}", role.role()));
        role_lines(role, &mut line);
        if !role.obstacles.is_empty() {
            line(obstacles(&role.obstacles).trim_end().to_owned());
        }
    }
    lines.join("\n")
}

fn role_lines(role: &RoleOffers, line: &mut impl FnMut(String)) {
    for blocked in &role.blocked {
        line(format!("  no offers: {blocked}"));
    }
    line(format!(
        "  offers: {} made, {} accepted, {} declined, {} rescinded, {} outstanding",
        role.offers_made(),
        role.offers_accepted(),
        role.offers_declined(),
        role.offers_rescinded(),
        role.offers_outstanding()
    ));
    if role.filters() > 0 {
        let until = role.filters_end_in_ms.map(milliseconds).unwrap_or_default();
        line(format!("  refusals alive: {}, the last one for {until}", role.filters()));
    }
    let share = role.dominant_share() * 100.0;
    line(format!("  share: {}% of the cluster, weight {}", quantity(share), quantity(role.weight())));
    if let Some(quota_role) = &role.quota_role {
        line(format!(
            "  quota of {quota_role}: guaranteed {}, limited to {}, used {}",
            amounts(&role.guarantees),
            amounts(&role.limits),
            amounts(&role.consumed)
        ));
    }
    line(format!(
        "  largest free on one agent: {}; least that is offered: {}",
        amounts(&role.largest_free),
        role.min_allocatable()
    ));
}

fn obstacles(obstacles: &[OfferObstacle]) -> String {
    let mut table = Table::new(["AGENTS", "WHY", "UNTIL", "FOR EXAMPLE"], "no agents");
    for one in obstacles {
        let examples: Vec<&str> = one.examples.iter().map(|id| id.value()).collect();
        table.row([
            one.agents().to_string(),
            one.text().to_owned(),
            one.ends_in_ms.map(|ms| format!("in {}", milliseconds(ms))).unwrap_or_default(),
            examples.join(" "),
        ]);
    }
    table.render()
}

fn amounts(amounts: &BTreeMap<String, Scalar>) -> String {
    if amounts.is_empty() {
        return "nothing".to_owned();
    }
    let one = |(name, scalar): (&String, &Scalar)| format!("{name}:{}", quantity(scalar.value()));
    amounts.iter().map(one).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_reads_from_the_framework_down_to_agents() {
        let role = RoleOffers {
            role: Some("a".to_owned()),
            filters: Some(2),
            filters_end_in_ms: Some(61_000),
            quota_role: Some("a".to_owned()),
            limits: BTreeMap::from([("cpus".to_owned(), Scalar { value: Some(1.5) })]),
            obstacles: vec![OfferObstacle {
                reason: Some("REFUSED".to_owned()),
                text: Some("the framework declined it".to_owned()),
                agents: Some(2),
                ends_in_ms: Some(900),
                ..Default::default()
            }],
            ..Default::default()
        };
        let explained = ExplainOffers { name: Some("f".to_owned()), roles: vec![role], ..Default::default() };
        let text = text(&explained);
        for part in ["f (), not connected", "role a", "1 min 1 s", "limited to cpus:1.5", "in 900 ms"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
