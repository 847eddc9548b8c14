//! Sets of whole numbers, kept as few ranges as possible: ports, mostly.

use std::fmt;

/// Numbers as ranges that are sorted, disjoint and not adjacent.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Takes ranges in any order; overlapping and adjacent ones become one. A range that ends before it begins is nothing.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut sorted: Vec<(u64, u64)> = ranges.into_iter().filter(|(begin, end)| begin <= end).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
        for (begin, end) in sorted {
            match merged.last_mut() {
                Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        Self(merged)
    }

    /// Tells whether there is no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many numbers there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (begin, end)| sum.saturating_add((end - begin).saturating_add(1)))
    }

    /// Returns the ranges, both ends included, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Returns the numbers in order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(begin, end)| *begin..=*end)
    }

    /// Tells whether every number of `other` is here.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let mut own = self.0.iter().peekable();
        other.0.iter().all(|(begin, end)| {
            while own.next_if(|(_, last)| last < begin).is_some() {}
            own.peek().is_some_and(|(first, last)| first <= begin && end <= last)
        })
    }

    /// Returns the numbers of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).copied())
    }

    /// Returns the numbers that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut taken = other.0.iter().peekable();
        for &(begin, end) in &self.0 {
            let mut from = begin;
            let mut open = true;
            while let Some(&&(first, last)) = taken.peek() {
                if last < from {
                    taken.next();
                    continue;
                }
                if first > end {
                    break;
                }
                if first > from {
                    left.push((from, first - 1));
                }
                if last >= end {
                    open = false;
                    break;
                }
                from = last + 1;
                taken.next();
            }
            if open {
                left.push((from, end));
            }
        }
        Self(left)
    }

    /// Returns the lowest `count` numbers, or `None` if there are fewer.
    #[must_use]
    pub fn lowest(&self, count: u64) -> Option<Self> {
        let mut wanted = count;
        let mut found = Vec::new();
        for &(begin, end) in &self.0 {
            if wanted == 0 {
                break;
            }
            let last = end.min(begin.saturating_add(wanted - 1));
            wanted -= last - begin + 1;
            found.push((begin, last));
        }
        (wanted == 0).then_some(Self(found))
    }
}

/// As in flags: `[31000-31005, 31010-31010]`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, (begin, end)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{begin}-{end}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn some() -> impl Strategy<Value = Ranges> {
        prop::collection::vec((0u64..60, 0u64..6), 0..8)
            .prop_map(|ranges| Ranges::new(ranges.into_iter().map(|(begin, length)| (begin, begin + length))))
    }

    fn set(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.numbers().collect()
    }

    #[test]
    fn edges() {
        let all = Ranges::new([(0, u64::MAX)]);
        assert_eq!(all.count(), u64::MAX);
        assert_eq!(
            all.difference(&Ranges::new([(0, 0), (u64::MAX, u64::MAX)])),
            Ranges::new([(1, u64::MAX - 1)])
        );
        assert_eq!(Ranges::new([(5, 4)]), Ranges::default());
        assert_eq!(Ranges::new([(4, 4), (1, 2), (3, 3)]).to_string(), "[1-4]");
        assert_eq!(Ranges::new([(7, 7), (1, 2)]).to_string(), "[1-2, 7-7]");
        assert_eq!(all.lowest(3), Some(Ranges::new([(0, 2)])));
        assert_eq!(Ranges::new([(1, 2), (8, 9)]).lowest(3), Some(Ranges::new([(1, 2), (8, 8)])));
        assert_eq!(Ranges::new([(1, 2)]).lowest(3), None);
        assert_eq!(Ranges::default().lowest(0), Some(Ranges::default()));
    }

    proptest! {
        #[test]
        fn they_behave_like_sets_of_numbers(a in some(), b in some()) {
            prop_assert_eq!(set(&a.union(&b)), &set(&a) | &set(&b));
            prop_assert_eq!(set(&a.difference(&b)), &set(&a) - &set(&b));
            prop_assert_eq!(a.contains(&b), set(&a).is_superset(&set(&b)));
            prop_assert_eq!(a.count(), set(&a).len() as u64);
            for result in [a.union(&b), a.difference(&b)] {
                prop_assert_eq!(Ranges::new(result.iter()), result, "results are normalised");
            }
        }
    }
}
