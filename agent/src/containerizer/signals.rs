//! Signals to a whole container, as operators ask for them. Owns who gets one: the command and what it started, never the
//! supervising process, which has the end to record.

use nix::sys::signal::Signal;

use crate::supervise::processes;

/// Sends a signal to the processes of a container whose supervising process has this id. Returns how many there were. Blocking.
pub(crate) fn signal_container(supervisor: i32, signal: Signal) -> usize {
    let mut reached = Vec::new();
    // A process may start another one while the list is made: whoever is new the second time is reached, too.
    for _ in 0..2 {
        for pid in processes::descendants(supervisor) {
            if !reached.contains(&pid) {
                processes::signal(pid, signal);
                reached.push(pid);
            }
        }
    }
    reached.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_below_a_process_that_is_not_there() {
        assert_eq!(signal_container(i32::MAX, Signal::SIGKILL), 0);
    }
}
