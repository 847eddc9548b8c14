//! How a task ended, in the words of a status update. Owns the meaning of wait statuses.

use tepui_proto::v1;
use v1::task_status::Reason;

use crate::agent::{Agent, Turn};
use crate::status::News;
use crate::task::{KillReason, Phase};
use crate::{Exit, TaskKey};

impl Agent {
    pub(crate) fn on_exited(&mut self, turn: &mut Turn<'_>, key: &TaskKey, exit: Exit) {
        let Some(task) = self.tasks.get_mut(key) else {
            turn.odd(format!("task {key} ended, but nobody knows it"));
            return;
        };
        if !matches!(task.phase, Phase::Launching | Phase::Running | Phase::Recovering) {
            turn.odd(format!("task {key} ended, but it did not run"));
            return;
        }
        if let Exit::Status { status, .. } = exit {
            task.wait_status = Some(status);
        }
        let news = end_of(&exit, task.kill.map(|kill| kill.why));
        self.report(turn, key, news);
    }
}

fn end_of(exit: &Exit, kill: Option<KillReason>) -> News {
    use v1::TaskState as State;
    let (status, message, kill) = match exit {
        Exit::Status { status, kill_asked } => {
            (Some(*status), describe("command", *status), kill.or(kill_asked.then_some(KillReason::Asked)))
        }
        Exit::Unknown { message } => (None, message.clone(), kill),
    };
    match (kill, status) {
        (Some(KillReason::MaxCompletionTime), _) => News::executor(State::TaskFailed)
            .because(Some(Reason::MaxCompletionTimeReached))
            .saying(format!("maximum completion time reached; {message}")),
        (Some(KillReason::FrameworkRemoved), _) => {
            News::executor(State::TaskKilled).because(Some(Reason::FrameworkRemoved)).saying(message)
        }
        (Some(KillReason::Asked | KillReason::AgentShutdown), _) => {
            News::executor(State::TaskKilled).saying(message)
        }
        (None, Some(0)) => News::executor(State::TaskFinished).saying(message),
        (None, Some(_)) => News::executor(State::TaskFailed).saying(message),
        (None, None) => News::agent(State::TaskFailed, Reason::ExecutorTerminated, message),
    }
}

/// Returns the wait status of something in words.
pub(crate) fn describe(what: &str, status: i32) -> String {
    let signal = status & 0x7f;
    if signal == 0 {
        format!("{what} exited with status {}", (status >> 8) & 0xff)
    } else {
        match signal_name(signal) {
            Some(name) => format!("{what} terminated with signal {name}"),
            None => format!("{what} terminated with signal {signal}"),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_words() {
        use v1::TaskState as State;
        let status = |status, kill_asked| Exit::Status { status, kill_asked };
        let lost = Exit::Unknown { message: "supervisor vanished".to_owned() };
        let cases = [
            (status(0, false), None, State::TaskFinished, None, "exited with status 0"),
            (status(3 << 8, false), None, State::TaskFailed, None, "exited with status 3"),
            (status(9, false), None, State::TaskFailed, None, "signal SIGKILL"),
            (status(64, false), None, State::TaskFailed, None, "signal 64"),
            (status(15, false), Some(KillReason::Asked), State::TaskKilled, None, "signal SIGTERM"),
            (status(0, true), None, State::TaskKilled, None, "exited with status 0"),
            (
                status(15, false),
                Some(KillReason::MaxCompletionTime),
                State::TaskFailed,
                Some(Reason::MaxCompletionTimeReached),
                "maximum completion time",
            ),
            (
                status(9, true),
                Some(KillReason::FrameworkRemoved),
                State::TaskKilled,
                Some(Reason::FrameworkRemoved),
                "SIGKILL",
            ),
            (lost.clone(), None, State::TaskFailed, Some(Reason::ExecutorTerminated), "vanished"),
            (lost, Some(KillReason::Asked), State::TaskKilled, None, "vanished"),
        ];
        for (exit, kill, state, reason, text) in cases {
            let news = end_of(&exit, kill);
            assert_eq!((news.state, news.reason), (state, reason), "{exit:?}");
            assert!(news.message.as_deref().unwrap().contains(text), "{:?}", news.message);
        }
    }
}
