//! Weights and quotas as operators send them: what can be read becomes a record, and what is wrong is named.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::resources::{Resources, ValueKind};
use tepui_proto::v1::{WeightInfo, quota, value};

use super::Rejection;
use crate::registry::{QuotaRecord, WeightRecord};

/// Amounts of more units than this do not fit the arithmetic.
const MAX_UNITS: f64 = 4e15;

/// Checks the weights of one call.
///
/// # Errors
/// Names the first one that is wrong.
pub fn weights(infos: &[WeightInfo]) -> Result<Vec<WeightRecord>, Rejection> {
    let mut seen = BTreeSet::new();
    let mut records = Vec::new();
    for info in infos {
        let role = info.role.clone().ok_or_else(|| Rejection::new("'weight_infos.role' is not set"))?;
        let record = WeightRecord { role, weight: info.weight.unwrap_or_default() };
        record.check().map_err(|error| Rejection::new(format!("'weight_infos' is not valid: {error}")))?;
        if !seen.insert(record.role.clone()) {
            return Err(Rejection::new(format!("'weight_infos' names role '{}' twice", record.role)));
        }
        records.push(record);
    }
    Ok(records)
}

/// Checks the quotas of one UPDATE_QUOTA.
///
/// # Errors
/// Names the first one that is wrong.
pub fn quotas(configs: &[quota::QuotaConfig]) -> Result<Vec<QuotaRecord>, Rejection> {
    let mut seen = BTreeSet::new();
    let mut records = Vec::new();
    for config in configs {
        let role = config.role.clone().unwrap_or_default();
        let guarantees = amounts(&config.guarantees, "guarantees", &role)?;
        let record = QuotaRecord {
            // Nothing guaranteed is no guarantee, while a limit of nothing is a limit.
            guarantees: guarantees.into_iter().filter(|(_, amount)| *amount > 0).collect(),
            limits: amounts(&config.limits, "limits", &role)?,
            role,
        };
        record.check().map_err(|error| Rejection::new(format!("'quota_configs' is not valid: {error}")))?;
        if !seen.insert(record.role.clone()) {
            return Err(Rejection::new(format!("'quota_configs' names role '{}' twice", record.role)));
        }
        records.push(record);
    }
    Ok(records)
}

/// Checks the older form of a quota, which guarantees exactly what it limits.
///
/// # Errors
/// Names the first thing that is wrong.
pub fn quota_request(asked: &quota::QuotaRequest) -> Result<QuotaRecord, Rejection> {
    let wrong = |text: String| Rejection::new(format!("'quota_request' is not valid: {text}"));
    let role = asked.role.clone().ok_or_else(|| wrong("'role' is not set".to_owned()))?;
    if asked.guarantee.is_empty() {
        return Err(wrong("'guarantee' is empty".to_owned()));
    }
    let resources =
        Resources::from_proto(&asked.guarantee).map_err(|error| wrong(format!("'guarantee': {error}")))?;
    let mut amounts = BTreeMap::new();
    for (identity, amount) in resources.iter() {
        let plain = identity.kind() == ValueKind::Scalar
            && identity.reservations().is_empty()
            && identity.allocation_role().is_none()
            && identity.disk().is_none()
            && !identity.is_revocable()
            && !identity.is_shared();
        if !plain {
            let text = format!("'guarantee' of '{}' is not a plain scalar", identity.name());
            return Err(wrong(text));
        }
        let milli = u64::try_from(amount.total().0).unwrap_or_default();
        amounts.insert(identity.name().to_owned(), milli);
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = asked.guarantee.iter().find(|one| !names.insert(one.name())) {
        return Err(wrong(format!("'guarantee' names '{}' twice", twice.name())));
    }
    let record = QuotaRecord { role, guarantees: amounts.clone(), limits: amounts };
    record.check().map_err(wrong)?;
    Ok(record)
}

fn amounts(
    given: &BTreeMap<String, value::Scalar>,
    what: &str,
    role: &str,
) -> Result<BTreeMap<String, u64>, Rejection> {
    let mut amounts = BTreeMap::new();
    for (name, scalar) in given {
        let units = scalar.value.unwrap_or_default();
        // Written so that NaN is refused.
        if !(0.0..=MAX_UNITS).contains(&units) {
            let text = format!(
                "'quota_configs' is not valid: {what} of role '{role}' have {units} of '{name}', \
                 not a number from 0 to the largest that can be counted"
            );
            return Err(Rejection::new(text));
        }
        amounts.insert(name.clone(), (units * 1000.0).round() as u64);
    }
    Ok(amounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars(amounts: &[(&str, f64)]) -> BTreeMap<String, value::Scalar> {
        let scalar = |value| value::Scalar { value: Some(value) };
        amounts.iter().map(|(name, value)| ((*name).to_owned(), scalar(*value))).collect()
    }

    fn config(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> quota::QuotaConfig {
        quota::QuotaConfig {
            role: Some(role.to_owned()),
            guarantees: scalars(guarantees),
            limits: scalars(limits),
        }
    }

    #[test]
    fn quotas_are_read_in_thousandths() {
        let read = quotas(&[config("a", &[("cpus", 1.5), ("mem", 0.0)], &[("cpus", 2.0), ("disk", 0.0)])]);
        let read = read.unwrap().remove(0);
        assert_eq!(read.guarantees, BTreeMap::from([("cpus".to_owned(), 1_500)]));
        assert_eq!(read.limits, BTreeMap::from([("cpus".to_owned(), 2_000), ("disk".to_owned(), 0)]));
        // 1 EiB in megabytes is the most.
        let most = (1_u64 << 40) as f64;
        assert!(quotas(&[config("a", &[], &[("mem", most)])]).is_ok());
        assert!(quotas(&[config("a", &[], &[("mem", most + 1.0)])]).is_err());
    }

    #[test]
    fn bad_quotas_are_named() {
        for (bad, says) in [
            (config("a", &[("cpus", -1.0)], &[]), "guarantees of role 'a'"),
            (config("a", &[], &[("cpus", f64::NAN)]), "limits of role 'a'"),
            (config("a", &[], &[("cpus", f64::INFINITY)]), "limits of role 'a'"),
            (config("a/b", &[], &[]), "nested"),
            (config("a", &[("cpus", 2.0)], &[("cpus", 1.0)]), "exceed"),
            (config("a", &[("cpus", 1e13)], &[]), "too large"),
        ] {
            let reason = quotas(&[bad]).unwrap_err().reason;
            assert!(reason.contains(says), "{reason}");
        }
        let twice = [config("a", &[], &[]), config("a", &[], &[])];
        assert!(quotas(&twice).unwrap_err().reason.contains("twice"));
    }

    #[test]
    fn the_older_form_guarantees_what_it_limits() {
        let request = |text: &str| quota::QuotaRequest {
            force: None,
            role: Some("a".to_owned()),
            guarantee: Resources::parse(text).unwrap().to_proto(),
        };
        let read = quota_request(&request("cpus:1;mem:64")).unwrap();
        assert_eq!(read.guarantees, read.limits);
        assert_eq!(read.guarantees.len(), 2);
        for bad in ["", "ports:[1-2]", "cpus(b):1"] {
            assert!(quota_request(&request(bad)).is_err(), "{bad}");
        }
        let nameless = quota::QuotaRequest { role: None, ..request("cpus:1") };
        assert!(quota_request(&nameless).unwrap_err().reason.contains("role"));
    }

    #[test]
    fn weights_need_a_role_and_are_positive() {
        let info = |role: Option<&str>, weight: f64| WeightInfo {
            role: role.map(str::to_owned),
            weight: Some(weight),
        };
        assert_eq!(weights(&[info(Some("a/b"), 2.0)]).unwrap().len(), 1);
        for bad in [info(None, 1.0), info(Some("a"), 0.0), info(Some("a"), -2.0), info(Some("/a"), 1.0)] {
            assert_eq!(weights(&[bad]).unwrap_err().status, 400);
        }
        assert!(weights(&[info(Some("a"), 1.0), info(Some("a"), 2.0)]).is_err());
    }
}
