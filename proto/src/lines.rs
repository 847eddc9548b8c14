//! How many lines of one kind go to a log, where peers decide how often there is a reason for one.
//!
//! Owns the count, and that nothing is left out without a word. Pure: the caller brings the time and writes the lines.

const WINDOW_MS: u64 = 1_000;

/// Lets a number of lines a second pass, and counts the others.
#[derive(Clone, Debug)]
pub struct Lines {
    per_second: u32,
    /// Beginning of the second that is counted.
    began_ms: u64,
    passed: u32,
    left_out: u64,
}

impl Lines {
    /// Lets `per_second` lines pass in any second, counted from its first line.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, began_ms: 0, passed: 0, left_out: 0 }
    }

    /// Returns whether a line may be written now. Ask [`left_out`](Self::left_out) first, so that the count comes before it.
    pub fn pass(&mut self, now_ms: u64) -> bool {
        if self.is_over(now_ms) {
            (self.began_ms, self.passed) = (now_ms, 0);
        }
        if self.passed < self.per_second {
            self.passed += 1;
            return true;
        }
        self.left_out = self.left_out.saturating_add(1);
        false
    }

    /// Returns how many lines were left out in a second that is over, once.
    pub fn left_out(&mut self, now_ms: u64) -> Option<u64> {
        if self.left_out == 0 || !self.is_over(now_ms) {
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }

    /// A clock that starts below a second, or went back, makes no difference: the first second is then a longer one.
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.began_ms.saturating_add(WINDOW_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let mut lines = Lines::new(3);
        let written = (0..1_000).filter(|_| lines.pass(5_000)).count();
        assert_eq!(written, 3);
        assert_eq!(lines.left_out(5_999), None, "the second is not over");
        assert_eq!(lines.left_out(6_000), Some(997));
        assert_eq!(lines.left_out(6_000), None, "told once");
        assert!(lines.pass(6_000));
        // One line now and then is always written, and nothing is said besides.
        for at in (7_000..20_000).step_by(400) {
            assert!(lines.pass(at), "{at}");
            assert_eq!(lines.left_out(at), None);
        }
    }

    #[test]
    fn no_second_holds_more_than_its_lines_and_none_is_lost() {
        let mut lines = Lines::new(5);
        let (mut written, mut counted) = (0_u64, 0);
        for at in 0..10_000_u64 {
            counted += lines.left_out(at).unwrap_or(0);
            written += u64::from(lines.pass(at));
        }
        counted += lines.left_out(11_000).unwrap_or(0);
        assert_eq!((written, written + counted), (50, 10_000));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_lets_nothing_through() {
        let mut lines = Lines::new(1);
        assert!(lines.pass(0) && !lines.pass(0));
        assert!(lines.pass(50_000) && !lines.pass(10));
        assert_eq!(lines.left_out(10), None);
    }
}
