//! The binary that users run, built by this package so that its tests can start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tepui::main()
}
