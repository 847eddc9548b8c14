//! A task's end as an exit code. Pure.

use std::str::FromStr;

use nix::sys::signal::Signal;
use tepui_sdk::v1::{TaskState, TaskStatus};

/// Returns the exit code for a terminal status: the command's own where the agent tells it.
pub(super) fn exit_code(status: &TaskStatus) -> u8 {
    if status.state() == TaskState::TaskFinished {
        return 0;
    }
    let message = status.message();
    let after =
        |marker: &str| message.split_once(marker).and_then(|(_, rest)| rest.split_whitespace().next());
    if let Some(code) = after("exited with status ").and_then(|word| word.parse::<u8>().ok()) {
        return code.max(1);
    }
    if let Some(word) = after("terminated with signal ") {
        let number = word.parse().ok().or_else(|| Signal::from_str(word).ok().map(|signal| signal as i32));
        return number.and_then(|number| u8::try_from(number + 128).ok()).unwrap_or(1);
    }
    1
}

/// Whether a task of this state certainly never began, so that launching it again cannot run it twice.
pub(super) fn never_began(status: &TaskStatus) -> bool {
    // LOST and GONE are also said of tasks that ran; DROPPED never is.
    status.state() == TaskState::TaskDropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_commands_own() {
        let cases = [
            (TaskState::TaskFinished, "", 0),
            (TaskState::TaskFailed, "command exited with status 3", 3),
            (TaskState::TaskFailed, "command terminated with signal SIGKILL", 137),
            (TaskState::TaskKilled, "command terminated with signal SIGTERM", 143),
            (TaskState::TaskFailed, "command terminated with signal 34", 162),
            (TaskState::TaskKilled, "command exited with status 0", 1),
            (TaskState::TaskLost, "agent removed", 1),
            (TaskState::TaskError, "", 1),
        ];
        for (state, message, expected) in cases {
            let status = TaskStatus {
                state: Some(state as i32),
                message: Some(message.to_owned()),
                ..Default::default()
            };
            assert_eq!(exit_code(&status), expected, "{state:?} {message}");
        }
    }
}
