//! What becomes of a driver when its run has ended: finished, failed, or launched again, and when.
//!
//! ```text
//!   end of the run                      policy         verdict
//!   ─────────────────────────────────────────────────────────────────────────────────────────────
//!   killed on request                   any            KILLED
//!   exit 0                              not ALWAYS     FINISHED
//!   TASK_ERROR                          any            FAILED: the spec is wrong, again would be as well
//!   anything else                       NEVER          FAILED
//!   lost with its agent                 other          QUEUED, or BACKOFF if it never ran; costs nothing
//!   failed, killed, or exit 0           other          BACKOFF, or FAILED if the budget is used up
//! ```
//!
//! Pure: a record, an end and the time go in, a decision comes out. The budget is a sliding window of cluster time, so
//! that time without a leader counts against nobody.

use tepui_proto::tepui::operator::{DriverState, Supervise, supervise::Policy};
use tepui_proto::v1::TaskState;

use crate::registry::DriverRecord;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The task is in this terminal state.
    Task(TaskState),
    /// The lease ran out. A driver that hangs on a connected agent pays for it; a lost agent costs nothing.
    Lease { agent_connected: bool },
    /// The agent cannot be reached, and with it the task.
    Unreachable,
}

/// What is to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) state: DriverState,
    /// Cluster time of the next launch, for BACKOFF.
    pub(super) next_launch_ms: u64,
    pub(super) backoff_ms: u64,
    /// Whether the end counts against the budget.
    pub(super) counted: bool,
    pub(super) message: String,
}

/// Decides; `message` is what is known of the reason.
pub(super) fn after(driver: &DriverRecord, end: End, message: &str, now_ms: u64) -> Decision {
    let decide = |state, message: String| Decision {
        state,
        next_launch_ms: 0,
        backoff_ms: driver.backoff_ms,
        counted: false,
        message,
    };
    let supervise = supervise(driver);
    let policy = supervise.policy();
    match end {
        End::Task(_) | End::Unreachable | End::Lease { .. } if driver.kill.is_some() => {
            decide(DriverState::DriverKilled, "killed on request".to_owned())
        }
        End::Task(TaskState::TaskFinished) if policy != Policy::Always => {
            decide(DriverState::DriverFinished, message.to_owned())
        }
        End::Task(TaskState::TaskError) => decide(DriverState::DriverFailed, message.to_owned()),
        End::Unreachable => decide(DriverState::DriverUnreachable, message.to_owned()),
        End::Lease { agent_connected } => {
            let counted = agent_connected && policy != Policy::Never;
            if counted && is_exhausted(driver, &supervise, now_ms) {
                let message = gave_up(&supervise, message);
                return Decision { counted, ..decide(DriverState::DriverFailed, message) };
            }
            Decision { counted, ..decide(DriverState::DriverUnreachable, message.to_owned()) }
        }
        End::Task(_) if policy == Policy::Never => decide(DriverState::DriverFailed, message.to_owned()),
        // It was given up already, and paid for if it had to.
        End::Task(_) if driver.state() == DriverState::DriverUnreachable => {
            decide(DriverState::DriverQueued, message.to_owned())
        }
        End::Task(state) => {
            let lost = is_lost(state);
            if lost && driver.state() == DriverState::DriverRunning {
                return decide(DriverState::DriverQueued, message.to_owned());
            }
            if !lost && is_exhausted(driver, &supervise, now_ms) {
                let message = gave_up(&supervise, message);
                return Decision { counted: true, ..decide(DriverState::DriverFailed, message) };
            }
            let backoff_ms = next_backoff_ms(driver, &supervise, now_ms);
            Decision {
                next_launch_ms: now_ms.saturating_add(backoff_ms),
                backoff_ms,
                counted: !lost,
                ..decide(DriverState::DriverBackoff, message.to_owned())
            }
        }
    }
}

/// Whether the driver is to be launched again after its agent was lost.
pub(super) fn survives_its_agent(driver: &DriverRecord) -> bool {
    supervise(driver).policy() != Policy::Never
}

fn supervise(driver: &DriverRecord) -> Supervise {
    driver.spec.as_ref().and_then(|spec| spec.supervise).unwrap_or_default()
}

/// Ends that say nothing about the driver: its agent vanished, or never took it.
fn is_lost(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::TaskLost | TaskState::TaskDropped | TaskState::TaskGone | TaskState::TaskGoneByOperator
    )
}

/// Whether one more end is one too many for the window that ends now.
fn is_exhausted(driver: &DriverRecord, supervise: &Supervise, now_ms: u64) -> bool {
    let recent = |at_ms: &&u64| at_ms.saturating_add(supervise.within_ms()) > now_ms;
    let ends = driver.failed_at_ms.iter().filter(recent).count() + 1;
    ends > supervise.max_restarts() as usize
}

/// The first back-off, or twice the last one; a run that was long enough starts anew.
fn next_backoff_ms(driver: &DriverRecord, supervise: &Supervise, now_ms: u64) -> u64 {
    let healthy = driver.state() == DriverState::DriverRunning
        && now_ms.saturating_sub(driver.launched_ms) >= supervise.healthy_after_ms();
    if healthy || driver.backoff_ms == 0 {
        return supervise.backoff_initial_ms();
    }
    driver.backoff_ms.saturating_mul(2).min(supervise.backoff_max_ms())
}

fn gave_up(supervise: &Supervise, message: &str) -> String {
    format!(
        "gave up after {} restarts within {} ms: {message}",
        supervise.max_restarts(),
        supervise.within_ms()
    )
}

#[cfg(test)]
mod tests {
    use tepui_proto::tepui::operator::DriverSpec;

    use super::*;
    use crate::registry::DriverKill;

    const NOW: u64 = 1_000_000;

    fn driver(policy: Policy) -> DriverRecord {
        let supervise = Supervise {
            policy: Some(policy as i32),
            max_restarts: Some(3),
            within_ms: Some(60_000),
            backoff_initial_ms: Some(1_000),
            backoff_max_ms: Some(5_000),
            healthy_after_ms: Some(30_000),
        };
        DriverRecord {
            spec: Some(DriverSpec { supervise: Some(supervise), ..Default::default() }),
            state: DriverState::DriverRunning as i32,
            launched_ms: NOW - 1_000,
            ..Default::default()
        }
    }

    fn state(driver: &DriverRecord, end: TaskState) -> DriverState {
        after(driver, End::Task(end), "", NOW).state
    }

    #[test]
    fn the_table_of_policies() {
        use DriverState::{DriverBackoff, DriverFailed, DriverFinished, DriverQueued};
        use TaskState::{TaskDropped, TaskError, TaskFailed, TaskFinished, TaskGone, TaskKilled, TaskLost};
        let table = [
            (TaskFinished, [DriverBackoff, DriverFinished, DriverFinished]),
            (TaskFailed, [DriverBackoff, DriverBackoff, DriverFailed]),
            (TaskKilled, [DriverBackoff, DriverBackoff, DriverFailed]),
            (TaskError, [DriverFailed, DriverFailed, DriverFailed]),
            (TaskLost, [DriverQueued, DriverQueued, DriverFailed]),
            (TaskGone, [DriverQueued, DriverQueued, DriverFailed]),
            (TaskDropped, [DriverQueued, DriverQueued, DriverFailed]),
        ];
        for (end, expected) in table {
            for (policy, expected) in
                [Policy::Always, Policy::OnFailure, Policy::Never].into_iter().zip(expected)
            {
                assert_eq!(state(&driver(policy), end), expected, "{end:?} under {policy:?}");
            }
        }
    }

    /// Rule 7: SPARK-15555 restarted what somebody had killed on purpose.
    #[test]
    fn killed_on_request_is_final_whatever_the_end() {
        let killed = DriverRecord { kill: Some(DriverKill::default()), ..driver(Policy::Always) };
        for end in
            [TaskState::TaskKilled, TaskState::TaskFailed, TaskState::TaskFinished, TaskState::TaskLost]
        {
            assert_eq!(state(&killed, end), DriverState::DriverKilled);
        }
        for end in [End::Lease { agent_connected: true }, End::Unreachable] {
            assert_eq!(after(&killed, end, "", NOW).state, DriverState::DriverKilled);
        }
    }

    #[test]
    fn back_off_doubles_up_to_the_longest_and_starts_anew_after_a_long_run() {
        let mut driver = driver(Policy::OnFailure);
        let mut seen = Vec::new();
        for _ in 0..5 {
            let decision = after(&driver, End::Task(TaskState::TaskFailed), "", NOW);
            assert_eq!(decision.next_launch_ms, NOW + decision.backoff_ms, "an absolute time");
            seen.push(decision.backoff_ms);
            driver.backoff_ms = decision.backoff_ms;
        }
        assert_eq!(seen, [1_000, 2_000, 4_000, 5_000, 5_000]);
        driver.launched_ms = NOW - 30_000;
        assert_eq!(after(&driver, End::Task(TaskState::TaskFailed), "", NOW).backoff_ms, 1_000);
    }

    #[test]
    fn the_budget_is_a_sliding_window() {
        let mut driver = driver(Policy::OnFailure);
        driver.failed_at_ms = vec![NOW - 70_000, NOW - 60_000, NOW - 59_999, NOW - 10];
        let decision = after(&driver, End::Task(TaskState::TaskFailed), "exit 1", NOW);
        assert_eq!(
            (decision.state, decision.counted),
            (DriverState::DriverBackoff, true),
            "the third of three"
        );
        driver.failed_at_ms.push(NOW - 5);
        let decision = after(&driver, End::Task(TaskState::TaskFailed), "exit 1", NOW);
        assert_eq!((decision.state, decision.counted), (DriverState::DriverFailed, true));
        assert_eq!(decision.message, "gave up after 3 restarts within 60000 ms: exit 1");
    }

    #[test]
    fn no_restarts_means_none() {
        let mut driver = driver(Policy::OnFailure);
        driver.spec.as_mut().unwrap().supervise.as_mut().unwrap().max_restarts = Some(0);
        assert_eq!(state(&driver, TaskState::TaskFailed), DriverState::DriverFailed);
        assert_eq!(state(&driver, TaskState::TaskLost), DriverState::DriverQueued);
    }

    #[test]
    fn a_lost_agent_costs_nothing_even_when_the_budget_is_used_up() {
        let mut driver = driver(Policy::OnFailure);
        driver.failed_at_ms = vec![NOW - 3, NOW - 2, NOW - 1];
        for end in [TaskState::TaskLost, TaskState::TaskGone, TaskState::TaskDropped] {
            let decision = after(&driver, End::Task(end), "", NOW);
            assert_eq!((decision.state, decision.counted), (DriverState::DriverQueued, false));
        }
        let decision = after(&driver, End::Lease { agent_connected: false }, "", NOW);
        assert_eq!((decision.state, decision.counted), (DriverState::DriverUnreachable, false));
    }

    #[test]
    fn a_launch_that_no_agent_takes_is_repeated_with_patience() {
        let staging = DriverRecord {
            state: DriverState::DriverStaging as i32,
            backoff_ms: 1_000,
            ..driver(Policy::OnFailure)
        };
        let decision = after(&staging, End::Task(TaskState::TaskDropped), "", NOW);
        assert_eq!(
            (decision.state, decision.counted, decision.backoff_ms),
            (DriverState::DriverBackoff, false, 2_000)
        );
    }

    #[test]
    fn a_driver_that_hangs_pays_for_it() {
        let mut driver = driver(Policy::OnFailure);
        let hang = End::Lease { agent_connected: true };
        let decision = after(&driver, hang, "", NOW);
        assert_eq!((decision.state, decision.counted), (DriverState::DriverUnreachable, true));
        driver.failed_at_ms = vec![NOW - 3, NOW - 2, NOW - 1];
        assert_eq!(after(&driver, hang, "", NOW).state, DriverState::DriverFailed);
        // What is killed after that is the old run's end: it has been counted.
        driver.set_state(DriverState::DriverUnreachable);
        let decision = after(&driver, End::Task(TaskState::TaskKilled), "", NOW);
        assert_eq!((decision.state, decision.counted), (DriverState::DriverQueued, false));
        // One that finished meanwhile has finished.
        assert_eq!(state(&driver, TaskState::TaskFinished), DriverState::DriverFinished);
    }
}
