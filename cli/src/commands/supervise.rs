//! `tepui supervise`: the small process that stands by one task. Started by agents, not by people.

use std::ffi::OsString;
use std::process::ExitCode;

/// The name of the command, which agents rely on.
pub(crate) const NAME: &str = "supervise";

/// Arguments, as the agent wrote them.
#[derive(Clone, Debug, clap::Args)]
pub struct SuperviseArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Stands by the task to its end.
pub fn run(args: SuperviseArgs) -> ExitCode {
    supervise(args.arguments)
}

/// The same from bare arguments: one such process stands by every task of a host, so none of them should spend time and
/// memory on the whole command line.
pub(crate) fn supervise(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = tepui_agent::supervise_main(arguments);
    ExitCode::from(u8::try_from(code).unwrap_or(crate::exit::FAILED))
}
