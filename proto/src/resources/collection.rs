//! The collection: amounts by identity, with nothing empty in it.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::sync::Arc;

use super::amount::Amount;
use super::identity::{Identity, Reservation, ValueKind};
use super::millis::Millis;
use super::ranges::Ranges;

/// Resources in normal form: equal collections compare equal, whatever the order and cutting they were made from. Cloning
/// is cheap until one of the clones changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources(Arc<BTreeMap<Identity, Amount>>);

impl Resources {
    /// Makes an empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes unreserved scalars, leaving out what is zero or less.
    #[must_use]
    pub fn from_scalars<'a>(scalars: impl IntoIterator<Item = (&'a str, Millis)>) -> Self {
        let mut resources = Self::new();
        for (name, millis) in scalars {
            if millis > Millis::ZERO {
                resources.insert(Identity::plain(name, ValueKind::Scalar), Amount::Scalar(millis));
            }
        }
        resources
    }

    /// Tells whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns every identity with its amount, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&Identity, &Amount)> {
        self.0.iter()
    }

    /// Adds one amount.
    pub fn insert(&mut self, identity: Identity, amount: Amount) {
        if !amount.is_empty() {
            let map = Arc::make_mut(&mut self.0);
            map.entry(identity).or_insert_with_key(Amount::empty).add(&amount);
        }
    }

    /// Tells whether all of `other` is here, identity by identity.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(identity, part)| self.0.get(identity).is_some_and(|own| own.contains(part)))
    }

    /// Returns what is left without `other`, or `None` if not all of it is here.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.contains(other).then(|| self.saturating_sub(other))
    }

    /// Returns what is left without as much of `other` as is here.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Self::new();
        }
        let mut left = self.clone();
        if other.is_empty() || left.is_empty() {
            return left;
        }
        let map = Arc::make_mut(&mut left.0);
        for (identity, part) in other.0.iter() {
            if let Some(own) = map.get_mut(identity) {
                own.subtract(part);
                if own.is_empty() {
                    map.remove(identity);
                }
            }
        }
        left
    }

    /// Returns how much there is of a scalar, over all identities.
    #[must_use]
    pub fn scalar(&self, name: &str) -> Millis {
        self.0.iter().filter(|(identity, _)| &*identity.name == name).map(|(_, amount)| amount.total()).sum()
    }

    /// Returns how much there is of each scalar, over all identities.
    #[must_use]
    pub fn scalars(&self) -> BTreeMap<Arc<str>, Millis> {
        let mut sums: BTreeMap<Arc<str>, Millis> = BTreeMap::new();
        for (identity, amount) in self.0.iter() {
            if identity.kind == ValueKind::Scalar {
                *sums.entry(Arc::clone(&identity.name)).or_default() += amount.total();
            }
        }
        sums
    }

    /// Returns the numbers of a resource made of ranges, over all identities.
    #[must_use]
    pub fn ranges(&self, name: &str) -> Ranges {
        let found = self.0.iter().filter(|(identity, _)| &*identity.name == name);
        Ranges::new(found.flat_map(|(_, amount)| match amount {
            Amount::Ranges(ranges) => ranges.iter().collect::<Vec<_>>(),
            _ => Vec::new(),
        }))
    }

    /// Returns the ports, over all identities.
    #[must_use]
    pub fn ports(&self) -> Ranges {
        self.ranges("ports")
    }

    /// Returns the names that occur.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|identity| &*identity.name).collect()
    }

    /// Returns the part whose identity `keep` wants.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Identity) -> bool) -> Self {
        if self.0.keys().all(&keep) {
            return self.clone();
        }
        let kept = self.0.iter().filter(|(identity, _)| keep(identity));
        Self(Arc::new(kept.map(|(identity, amount)| (identity.clone(), amount.clone())).collect()))
    }

    /// Returns what only one holder has at a time: everything that is not shared.
    #[must_use]
    pub fn exclusive(&self) -> Self {
        self.filter(|identity| !identity.is_shared())
    }

    /// Returns what several may hold at a time.
    #[must_use]
    pub fn shared(&self) -> Self {
        self.filter(Identity::is_shared)
    }

    /// Returns what is still to be had while `used` is in use: what is shared always is.
    #[must_use]
    pub fn less(&self, used: &Self) -> Self {
        if self.0.keys().any(Identity::is_shared) {
            self.saturating_sub(&used.exclusive())
        } else {
            self.saturating_sub(used)
        }
    }

    /// Tells whether all of `wanted` could be used out of this: of what is shared, one copy serves any number of users.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(identity, part)| {
            self.0.get(identity).is_some_and(|own| match (own, part) {
                (Amount::Pieces(own), Amount::Pieces(part)) if identity.is_shared() => {
                    part.keys().all(|size| own.contains_key(size))
                }
                _ => own.contains(part),
            })
        })
    }

    /// Returns what belongs to nobody.
    #[must_use]
    pub fn unreserved(&self) -> Self {
        self.filter(|identity| identity.reservations.is_empty())
    }

    /// Returns what is reserved for exactly this role.
    #[must_use]
    pub fn reserved_for(&self, role: &str) -> Self {
        self.filter(|identity| identity.reservation_role() == Some(role))
    }

    /// Returns what a framework in this role may get.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Self {
        self.filter(|identity| identity.is_allocatable_to(role))
    }

    /// Returns the same amounts, all allocated to a role.
    #[must_use]
    pub fn allocate(&self, role: &str) -> Self {
        let role: Arc<str> = role.into();
        self.map(|identity| identity.allocation_role = Some(Arc::clone(&role)))
    }

    /// Returns the same amounts, allocated to nobody.
    #[must_use]
    pub fn unallocated(&self) -> Self {
        if self.0.keys().all(|identity| identity.allocation_role.is_none()) {
            return self.clone();
        }
        self.map(|identity| identity.allocation_role = None)
    }

    /// Returns the same amounts, with one more reservation on top.
    #[must_use]
    pub fn reserve(&self, reservation: &Reservation) -> Self {
        self.map(|identity| {
            identity.reservations = identity.reservations.iter().chain([reservation]).cloned().collect();
        })
    }

    /// Returns the roles that something is allocated to; `None` stands for what is not allocated.
    pub fn allocation_roles(&self) -> BTreeSet<Option<&str>> {
        self.0.keys().map(|identity| identity.allocation_role.as_deref()).collect()
    }

    fn map(&self, change: impl Fn(&mut Identity)) -> Self {
        let mut changed = Self::new();
        for (identity, amount) in self.0.iter() {
            let mut identity = identity.clone();
            change(&mut identity);
            changed.insert(identity, amount.clone());
        }
        changed
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        for (identity, amount) in other.0.iter() {
            self.insert(identity.clone(), amount.clone());
        }
    }
}

impl Add<&Resources> for Resources {
    type Output = Resources;
    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

impl Add<&Resources> for &Resources {
    type Output = Resources;
    fn add(self, other: &Resources) -> Resources {
        self.clone() + other
    }
}

impl<'a> Sum<&'a Resources> for Resources {
    fn sum<I: Iterator<Item = &'a Resources>>(items: I) -> Self {
        items.fold(Self::new(), Add::add)
    }
}
