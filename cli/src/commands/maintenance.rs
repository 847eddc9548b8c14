//! `tepui maintenance`: which machines are to be worked on, when, and which are down.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tepui_proto::{MediaType, wire};
use tepui_sdk::v1::maintenance::{Schedule, Window};
use tepui_sdk::v1::{DurationInfo, MachineId, TimeInfo, Unavailability};

use crate::args::{ClientArgs, parse_duration};
use crate::output::{self, Table};

/// Flags of `tepui maintenance`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Machines are named by host name, by address, or by both as host/address.

Examples:
  tepui maintenance plan node-7 10.0.0.8 --in 1hrs --for 2hrs
  tepui maintenance status
  tepui maintenance down node-7
  tepui maintenance up node-7")]
pub struct MaintenanceArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Show the schedule as JSON, as `schedule --file` takes it.
    Schedule {
        /// Replace the whole schedule by what stands in this file.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Add machines to the schedule.
    Plan {
        #[arg(required = true, value_parser = machine)]
        machines: Vec<MachineId>,
        /// When the work begins, from now.
        #[arg(long = "in", default_value = "0secs", value_parser = parse_duration, value_name = "DURATION")]
        begin: Duration,
        /// How long it lasts; without an end if it is left out.
        #[arg(long = "for", value_parser = parse_duration, value_name = "DURATION")]
        length: Option<Duration>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show scheduled machines with what frameworks answered, and those that are down.
    Status {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take scheduled machines down; their agents are told to leave.
    Down(MachinesArgs),
    /// Bring machines up, and take them off the schedule.
    Up(MachinesArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct MachinesArgs {
    #[arg(required = true, value_parser = machine)]
    machines: Vec<MachineId>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Reads `host`, `10.0.0.1` or `host/10.0.0.1`.
fn machine(text: &str) -> Result<MachineId, String> {
    let (hostname, ip) = match text.split_once('/') {
        Some((hostname, ip)) => (Some(hostname), Some(ip)),
        None if text.parse::<IpAddr>().is_ok() => (None, Some(text)),
        None => (Some(text), None),
    };
    if hostname.is_some_and(str::is_empty) || ip.is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
        return Err(format!("{text:?} is not host, address or host/address"));
    }
    Ok(MachineId { hostname: hostname.map(str::to_owned), ip: ip.map(str::to_owned) })
}

/// Does it.
///
/// # Errors
/// When no leading master answers, or it refuses.
pub async fn run(args: MaintenanceArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Schedule { file: None, client } => {
            let schedule = client.client()?.get_maintenance_schedule().await.context("get the schedule")?;
            output::put(&String::from_utf8_lossy(&wire::encode(MediaType::Json, &schedule)))?;
        }
        Action::Schedule { file: Some(path), client } => {
            let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let schedule: Schedule = wire::decode(MediaType::Json, &text)
                .with_context(|| format!("understand the schedule in {}", path.display()))?;
            client.client()?.update_maintenance_schedule(schedule).await.context("replace the schedule")?;
        }
        Action::Plan { machines, begin, length, client } => {
            let client = client.client()?;
            let mut schedule = client.get_maintenance_schedule().await.context("get the schedule")?;
            schedule.windows.push(window(machines, begin, length));
            client.update_maintenance_schedule(schedule).await.context("extend the schedule")?;
        }
        Action::Status { client } => {
            let status = client.client()?.get_maintenance_status().await.context("get the status")?;
            output::print(client.output, &status, || {
                let mut table =
                    Table::new(["MACHINE", "STATE", "ACCEPTED", "DECLINED"], "no machine is scheduled");
                for machine in &status.draining_machines {
                    let count = |wanted: &str| {
                        let named =
                            machine.statuses.iter().filter(|one| one.status().as_str_name() == wanted);
                        named.count().to_string()
                    };
                    let id = machine.id.clone().unwrap_or_default();
                    table.row([name(&id), "draining".to_owned(), count("ACCEPT"), count("DECLINE")]);
                }
                for id in &status.down_machines {
                    table.row([name(id), "down".to_owned(), String::new(), String::new()]);
                }
                table.render()
            })?;
        }
        Action::Down(args) => {
            args.client.client()?.start_maintenance(args.machines).await.context("take machines down")?;
        }
        Action::Up(args) => {
            args.client.client()?.stop_maintenance(args.machines).await.context("bring machines up")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn window(machine_ids: Vec<MachineId>, begin: Duration, length: Option<Duration>) -> Window {
    let nanoseconds = |duration: Duration| Some(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX));
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = Some(TimeInfo { nanoseconds: nanoseconds(since_epoch.saturating_add(begin)) });
    let duration = length.map(|length| DurationInfo { nanoseconds: nanoseconds(length) });
    Window { machine_ids, unavailability: Some(Unavailability { start, duration }) }
}

fn name(id: &MachineId) -> String {
    match (id.hostname(), id.ip()) {
        (hostname, "") => hostname.to_owned(),
        ("", ip) => ip.to_owned(),
        (hostname, ip) => format!("{hostname}/{ip}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_in_three_ways() {
        for text in ["node-7", "10.0.0.7", "node-7/10.0.0.7"] {
            assert_eq!(name(&machine(text).unwrap()), text);
        }
        for bad in ["", "/10.0.0.7", "node-7/", "node-7/x"] {
            assert!(machine(bad).is_err(), "{bad}");
        }
    }
}
