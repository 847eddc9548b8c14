//! Times of the last hour: the newest, and how they spread.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Values older than this no longer count.
const SPAN: Duration = Duration::from_secs(3600);
/// So many of the newest values are kept.
const KEPT: usize = 1000;

/// The newest values.
#[derive(Default)]
pub(super) struct Window {
    values: Mutex<VecDeque<(Instant, f64)>>,
}

impl Window {
    /// Adds a value.
    pub(super) fn observe(&self, value: f64) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if values.len() == KEPT {
            values.pop_front();
        }
        values.push_back((Instant::now(), value));
    }

    /// The newest value under `name`, and below it the number, the extremes and percentiles; nothing if there is none.
    pub(super) fn numbers(&self, name: &str) -> Vec<(String, f64)> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = values.iter().filter(|(at, _)| at.elapsed() <= SPAN).map(|(_, value)| *value);
        let mut sorted: Vec<f64> = recent.collect();
        drop(values);
        let Some(newest) = sorted.last().copied() else { return Vec::new() };
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            // Both are small: the position is exact.
            let position = ((sorted.len() - 1) as f64 * share).round() as usize;
            sorted.get(position).copied().unwrap_or_default()
        };
        let spread = [
            ("count", sorted.len() as f64),
            ("min", at(0.0)),
            ("max", at(1.0)),
            ("p50", at(0.5)),
            ("p90", at(0.9)),
            ("p95", at(0.95)),
            ("p99", at(0.99)),
            ("p999", at(0.999)),
            ("p9999", at(0.9999)),
        ];
        let below = spread.into_iter().map(|(part, number)| (format!("{name}/{part}"), number));
        std::iter::once((name.to_owned(), newest)).chain(below).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_spread_is_that_of_the_last_hour() {
        let window = Window::default();
        assert!(window.numbers("x").is_empty());
        window.observe(1e9);
        tokio::time::advance(SPAN + Duration::from_secs(1)).await;
        for value in (1..=100).rev() {
            window.observe(f64::from(value));
        }
        let numbers = window.numbers("x");
        let find = |name: &str| numbers.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
        assert_eq!(find("x"), Some(1.0));
        assert_eq!(find("x/count"), Some(100.0));
        assert_eq!((find("x/min"), find("x/max")), (Some(1.0), Some(100.0)));
        assert_eq!((find("x/p50"), find("x/p9999")), (Some(51.0), Some(100.0)));
    }

    #[test]
    fn only_so_many_are_kept() {
        let window = Window::default();
        for value in 0..2 * KEPT {
            window.observe(value as f64);
        }
        assert_eq!(window.numbers("x")[1], ("x/count".to_owned(), KEPT as f64));
        assert_eq!(window.numbers("x")[2], ("x/min".to_owned(), KEPT as f64));
    }
}
