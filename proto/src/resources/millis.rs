//! Scalars in thousandths: exact, ordered, and the same on every replica.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// Largest accepted scalar. Far above any machine, far below where sums over a cluster overflow.
const MAX_UNITS: f64 = 1e12;

/// An amount in thousandths of a unit (of a core, of a megabyte). Sums saturate instead of overflowing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Rounds to the nearest thousandth, halves away from zero. `None` for what is not finite or beyond all bounds.
    #[must_use]
    pub fn from_f64(units: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the range was just checked")]
        (units.is_finite() && units.abs() <= MAX_UNITS).then(|| Self((units * 1000.0).round() as i64))
    }

    /// Returns the nearest double in units.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "amounts stay below 2^53 thousandths")]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Tells whether there is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Add for Millis {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Millis {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Millis {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Millis {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Millis {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

/// Units without superfluous digits: `4`, `0.1`, `1.025`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        let sign = if self.0 < 0 { "-" } else { "" };
        if rest == 0 {
            return f.pad(&format!("{sign}{whole}"));
        }
        f.pad(format!("{sign}{whole}.{rest:03}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_and_text() {
        let cases = [
            (0.1, 100, "0.1"),
            (4.0, 4000, "4"),
            (1.0255, 1026, "1.026"),
            (0.0004, 0, "0"),
            (-1.5, -1500, "-1.5"),
        ];
        for (units, millis, text) in cases {
            let value = Millis::from_f64(units).unwrap();
            assert_eq!((value.0, value.to_string().as_str()), (millis, text));
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e13, -1e13] {
            assert_eq!(Millis::from_f64(bad), None);
        }
        assert_eq!(Millis(i64::MAX) + Millis(1), Millis(i64::MAX));
        assert_eq!(Millis(100).to_f64() + Millis(200).to_f64(), 0.1 + 0.2);
        assert_eq!((Millis(100) + Millis(200)).to_f64(), 0.3, "no error adds up");
    }
}
