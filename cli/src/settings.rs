//! Where values come from: the command line, then the environment, then the settings file, then the default.
//!
//! Adds to every flag what the declarations in `args.rs` leave out: the spelling with underscores, an environment variable
//! for the servers' flags, and the value from the settings file. Flags themselves are declared elsewhere.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::args::Cli;

/// Commands whose flags can come from `TEPUI_<COMMAND>_<FLAG>` and from a table of the settings file.
pub(crate) const SERVERS: [&str; 2] = ["master", "agent"];

/// Why the command line was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Wrong use; also a wish for help.
    Usage(clap::Error),
    /// The settings file is wrong.
    File(anyhow::Error),
}

/// Reads a whole command line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Refused> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = matches(&arguments)?;
    Cli::from_arg_matches(&matches).map_err(Refused::Usage)
}

pub(crate) fn matches(arguments: &[OsString]) -> Result<ArgMatches, Refused> {
    let command = decorate(Cli::command(), None);
    // Mistakes are reported by the second pass, which knows the file.
    let first = command.clone().ignore_errors(true).try_get_matches_from(arguments);
    let path = first.ok().and_then(|matches| matches.get_one::<PathBuf>("config").cloned());
    let command = match path {
        None => command,
        Some(path) => {
            let file = read(&path).map_err(Refused::File)?;
            with_file(command, &file).map_err(Refused::File)?
        }
    };
    command.try_get_matches_from(arguments).map_err(Refused::Usage)
}

fn read(path: &PathBuf) -> anyhow::Result<toml::Table> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("read the settings file {shown}"))?;
    text.parse().with_context(|| format!("understand the settings file {shown}"))
}

/// Flags live as long as the program, so their leaked names do no harm.
fn forever(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn decorate(command: clap::Command, name: Option<&str>) -> clap::Command {
    let prefix =
        name.filter(|name| SERVERS.contains(name)).map(|name| format!("TEPUI_{}_", name.to_uppercase()));
    let command = command.mut_args(|arg| {
        let Some(long) = arg.get_long().map(str::to_owned) else { return arg };
        let underscored = long.replace('-', "_");
        let arg = match (&prefix, arg.get_env().is_some()) {
            (Some(prefix), false) if arg.get_id() != "help" && arg.get_id() != "version" => {
                arg.env(forever(format!("{prefix}{}", underscored.to_uppercase()))).hide_env_values(true)
            }
            _ => arg,
        };
        if underscored == long { arg } else { arg.alias(forever(underscored)) }
    });
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name.clone(), |sub| decorate(sub, Some(&name))))
}

/// Makes the file's values the defaults of the flags.
fn with_file(mut command: clap::Command, file: &toml::Table) -> anyhow::Result<clap::Command> {
    for (section, values) in file {
        let values =
            values.as_table().with_context(|| format!("{section} must be a table, such as [master]"))?;
        let sub = command
            .find_subcommand(section)
            .with_context(|| format!("[{section}] is not a command of tepui"))?;
        let known: Vec<(String, String)> = sub
            .get_arguments()
            .filter_map(|arg| Some((arg.get_long()?.replace('-', "_"), arg.get_id().to_string())))
            .collect();
        for (key, value) in values {
            let wanted = key.replace('-', "_");
            let (_, id) = known
                .iter()
                .find(|(long, _)| *long == wanted)
                .with_context(|| format!("{section}.{key} is not a flag of tepui {section}"))?;
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => {
                    value.to_string()
                }
                _ => anyhow::bail!("{section}.{key} must be a text, a number or true or false"),
            };
            let (id, text) = (id.clone(), forever(text));
            command = command.mut_subcommand(section.clone(), |sub| {
                sub.mut_arg(id, |arg| arg.default_value(text).required(false))
            });
        }
    }
    Ok(command)
}

/// One setting as `tepui config show` tells it.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    /// `flag`, `environment TEPUI_…`, `file`, `default`, or `unset`.
    pub(crate) source: String,
}

/// Tells what a server would be started with by these further arguments, and where each value comes from.
pub(crate) fn explain(
    server: &str,
    config: Option<&PathBuf>,
    further: &[String],
) -> anyhow::Result<Vec<Setting>> {
    let mut arguments: Vec<OsString> = vec!["tepui".into(), server.into()];
    if let Some(config) = config {
        arguments.extend(["--config".into(), config.into()]);
    }
    arguments.extend(further.iter().map(OsString::from));
    let plain = decorate(Cli::command(), None);
    let file = config.map(read).transpose()?.unwrap_or_default();
    let mut command = with_file(plain, &file)?;
    // Shown, not started: what is still missing is shown as unset.
    command = command.mut_subcommand(server, |sub| sub.mut_args(|arg| arg.required(false)));
    let matches = command.clone().try_get_matches_from(arguments)?;
    let (_, matches) = matches.subcommand().context("name a server")?;
    let sub = command.find_subcommand(server).with_context(|| format!("{server} is not a server"))?;
    let in_file = |long: &str| {
        let table = file.get(server).and_then(toml::Value::as_table);
        table.is_some_and(|table| table.keys().any(|key| key.replace('-', "_") == long.replace('-', "_")))
    };
    let mut settings = Vec::new();
    for arg in sub.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version" | "config")) else {
            continue;
        };
        let id = arg.get_id().as_str();
        let value = matches.get_raw(id).map(|values| {
            values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",")
        });
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag".to_owned(),
            Some(ValueSource::EnvVariable) => {
                format!(
                    "environment {}",
                    arg.get_env().map(|name| name.to_string_lossy()).unwrap_or_default()
                )
            }
            Some(ValueSource::DefaultValue) if in_file(long) => "file".to_owned(),
            Some(_) => "default".to_owned(),
            None => "unset".to_owned(),
        };
        settings.push(Setting { name: long.to_owned(), value, source });
    }
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn find<'a>(settings: &'a [Setting], name: &str) -> &'a Setting {
        settings.iter().find(|setting| setting.name == name).unwrap()
    }

    #[test]
    fn the_declarations_are_consistent() {
        decorate(Cli::command(), None).debug_assert();
    }

    #[test]
    fn underscores_are_as_good_as_dashes() {
        for flag in ["--work-dir", "--work_dir"] {
            let line = ["tepui", "master", "--node-id", "1", flag, "/x"].map(OsString::from);
            assert!(matches(&line).is_ok(), "{flag}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = file("[master]\nport = 7000\npeer_port = 7001\nwork-dir = \"/x\"\n");
        let further = ["--port".to_owned(), "8000".to_owned()];
        let settings = explain("master", Some(&file.path().to_path_buf()), &further).unwrap();
        let told = |name| {
            let setting = find(&settings, name);
            (setting.value.clone().unwrap_or_default(), setting.source.clone())
        };
        assert_eq!(told("port"), ("8000".into(), "flag".into()));
        assert_eq!(told("peer-port"), ("7001".into(), "file".into()));
        assert_eq!(told("work-dir"), ("/x".into(), "file".into()));
        assert_eq!(told("ip").1, "default");
        assert_eq!(told("cluster").1, "unset");
    }

    #[test]
    fn a_file_with_unknown_things_is_refused_by_name() {
        for (text, expected) in [
            ("[mistress]\nport = 1\n", "[mistress]"),
            ("[master]\npotr = 1\n", "master.potr"),
            ("port = 1\n", "port must be a table"),
            ("[master]\nport = [1]\n", "master.port"),
        ] {
            let file = file(text);
            let error = explain("master", Some(&file.path().to_path_buf()), &[]).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
