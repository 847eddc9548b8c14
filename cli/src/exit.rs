//! How a command ends: its exit code and its last words.
//!
//! ```text
//! 0 done · 1 failed · 2 wrong use · 3 no leading master found · `run`: the task's own
//! ```

use std::io::{self, Write};
use std::process::ExitCode;

use tepui_sdk::leader_call::CallError;
use tepui_sdk::operator::OperatorError;
use thiserror::Error;

/// The command failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or the settings file is wrong.
pub(crate) const USAGE: u8 = 2;
/// No leading master answered.
pub(crate) const UNREACHABLE: u8 = 3;
/// Stopped by Ctrl-C, as shells count it.
pub(crate) const INTERRUPTED: u8 = 130;

/// No master could be reached, or none leads.
#[derive(Debug, Error)]
#[error("no leading master found: {0}")]
pub(crate) struct NoLeader(pub(crate) String);

/// Returns the exit code of an error, after telling it.
pub(crate) fn conclude(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    report(error);
    ExitCode::from(code(error))
}

/// Tells an error with its causes.
pub(crate) fn report(error: &anyhow::Error) {
    // Nothing is left to do if even this cannot be written.
    let _ = writeln!(io::stderr(), "error: {error:#}");
}

fn code(error: &anyhow::Error) -> u8 {
    let is_unreachable = error.chain().any(|cause| {
        cause.is::<NoLeader>()
            || matches!(cause.downcast_ref(), Some(OperatorError::Call(CallError::Unreachable(_))))
            || matches!(cause.downcast_ref(), Some(CallError::Unreachable(_)))
    });
    if is_unreachable { UNREACHABLE } else { FAILED }
}

/// `tepui tasks | head` ends like this.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_pipe))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_unreachable_cluster_has_its_own_code() {
        let unreachable = OperatorError::Call(CallError::Unreachable("nobody".into()));
        let refused = OperatorError::Call(CallError::Refused { status: 400, reason: String::new() });
        let wrap = |error: OperatorError| Err::<(), _>(error).context("get the tasks").unwrap_err();
        assert_eq!(code(&wrap(unreachable)), UNREACHABLE);
        assert_eq!(code(&wrap(refused)), FAILED);
        assert_eq!(code(&NoLeader("x".into()).into()), UNREACHABLE);
        assert_eq!(code(&anyhow::anyhow!("x")), FAILED);
    }
}
