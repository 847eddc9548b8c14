//! When a leader should say nothing: if no quorum answers it, but it can still be heard, its heartbeats would keep the others from
//! electing somebody who is answered. Pure: is told the time and what raft says. Decides nothing about who leads.

use std::time::Duration;

use tokio::time::Instant;

/// Falls silent after a timeout without answers, for as long again, and then tries anew.
pub(crate) struct Silence {
    timeout: Duration,
    /// Since when answers are waited for.
    waiting_since: Option<Instant>,
    until: Option<Instant>,
}

impl Silence {
    pub(crate) fn new(timeout: Duration) -> Silence {
        Silence { timeout, waiting_since: None, until: None }
    }

    /// Tells whether this replica should be silent now. `acknowledged` is when the newest message that a quorum answered was sent.
    pub(crate) fn look(&mut self, now: Instant, in_office: bool, acknowledged: Option<Instant>) -> bool {
        let answered = acknowledged.is_some_and(|at| now.saturating_duration_since(at) < self.timeout);
        if !in_office || answered {
            self.waiting_since = acknowledged.filter(|_| in_office);
            self.until = None;
            return false;
        }
        if let Some(until) = self.until {
            if now < until {
                return true;
            }
            // Nobody else took over: perhaps nobody else is there yet.
            self.until = None;
            self.waiting_since = None;
        }
        let since = *self.waiting_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= self.timeout {
            self.until = Some(now + self.timeout);
        }
        self.until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Play {
        silence: Silence,
        begun: Instant,
    }

    impl Play {
        fn new() -> Play {
            Play { silence: Silence::new(Duration::from_millis(1_000)), begun: Instant::now() }
        }

        fn look(&mut self, now: u64, in_office: bool, acknowledged: Option<u64>) -> bool {
            let at = |ms| self.begun + Duration::from_millis(ms);
            self.silence.look(at(now), in_office, acknowledged.map(at))
        }
    }

    #[test]
    fn who_is_answered_or_does_not_lead_may_speak() {
        let mut play = Play::new();
        for now in (0..10_000).step_by(100) {
            assert!(!play.look(now, true, Some(now.saturating_sub(500))), "{now}");
        }
        for now in (10_000..20_000).step_by(100) {
            assert!(!play.look(now, false, None), "{now}");
        }
    }

    #[test]
    fn silence_begins_when_the_last_answer_is_too_old() {
        let mut play = Play::new();
        assert!(!play.look(500, true, Some(490)));
        assert!(!play.look(1_489, true, Some(490)));
        assert!(play.look(1_490, true, Some(490)));
        assert!(play.look(2_489, true, Some(490)));
        assert!(!play.look(2_490, true, Some(490)), "tries anew");
        assert!(!play.look(3_489, true, Some(490)));
        assert!(play.look(3_490, true, Some(490)));
    }

    #[test]
    fn who_is_not_answered_falls_silent_and_tries_again() {
        let mut play = Play::new();
        let silent: Vec<u64> = (0..6_000).step_by(100).filter(|now| play.look(*now, true, None)).collect();
        let expected: Vec<u64> =
            (1_000..2_000).chain(3_000..4_000).chain(5_000..6_000).step_by(100).collect();
        assert_eq!(silent, expected);
    }

    #[test]
    fn an_answer_ends_the_silence_and_so_does_the_end_of_the_office() {
        for ended in [true, false] {
            let mut play = Play::new();
            play.look(0, true, None);
            assert!(play.look(1_000, true, None));
            assert!(!play.look(1_100, ended, ended.then_some(1_090)));
            assert!(!play.look(1_200, true, ended.then_some(1_090)), "a new wait begins");
        }
    }
}
