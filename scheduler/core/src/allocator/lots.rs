//! Lots: the order in which roles, or the frameworks of a role, are asked when a sorter is `random`.
//!
//! Everybody gets a waiting time drawn from an exponential distribution whose rate is the weight, and the shortest comes first. That is
//! drawing without replacement, each in proportion to its weight. A lot depends on a seed and on whose it is, and on nothing that
//! was drawn before: it does not matter who else is asked, or where a plan was cut. Floating point is used for its four basic
//! operations only, which give the same bits everywhere.

use std::f64::consts::LN_2;

/// Mixes a number well: the last steps of splitmix64.
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The lot of one of those who wait.
fn lot(seed: u64, whose: u64) -> u64 {
    mix(seed ^ mix(whose))
}

/// The numbers of all, each with a weight above zero, in the order drawn.
pub(crate) fn weighted(seed: u64, all: &[(usize, f64)]) -> Vec<usize> {
    let mut drawn: Vec<(f64, usize)> =
        all.iter().map(|(whose, weight)| (waiting_time(lot(seed, *whose as u64)) / weight, *whose)).collect();
    drawn.sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    drawn.into_iter().map(|(_, whose)| whose).collect()
}

/// The same for equal weights.
pub(crate) fn equal<T>(seed: u64, all: impl Iterator<Item = (usize, T)>) -> Vec<(usize, T)> {
    let mut drawn: Vec<(u64, (usize, T))> = all.map(|one| (lot(seed, one.0 as u64), one)).collect();
    drawn.sort_unstable_by_key(|(lot, (whose, _))| (*lot, *whose));
    drawn.into_iter().map(|(_, one)| one).collect()
}

/// The negative natural logarithm of a number that is evenly distributed between 0 and 1, given as a fraction of 2^64.
fn waiting_time(even: u64) -> f64 {
    let even = even | 1;
    let halvings = even.leading_zeros();
    // Between 1 and 2.
    let rest = (even << halvings) as f64 / (1_u64 << 63) as f64;
    // ln(rest) = 2 artanh(s), and s is at most a third.
    let s = (rest - 1.0) / (rest + 1.0);
    let square = s * s;
    let series = [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0];
    let artanh = series.into_iter().fold(0.0, |sum: f64, odd: f64| sum * square + 1.0 / odd) * s;
    (f64::from(halvings + 1) * LN_2 - 2.0 * artanh).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_are_logarithms() {
        for even in [1, 3, 12_345, u64::MAX / 3, 1 << 63, (1 << 63) + 1, u64::MAX] {
            let exact = -((even as f64) / 2_f64.powi(64)).ln();
            assert!((waiting_time(even | 1) - exact).abs() < 1e-9, "{even}: {exact}");
        }
    }

    /// How often each comes at this place of 20,000 draws.
    fn at(place: usize, weights: &[(usize, f64)]) -> Vec<f64> {
        let mut counts = vec![0_u32; weights.len()];
        for seed in 0..20_000 {
            counts[weighted(mix(seed), weights)[place]] += 1;
        }
        counts.into_iter().map(|count| f64::from(count) / 20_000.0).collect()
    }

    #[test]
    fn lots_are_in_proportion_to_weights_and_so_are_those_that_are_left() {
        let weights = [(0, 1.0), (1, 2.0), (2, 5.0)];
        let near = |drawn: Vec<f64>, theory: [f64; 3]| {
            assert!(drawn.iter().zip(theory).all(|(one, other)| (one - other).abs() < 0.015), "{drawn:?}");
        };
        near(at(0, &weights), [1.0 / 8.0, 2.0 / 8.0, 5.0 / 8.0]);
        // Second, behind each of the others: what is left is drawn from by its own weights.
        let second = [
            2.0 / 8.0 * (1.0 / 6.0) + 5.0 / 8.0 * (1.0 / 3.0),
            1.0 / 8.0 * (2.0 / 7.0) + 5.0 / 8.0 * (2.0 / 3.0),
            1.0 / 8.0 * (5.0 / 7.0) + 2.0 / 8.0 * (5.0 / 6.0),
        ];
        near(at(1, &weights), second);
    }

    #[test]
    fn a_lot_does_not_depend_on_who_else_draws() {
        let all = equal(7, (0..20).map(|whose| (whose, ())));
        let some: Vec<_> = all.iter().copied().filter(|(whose, ())| whose % 3 == 0).collect();
        assert_eq!(equal(7, (0..20).filter(|whose| whose % 3 == 0).map(|whose| (whose, ()))), some);
        assert_ne!(equal(8, (0..20).map(|whose| (whose, ()))), all);
        // No weight is so small or large that something breaks.
        assert_eq!(weighted(1, &[(0, f64::MIN_POSITIVE), (1, 1e300)]), [1, 0]);
    }
}
