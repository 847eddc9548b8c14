//! Dominant shares in fixed point, and the order that they give.
//!
//! Owns the one comparison on which fairness rests. Refuses floating point: two machines must sort alike, bit for bit.

use std::sync::Arc;

use super::quantities::Quantities;

/// Fraction bits of a share: one part in 2^40 of the cluster, far below a thousandth of a processor.
const FRACTION_BITS: u32 = 40;

/// How much more than others a role is entitled to, in millionths; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weight(u64);

impl Weight {
    pub(crate) const ONE: Weight = Weight(1_000_000);

    /// Returns nothing unless the weight is a number of at least a millionth and at most a thousand million.
    pub(crate) fn from_f64(weight: f64) -> Option<Weight> {
        let micro = (weight * 1e6).round();
        // The bounds refuse NaN as well, which compares with nothing.
        if (1.0..=1e15).contains(&micro) { Some(Weight(micro as u64)) } else { None }
    }
}

impl Weight {
    /// For people.
    pub(crate) fn to_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// The largest part of any kind of resource in the cluster, divided by the weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share(u64);

impl Share {
    pub(crate) fn dominant(allocated: &Quantities, total: &Quantities, weight: Weight) -> Share {
        let mut largest = 0_u128;
        for (held, all) in allocated.0.iter().zip(&total.0) {
            if *held > 0 && *all > 0 {
                largest = largest.max((u128::from(*held) << FRACTION_BITS) / u128::from(*all));
            }
        }
        let weighted = largest * u128::from(Weight::ONE.0) / u128::from(weight.0);
        Share(u64::try_from(weighted).unwrap_or(u64::MAX))
    }
}

impl Share {
    /// For people: 1 is the whole cluster.
    pub(crate) fn to_f64(self) -> f64 {
        self.0 as f64 / (1_u64 << FRACTION_BITS) as f64
    }
}

/// A place in the queue: smallest share first, then fewest allocations so far, then the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) share: Share,
    pub(crate) allocations: u64,
    pub(crate) name: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::super::quantities::Kinds;
    use super::*;

    fn of(amounts: &[(&str, u64)]) -> Quantities {
        Kinds::new().quantities(amounts.iter().copied())
    }

    #[test]
    fn the_dominant_kind_decides() {
        let total = of(&[("cpus", 9_000), ("mem", 18_000)]);
        let by_mem = Share::dominant(&of(&[("cpus", 1_000), ("mem", 4_000)]), &total, Weight::ONE);
        let by_cpus = Share::dominant(&of(&[("cpus", 3_000), ("mem", 1_000)]), &total, Weight::ONE);
        assert!(by_mem < by_cpus);
        assert_eq!(by_mem, Share::dominant(&of(&[("cpus", 2_000)]), &total, Weight::ONE));
    }

    #[test]
    fn a_weight_divides_the_share() {
        let total = of(&[("cpus", 8_000)]);
        let two = Weight::from_f64(2.0).unwrap();
        let heavy = Share::dominant(&of(&[("cpus", 4_000)]), &total, two);
        assert_eq!(heavy, Share::dominant(&of(&[("cpus", 2_000)]), &total, Weight::ONE));
    }

    #[test]
    fn kinds_that_the_cluster_lacks_weigh_nothing() {
        let total = of(&[("cpus", 8_000)]);
        assert_eq!(Share::dominant(&of(&[("gpus", 4_000)]), &total, Weight::ONE), Share::default());
    }

    #[test]
    fn extremes_neither_overflow_nor_divide_by_zero() {
        let share = Share::dominant(&of(&[("cpus", u64::MAX)]), &of(&[("cpus", 1)]), Weight(1));
        assert_eq!(share, Share(u64::MAX));
        for refused in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e12, 1e-7] {
            assert_eq!(Weight::from_f64(refused), None, "{refused}");
        }
    }
}
