//! The `tepui` binary as a library, so that tests can build the same binary for themselves.
//! Owns the command line; everything it starts or asks lives in the other packages.
//!
//! ```text
//! args, settings   the command line, and where values come from
//! commands/        one file per command
//! output/          tables for people, JSON for programs
//! cluster/, live   clusters of child processes, and their live picture
//! demo/            the main job
//! ```

pub mod args;
pub mod cluster;
pub mod commands;
pub mod demo;
mod exit;
pub mod live;
pub mod logging;
pub mod output;
mod sandbox;
mod settings;

use std::process::ExitCode;

use tepui_proto::origin::Origin;

/// Which commit this is, as far as the build script knew.
pub(crate) const ORIGIN: Origin = Origin {
    git_sha: option_env!("TEPUI_GIT_SHA"),
    git_branch: option_env!("TEPUI_GIT_BRANCH"),
    git_tag: option_env!("TEPUI_GIT_TAG"),
};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|command| command == commands::supervise::NAME) {
        return commands::supervise::supervise(arguments);
    }
    let cli = match settings::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(settings::Refused::Usage(error)) => {
            // Help and version come this way too, and are no mistake. A closed pipe is nobody's concern here.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
        Err(settings::Refused::File(error)) => {
            exit::report(&error);
            return ExitCode::from(exit::USAGE);
        }
    };
    match args::dispatch(cli) {
        Ok(code) => code,
        Err(error) => exit::conclude(&error),
    }
}
