//! How a command ends: its exit code and its last words.
//!
//! ```text
//! 0 done · 1 failed · 2 wrong use · 3 no leading master found · `run`: the task's own
//! ```

use std::io::{self, Write};
use std::process::ExitCode;

use tepui_sdk::leader_call::CallError;
use tepui_sdk::operator::OperatorError;
use tepui_sdk::scheduler::DriverError;
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
    // It says `error:` and shows the usage by itself.
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        let _ = usage.print();
        return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(USAGE));
    }
    report(error);
    ExitCode::from(code(error))
}

/// Tells an error with its causes.
pub(crate) fn report(error: &anyhow::Error) {
    // Nothing is left to do if even this cannot be written.
    let _ = writeln!(io::stderr(), "error: {}", told(error));
}

/// The error and its causes, each once: many errors name their cause themselves.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    if is_unauthenticated(error) {
        text = format!(
            "{} (TEPUI_PRINCIPAL and TEPUI_SECRET say who is asking)",
            text.trim_end_matches([':', ' '])
        );
    }
    text
}

fn is_unauthenticated(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(OperatorError::Call(CallError::Refused { status, .. })), _)
        | (_, Some(CallError::Refused { status, .. })) => *status == 401,
        _ => cause
            .downcast_ref::<DriverError>()
            .is_some_and(|DriverError(reason)| reason.contains("answered 401")),
    })
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

    #[test]
    fn no_cause_is_told_twice() {
        #[derive(Debug, Error)]
        #[error("cannot listen: {source}")]
        struct Listen {
            source: io::Error,
        }
        let busy = Listen { source: io::Error::other("Address already in use") };
        let error = anyhow::Error::from(busy).context("start the master");
        assert_eq!(told(&error), "start the master: cannot listen: Address already in use");
        assert_eq!(told(&anyhow::anyhow!("x").context("y").context("z")), "z: y: x");
    }

    #[test]
    fn who_is_not_known_hears_how_to_say_who_it_is() {
        let refused = |status| CallError::Refused { status, reason: String::new() };
        let told_of = |error: anyhow::Error| told(&error.context("get the tasks"));
        for error in [
            OperatorError::Call(refused(401)).into(),
            refused(401).into(),
            DriverError("m:5050 answered 401".into()).into(),
        ] {
            let text = told_of(error);
            assert!(text.contains("TEPUI_PRINCIPAL and TEPUI_SECRET"), "{text}");
        }
        assert!(!told_of(OperatorError::Call(refused(403)).into()).contains("TEPUI"));
    }
}
