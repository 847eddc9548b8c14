//! `tepui config show`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::{self, Format, Table};
use crate::settings;

/// Flags of `tepui config`.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum ConfigCommand {
    /// Show what a server would be started with, and where each value comes from.
    #[command(after_help = "Examples:
  tepui config show master
  tepui config show agent --config tepui.toml
  tepui config show master -- --node-id 1 --port 5051")]
    Show(ShowArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct ShowArgs {
    /// Which server.
    #[arg(value_parser = settings::SERVERS)]
    server: String,
    /// The same as --config.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Further flags of that server, after `--`.
    #[arg(last = true)]
    further: Vec<String>,
}

/// Shows settings; `config` is the file that every command may be given.
///
/// # Errors
/// When the settings file is wrong.
pub fn run(args: ConfigArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let ConfigCommand::Show(args) = args.command;
    let file = args.file.or(config);
    let settings = settings::explain(&args.server, file.as_ref(), &args.further)?;
    output::print(args.output, &settings, || {
        let mut table = Table::new(["SETTING", "VALUE", "FROM"], "no settings");
        for setting in &settings {
            table.row([
                setting.name.clone(),
                setting.value.clone().unwrap_or_default(),
                setting.source.clone(),
            ]);
        }
        table.render()
    })?;
    Ok(ExitCode::SUCCESS)
}
