//! Weights, quotas and what else operators set, as the planner uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::quantities::{MAX_KINDS, Quantities};
use super::quota::Quota;
use super::share::Weight;
use super::state::Allocator;

/// A weight or quota that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    #[error("weight is not a number between 0.000001 and 1000000000")]
    Weight,
    #[error("no room is left to count '{0}'")]
    Quota(String),
    #[error("only top-level roles have a quota")]
    NestedQuota,
}

/// Thousandths by name of resource.
pub type Amounts = BTreeMap<String, u64>;

impl Allocator {
    /// Sets how much more than others a role is entitled to.
    ///
    /// # Errors
    /// See [`BadSetting`].
    pub fn set_weight(&mut self, role: &str, weight: f64) -> Result<(), BadSetting> {
        let weight = Weight::from_f64(weight).ok_or(BadSetting::Weight)?;
        self.ledger.set_weight(role, weight);
        self.mark_all();
        Ok(())
    }

    /// Sets the quota of a role. Nothing in both removes it.
    ///
    /// # Errors
    /// See [`BadSetting`].
    pub fn set_quota(
        &mut self,
        role: &str,
        guarantees: &Amounts,
        limits: &Amounts,
    ) -> Result<(), BadSetting> {
        if role.contains('/') {
            return Err(BadSetting::NestedQuota);
        }
        let mut quota = Quota { guarantees: Quantities::default(), limits: Quota::UNLIMITED };
        for (given, amounts) in [(guarantees, &mut quota.guarantees), (limits, &mut quota.limits)] {
            for (name, milli) in given {
                let kind = self.kinds.intern_for_quota(name);
                amounts.0[kind.ok_or_else(|| BadSetting::Quota(name.clone()))?] = *milli;
            }
        }
        let none = guarantees.is_empty() && limits.is_empty();
        self.ledger.set_quota(role, (!none).then_some(quota));
        self.mark_all();
        Ok(())
    }

    /// Only agents of these hosts are offered from now on, or all.
    pub fn set_whitelist(&mut self, hosts: Option<BTreeSet<String>>) {
        let hosts = hosts.map(Arc::new);
        if self.whitelist == hosts {
            return;
        }
        self.whitelist = hosts;
        self.relist();
        self.mark_all();
    }

    /// The masters' region: agents of another one are for frameworks that know regions.
    pub fn set_region(&mut self, region: Option<String>) {
        self.options.region = region;
    }

    /// What counts for the quota of a top-level role, in thousandths; without what is not used.
    pub fn consumed(&self, role: &str) -> Amounts {
        let consumed = self.ledger.top_of(role).map(|node| self.ledger.top(node).consumed());
        self.named(&consumed.unwrap_or_default())
    }

    /// What all agents have together, in thousandths.
    pub fn cluster(&self) -> Amounts {
        self.named(&self.totals)
    }

    /// What is free for anybody, in thousandths, on agents that can be offered.
    pub fn free_for_all(&self) -> Amounts {
        self.named(&self.headroom)
    }

    pub(super) fn named(&self, amounts: &Quantities) -> Amounts {
        let of = |kind: usize| Some((self.kinds.name(kind)?.to_owned(), amounts.get(kind)));
        (0..MAX_KINDS).filter_map(of).filter(|(_, milli)| *milli > 0).collect()
    }
}
