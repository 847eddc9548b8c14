//! `tepui drivers`, also spelled `tepui status`.

use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;
use tepui_sdk::tepui::operator::{Attempt, Driver};

use crate::args::ClientArgs;
use crate::output::{self, Table, milliseconds};

/// Flags of `tepui drivers`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui drivers
  tepui status flights            one driver with its launches and registers
  tepui drivers --output json")]
pub struct DriversArgs {
    /// Only this driver, in detail.
    name: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
struct Drivers<'a> {
    drivers: &'a [Driver],
}

/// Shows supervised drivers.
///
/// # Errors
/// When no leading master answers, or the named driver does not exist.
pub async fn run(args: DriversArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let drivers = client.get_drivers(args.name.as_deref()).await.context("get the drivers")?;
    if let Some(name) = &args.name {
        anyhow::ensure!(!drivers.is_empty(), "there is no driver {name:?}");
    }
    output::print(args.client.output, &Drivers { drivers: &drivers }, || {
        let mut text = overview(&drivers);
        if args.name.is_some() {
            drivers.iter().for_each(|driver| text.push_str(&detail(driver)));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a driver's state without its prefix.
pub(crate) fn state(driver: &Driver) -> &'static str {
    let name = driver.state().as_str_name();
    name.strip_prefix("DRIVER_").unwrap_or(name)
}

fn overview(drivers: &[Driver]) -> String {
    let headings = ["NAME", "STATE", "GENERATION", "RESTARTS", "AGENT", "TASK", "NOTE"];
    let mut table = Table::new(headings, "no drivers");
    for driver in drivers {
        let next = driver.next_launch_in_ms.map(|ms| format!("next launch in {}", milliseconds(ms)));
        let note = next.or_else(|| driver.message.clone()).unwrap_or_default();
        table.row([
            driver.spec.as_ref().map(|spec| spec.name().to_owned()).unwrap_or_default(),
            state(driver).to_owned(),
            driver.generation().to_string(),
            driver.restarts().to_string(),
            driver.agent_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default(),
            driver.task_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default(),
            note,
        ]);
    }
    table.render()
}

fn detail(driver: &Driver) -> String {
    let mut attempts =
        Table::new(["GENERATION", "TASK", "AGENT", "ENDED AS", "LASTED", "MESSAGE"], "no launches yet");
    for attempt in &driver.attempts {
        attempts.row([
            attempt.generation().to_string(),
            attempt.task_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default(),
            attempt.agent_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default(),
            attempt.state.map(|_| attempt.state().as_str_name().to_owned()).unwrap_or_default(),
            lasted(attempt),
            attempt.message().to_owned(),
        ]);
    }
    let mut registers = Table::new(["REGISTER", "VERSION", "GENERATION", "BYTES"], "no registers");
    for register in &driver.registers {
        registers.row([
            register.key().to_owned(),
            register.version().to_string(),
            register.generation().to_string(),
            register.bytes().to_string(),
        ]);
    }
    format!("\n{}\n{}", attempts.render(), registers.render())
}

fn lasted(attempt: &Attempt) -> String {
    match (attempt.started_at_ms, attempt.ended_at_ms) {
        (Some(started), Some(ended)) => milliseconds(ended.saturating_sub(started)),
        _ => String::new(),
    }
}
