//! What the states of a task mean; shared by masters, agents and frameworks.

use crate::v1::TaskState;

impl TaskState {
    /// Tells whether nothing can follow this state.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::TaskFinished
            | Self::TaskFailed
            | Self::TaskKilled
            | Self::TaskError
            | Self::TaskLost
            | Self::TaskDropped
            | Self::TaskGone
            | Self::TaskGoneByOperator => true,
            Self::TaskStaging
            | Self::TaskStarting
            | Self::TaskRunning
            | Self::TaskKilling
            | Self::TaskUnreachable
            | Self::TaskUnknown => false,
        }
    }

    /// Tells whether the task's agent cannot be reached; the task may still be running and may come back.
    #[must_use]
    pub fn is_unreachable(self) -> bool {
        self == Self::TaskUnreachable
    }

    /// Tells whether only frameworks with PARTITION_AWARE know this state.
    #[must_use]
    pub fn needs_partition_awareness(self) -> bool {
        matches!(
            self,
            Self::TaskDropped
                | Self::TaskUnreachable
                | Self::TaskGone
                | Self::TaskGoneByOperator
                | Self::TaskUnknown
        )
    }

    /// Returns the state as a framework is told it: without PARTITION_AWARE the finer states are all LOST.
    #[must_use]
    pub fn as_told(self, partition_aware: bool) -> Self {
        if !partition_aware && self.needs_partition_awareness() { Self::TaskLost } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_states_are_those_of_the_protocol() {
        let terminal: Vec<i32> =
            (0..14).filter(|number| TaskState::try_from(*number).unwrap().is_terminal()).collect();
        assert_eq!(terminal, [2, 3, 4, 5, 7, 9, 11, 12]);
        assert!(TaskState::try_from(14).is_err(), "a new state needs a place in is_terminal");
    }

    #[test]
    fn the_unaware_are_told_lost() {
        for number in 0..14 {
            let state = TaskState::try_from(number).unwrap();
            assert_eq!(state.as_told(true), state);
            let expected = if [9, 10, 11, 12, 13].contains(&number) { TaskState::TaskLost } else { state };
            assert_eq!(state.as_told(false), expected);
        }
    }
}
