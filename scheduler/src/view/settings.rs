//! Weights and quotas of roles as the operator API and the plain endpoints show them.

use std::collections::BTreeMap;

use tepui_proto::resources::{Millis, Resources};
use tepui_proto::v1::WeightInfo;
use tepui_proto::v1::master::response::GetWeights;
use tepui_proto::v1::quota::{QuotaConfig, QuotaInfo, QuotaStatus};
use tepui_proto::v1::value::Scalar;
use tepui_scheduler_core::Registry;

/// GET_WEIGHTS: what operators set; all other roles weigh 1.
pub(crate) fn get_weights(registry: &Registry) -> GetWeights {
    let info = |(role, weight): (&std::sync::Arc<str>, &f64)| WeightInfo {
        weight: Some(*weight),
        role: Some(role.to_string()),
    };
    GetWeights { weight_infos: registry.weights.iter().map(info).collect() }
}

/// GET_QUOTA: roles with a quota, in the present form and in the older one, which knows guarantees only.
pub(crate) fn quota_status(registry: &Registry) -> QuotaStatus {
    let mut status = QuotaStatus::default();
    for quota in registry.quotas.values() {
        status.configs.push(QuotaConfig {
            role: Some(quota.role.clone()),
            guarantees: scalars(&quota.guarantees),
            limits: scalars(&quota.limits),
        });
        let guarantee = quota.guarantees.iter().map(|(name, milli)| (name.as_str(), millis(*milli)));
        status.infos.push(QuotaInfo {
            role: Some(quota.role.clone()),
            principal: None,
            guarantee: Resources::from_scalars(guarantee).to_proto(),
        });
    }
    status
}

/// Amounts of a quota by the names of the resources.
pub(crate) fn numbers(amounts: &BTreeMap<String, u64>) -> BTreeMap<String, f64> {
    amounts.iter().map(|(name, milli)| (name.clone(), millis(*milli).to_f64())).collect()
}

fn scalars(amounts: &BTreeMap<String, u64>) -> BTreeMap<String, Scalar> {
    let scalar = |milli: &u64| Scalar { value: Some(millis(*milli).to_f64()) };
    amounts.iter().map(|(name, milli)| (name.clone(), scalar(milli))).collect()
}

fn millis(milli: u64) -> Millis {
    Millis(i64::try_from(milli).unwrap_or(i64::MAX))
}
