//! What operators set for roles: weights and quotas. Owns their records, their operations, and the bounds that every replica
//! checks again. Whether a quota fits what is used and promised is judged before it is proposed; only the sum of guarantees
//! is compared here, with what the proposer counted.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::role;

/// Smallest and largest weight: beyond them shares could no longer be told apart.
pub const WEIGHTS: std::ops::RangeInclusive<f64> = 1e-6..=1e9;

/// Most roles with a weight, and most with a quota.
pub const MAX_ROLES_SET: usize = 10_000;

/// Longest role, bytes.
pub const MAX_ROLE_BYTES: usize = 1024;

/// Largest amounts in a quota: 1 EiB of what is counted in megabytes, 10^12 of all else. In thousandths.
const MAX_MEGABYTES_MILLI: u64 = (1 << 40) * 1000;
const MAX_AMOUNT_MILLI: u64 = 1_000_000_000_000_000;

/// Kinds of resources that quotas may name besides those that every agent has: the allocator keeps room for so many.
pub const MAX_OTHER_KINDS: usize = 4;

/// Kinds of resources that every quota may name.
pub const USUAL_KINDS: [&str; 4] = ["cpus", "mem", "disk", "gpus"];

/// Longest name of a resource in a quota, bytes.
const MAX_NAME_BYTES: usize = 128;

/// The weight of a role.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WeightRecord {
    #[prost(string, tag = "1")]
    pub role: String,
    #[prost(double, tag = "2")]
    pub weight: f64,
}

/// The quota of a top-level role, in thousandths by name of resource.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct QuotaRecord {
    #[prost(string, tag = "1")]
    pub role: String,
    #[prost(btree_map = "string, uint64", tag = "2")]
    pub guarantees: BTreeMap<String, u64>,
    /// What is not named is not limited.
    #[prost(btree_map = "string, uint64", tag = "3")]
    pub limits: BTreeMap<String, u64>,
}

/// Sets weights, all of them or none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetWeights {
    #[prost(message, repeated, tag = "1")]
    pub weights: Vec<WeightRecord>,
}

/// Sets quotas, all of them or none; one without amounts takes the role's quota away.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetQuotas {
    #[prost(message, repeated, tag = "1")]
    pub quotas: Vec<QuotaRecord>,
    /// What the cluster has, if the guarantees of all roles together must not exceed it.
    #[prost(message, optional, tag = "2")]
    pub capacity: Option<Capacity>,
}

/// Thousandths by name of resource.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Capacity {
    #[prost(btree_map = "string, uint64", tag = "1")]
    pub amounts: BTreeMap<String, u64>,
}

impl QuotaRecord {
    /// Whether it promises and limits nothing.
    pub fn is_default(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }

    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// The first rule that is broken, as a fragment that names the field.
    pub fn check(&self) -> Result<(), String> {
        check_role(&self.role)?;
        if self.role == role::ANY {
            return Err("role '*' cannot have a quota".to_owned());
        }
        if self.role.contains('/') {
            return Err(format!("role '{}' is nested: only top-level roles can have a quota", self.role));
        }
        for (what, amounts) in [("guarantees", &self.guarantees), ("limits", &self.limits)] {
            for (name, amount) in amounts {
                if name.is_empty() || name.len() > MAX_NAME_BYTES {
                    return Err(format!(
                        "{what} of role '{}' name a resource of {} bytes",
                        self.role,
                        name.len()
                    ));
                }
                if *amount > most_of(name) {
                    return Err(format!("{what} of role '{}' are too large: '{name}'", self.role));
                }
            }
        }
        let beyond = self
            .guarantees
            .iter()
            .find(|(name, amount)| self.limits.get(name.as_str()).is_some_and(|limit| limit < *amount));
        match beyond {
            Some((name, _)) => Err(format!("guarantees of role '{}' exceed its limits: '{name}'", self.role)),
            None => Ok(()),
        }
    }
}

impl WeightRecord {
    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// The first rule that is broken, as a fragment that names the field.
    pub fn check(&self) -> Result<(), String> {
        check_role(&self.role)?;
        if WEIGHTS.contains(&self.weight) {
            return Ok(());
        }
        Err(format!(
            "weight of role '{}' is {}, not a number from {:?} to {:?}",
            self.role,
            self.weight,
            WEIGHTS.start(),
            WEIGHTS.end()
        ))
    }
}

/// Thousandths that a quota may name of a resource.
fn most_of(name: &str) -> u64 {
    if matches!(name, "mem" | "disk") { MAX_MEGABYTES_MILLI } else { MAX_AMOUNT_MILLI }
}

fn check_role(name: &str) -> Result<(), String> {
    if name.len() > MAX_ROLE_BYTES {
        return Err(format!("role of {} bytes is longer than {MAX_ROLE_BYTES}", name.len()));
    }
    role::validate(name).map_err(|error| error.to_string())
}

/// Whether the unusual kinds of resources in these quotas are few enough to be counted.
pub(super) fn kinds_fit<'a>(quotas: impl Iterator<Item = &'a QuotaRecord>) -> bool {
    let names = quotas.flat_map(|quota| quota.guarantees.keys().chain(quota.limits.keys()));
    let other: BTreeSet<&str> =
        names.map(String::as_str).filter(|name| !USUAL_KINDS.contains(name)).collect();
    other.len() <= MAX_OTHER_KINDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(role: &str, guarantee: u64, limit: u64) -> QuotaRecord {
        QuotaRecord {
            role: role.to_owned(),
            guarantees: BTreeMap::from([("cpus".to_owned(), guarantee)]),
            limits: BTreeMap::from([("cpus".to_owned(), limit)]),
        }
    }

    #[test]
    fn quotas_are_for_top_level_roles_and_consistent() {
        assert_eq!(quota("a", 1, 1).check(), Ok(()));
        for (bad, says) in [
            (quota("a/b", 1, 1), "nested"),
            (quota("*", 1, 1), "'*'"),
            (quota("-a", 1, 1), "begins with"),
            (quota("", 1, 1), "empty"),
            (quota("a", 2, 1), "exceed"),
            (quota("a", 1, MAX_AMOUNT_MILLI + 1), "too large"),
        ] {
            let reason = bad.check().unwrap_err();
            assert!(reason.contains(says), "{reason}");
        }
        let mut unlimited = quota("a", 7, 1);
        unlimited.limits.clear();
        assert_eq!(unlimited.check(), Ok(()));
    }

    #[test]
    fn weights_are_positive_numbers() {
        let check = |weight| WeightRecord { role: "a/b".to_owned(), weight }.check();
        assert_eq!(check(0.5), Ok(()));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(check(bad).unwrap_err().contains("weight"), "{bad}");
        }
    }

    #[test]
    fn unusual_kinds_are_few() {
        let named = |name: String| QuotaRecord { limits: BTreeMap::from([(name, 1)]), ..quota("a", 1, 1) };
        let all: Vec<QuotaRecord> = (0..5).map(|kind| named(format!("k{kind}"))).collect();
        assert!(kinds_fit(all[..4].iter()));
        assert!(!kinds_fit(all.iter()));
    }
}
