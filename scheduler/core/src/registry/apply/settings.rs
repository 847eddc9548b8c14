//! Weights and quotas of roles, as operators set them: all that one call names, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Step;
use crate::registry::outcome::{Change, Outcome, Refusal};
use crate::registry::settings::{MAX_ROLES_SET, QuotaRecord, SetQuotas, SetWeights, kinds_fit};

impl Step<'_> {
    pub(super) fn set_weights(&mut self, set: &SetWeights) -> Result<Outcome, Refusal> {
        if set.weights.is_empty() || set.weights.iter().any(|weight| weight.check().is_err()) {
            return Err(Refusal::Malformed);
        }
        let mut weights = self.tables.weights.clone();
        for weight in &set.weights {
            weights.insert(Arc::from(weight.role.as_str()), weight.weight);
        }
        if weights.len() > MAX_ROLES_SET {
            return Err(Refusal::TooMany);
        }
        self.tables.weights = weights;
        self.changes.push(Change::Cluster);
        Ok(Outcome::Done)
    }

    pub(super) fn set_quotas(&mut self, set: &SetQuotas) -> Result<Outcome, Refusal> {
        if set.quotas.is_empty() || set.quotas.iter().any(|quota| quota.check().is_err()) {
            return Err(Refusal::Malformed);
        }
        let mut quotas = self.tables.quotas.clone();
        for quota in &set.quotas {
            if quota.is_default() {
                quotas.remove(quota.role.as_str());
            } else {
                quotas.insert(Arc::from(quota.role.as_str()), Arc::new(quota.clone()));
            }
        }
        if quotas.len() > MAX_ROLES_SET || !kinds_fit(quotas.values().map(Arc::as_ref)) {
            return Err(Refusal::TooMany);
        }
        if let Some(capacity) = &set.capacity {
            let promised = promised(quotas.values().map(Arc::as_ref));
            let has = |name: &str| capacity.amounts.get(name).copied().unwrap_or_default();
            if promised.iter().any(|(name, amount)| *amount > has(name)) {
                return Err(Refusal::Overcommitted);
            }
        }
        self.tables.quotas = quotas;
        self.changes.push(Change::Cluster);
        Ok(Outcome::Done)
    }
}

/// The sum of all guarantees.
fn promised<'a>(quotas: impl Iterator<Item = &'a QuotaRecord>) -> BTreeMap<&'a str, u64> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, amount) in quotas.flat_map(|quota| &quota.guarantees) {
        let sum = sums.entry(name).or_default();
        *sum = sum.saturating_add(*amount);
    }
    sums
}
