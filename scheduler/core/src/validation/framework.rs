//! What a framework may say of itself: roles, capabilities, timeouts, filters.
//!
//! Owns the rules for FrameworkInfo, suppressed roles and offer constraints, and which roles a REVIVE or SUPPRESS means.

use std::collections::BTreeSet;

use prost::Message;
use tepui_proto::v1;
use tepui_proto::v1::FrameworkInfo;
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::scheduler::OfferConstraints;
use tepui_proto::{ids, role};

use super::Rejection;
use crate::allocator::constraints;
use crate::registry::FrameworkRecord;

/// Longest role in bytes: the tree of roles has a level for each slash in it.
const MAX_ROLE_BYTES: usize = 1024;

/// Roles of one framework.
const MAX_ROLES: usize = 10_000;

/// Longest description of a framework, constraints included, bytes: it is written to the log as a whole.
const MAX_FRAMEWORK_BYTES: usize = 4 << 20;

/// Longest representable duration, seconds: what fits a signed count of nanoseconds.
const MAX_SECONDS: f64 = 9_223_372_036.0;

/// A framework whose word can be taken.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedFramework {
    /// As given, with the authenticated principal filled in.
    pub info: FrameworkInfo,
    pub suppressed_roles: Vec<String>,
    pub roles: Vec<String>,
}

/// Checks a framework that wants to subscribe or to change; `principal` is the authenticated one.
///
/// # Errors
/// Names the first field that is wrong.
pub fn framework(
    info: &FrameworkInfo,
    suppressed_roles: &[String],
    constraints: Option<&OfferConstraints>,
    principal: Option<&str>,
) -> Result<CheckedFramework, Rejection> {
    let mut info = info.clone();
    let given = info.id.as_ref().map_or("", v1::FrameworkId::value);
    if !given.is_empty() {
        ids::validate_id(given)
            .map_err(|error| Rejection::new(format!("'framework_info.id' is not valid: {error}")))?;
    }
    if let Some(principal) = principal {
        match info.principal.as_deref() {
            None => info.principal = Some(principal.to_owned()),
            Some(own) if own == principal => {}
            Some(own) => {
                return Err(Rejection::new(format!(
                    "'framework_info.principal' is '{own}' but the framework authenticated as '{principal}'"
                )));
            }
        }
    }
    let bytes = info.encoded_len() + constraints.map_or(0, OfferConstraints::encoded_len);
    if bytes > MAX_FRAMEWORK_BYTES {
        let text = format!(
            "'framework_info' and 'offer_constraints' have {bytes} bytes, more than {MAX_FRAMEWORK_BYTES}"
        );
        return Err(Rejection::new(text));
    }
    let roles = roles_of(&info)?;
    failover_timeout(&info)?;
    offer_filters(&info)?;
    subset("suppressed_roles", suppressed_roles, &roles)?;
    if let Some(constraints) = constraints {
        offer_constraints(constraints, &roles)?;
    }
    Ok(CheckedFramework { info, suppressed_roles: suppressed_roles.to_vec(), roles })
}

/// Returns the roles that a REVIVE or SUPPRESS means: those named, or all if none is.
///
/// # Errors
/// One role that is not subscribed spoils the whole call.
pub fn roles(framework: &FrameworkRecord, asked: &[String]) -> Result<Vec<String>, Rejection> {
    let subscribed = framework.roles();
    if asked.is_empty() {
        return Ok(subscribed);
    }
    subset("roles", asked, &subscribed)?;
    Ok(asked.to_vec())
}

fn roles_of(info: &FrameworkInfo) -> Result<Vec<String>, Rejection> {
    let multi_role =
        info.capabilities.iter().any(|capability| capability.r#type == Some(Capability::MultiRole as i32));
    if !multi_role {
        if !info.roles.is_empty() {
            return Err(Rejection::new("'framework_info.roles' needs the capability MULTI_ROLE"));
        }
        let own = info.role.as_deref().unwrap_or(role::ANY);
        check_role("framework_info.role", own)?;
        return Ok(vec![own.to_owned()]);
    }
    if info.role.is_some() {
        return Err(Rejection::new(
            "'framework_info.role' must not be set with the capability MULTI_ROLE, but 'roles'",
        ));
    }
    if info.roles.len() > MAX_ROLES {
        return Err(Rejection::new(format!("'framework_info.roles' has more than {MAX_ROLES} roles")));
    }
    let mut seen = BTreeSet::new();
    for one in &info.roles {
        check_role("framework_info.roles", one)?;
        if !seen.insert(one) {
            return Err(Rejection::new(format!("'framework_info.roles' names '{one}' twice")));
        }
    }
    Ok(info.roles.clone())
}

/// Checks the syntax of a role, naming its field.
pub(crate) fn check_role(field: &str, name: &str) -> Result<(), Rejection> {
    if name.len() > MAX_ROLE_BYTES {
        return Err(Rejection::new(format!(
            "'{field}' has a role of {} bytes, more than {MAX_ROLE_BYTES}",
            name.len()
        )));
    }
    role::validate(name).map_err(|error| Rejection::new(format!("'{field}' is not valid: {error}")))
}

fn failover_timeout(info: &FrameworkInfo) -> Result<(), Rejection> {
    let seconds = info.failover_timeout();
    // Written so that NaN is refused.
    if (-MAX_SECONDS..=MAX_SECONDS).contains(&seconds) {
        return Ok(());
    }
    Err(Rejection::new(format!(
        "'framework_info.failover_timeout' is not a representable duration: {seconds}"
    )))
}

fn offer_filters(info: &FrameworkInfo) -> Result<(), Rejection> {
    for (name, filters) in &info.offer_filters {
        check_role("framework_info.offer_filters", name)?;
        let minimums = filters.min_allocatable_resources.iter().flat_map(|minimums| &minimums.quantities);
        for (resource, amount) in minimums.flat_map(|minimum| &minimum.quantities) {
            let amount = amount.value();
            if !amount.is_finite() || amount < 0.0 {
                return Err(Rejection::new(format!(
                    "'framework_info.offer_filters' of role '{name}' asks for {amount} of '{resource}'"
                )));
            }
        }
    }
    Ok(())
}

fn offer_constraints(constraints: &OfferConstraints, roles: &[String]) -> Result<(), Rejection> {
    let named: Vec<String> = constraints.role_constraints.keys().cloned().collect();
    subset("offer_constraints", &named, roles)?;
    constraints::compile(constraints).map(drop).map_err(Rejection::new)
}

fn subset(field: &str, asked: &[String], subscribed: &[String]) -> Result<(), Rejection> {
    let subscribed: BTreeSet<&String> = subscribed.iter().collect();
    match asked.iter().find(|one| !subscribed.contains(one)) {
        Some(one) => {
            Err(Rejection::new(format!("'{field}' names '{one}', to which the framework is not subscribed")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(roles: &[&str], multi_role: bool) -> FrameworkInfo {
        let capability = v1::framework_info::Capability { r#type: Some(Capability::MultiRole as i32) };
        FrameworkInfo {
            user: Some("u".into()),
            name: Some("n".into()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            capabilities: if multi_role { vec![capability] } else { vec![] },
            ..FrameworkInfo::default()
        }
    }

    fn check(info: &FrameworkInfo) -> Result<Vec<String>, String> {
        framework(info, &[], None, None).map(|checked| checked.roles).map_err(|error| error.reason)
    }

    #[test]
    fn roles_with_and_without_multi_role() {
        assert_eq!(check(&with(&[], false)).unwrap(), ["*"]);
        assert_eq!(check(&FrameworkInfo { role: Some("a/b".into()), ..with(&[], false) }).unwrap(), ["a/b"]);
        assert_eq!(check(&with(&["a", "b"], true)).unwrap(), ["a", "b"]);
        assert_eq!(check(&with(&[], true)).unwrap(), Vec::<String>::new());
        for (bad, names) in [
            (with(&["a"], false), "MULTI_ROLE"),
            (FrameworkInfo { role: Some("a".into()), ..with(&["b"], true) }, "framework_info.role"),
            (with(&["a", "a"], true), "twice"),
            (with(&["a//b"], true), "framework_info.roles"),
            (FrameworkInfo { role: Some(String::new()), ..with(&[], false) }, "framework_info.role"),
            (with(&[&"a/".repeat(600)], true), "more than 1024"),
        ] {
            let reason = check(&bad).unwrap_err();
            assert!(reason.contains(names), "{reason}");
        }
    }

    #[test]
    fn a_description_fits_the_log() {
        let long = FrameworkInfo { webui_url: Some("x".repeat(5 << 20)), ..with(&[], false) };
        let reason = check(&long).unwrap_err();
        assert!(reason.contains("framework_info") && reason.contains("bytes"), "{reason}");
    }

    #[test]
    fn a_principal_is_filled_in_or_must_agree() {
        let checked = framework(&with(&[], false), &[], None, Some("alice")).unwrap();
        assert_eq!(checked.info.principal.as_deref(), Some("alice"));
        let other = FrameworkInfo { principal: Some("bob".into()), ..with(&[], false) };
        assert!(framework(&other, &[], None, Some("alice")).is_err());
        assert!(framework(&other, &[], None, None).is_ok());
    }

    #[test]
    fn durations_must_be_representable() {
        for (seconds, good) in
            [(0.0, true), (1e9, true), (-1.0, true), (1e10, false), (f64::NAN, false), (f64::INFINITY, false)]
        {
            let info = FrameworkInfo { failover_timeout: Some(seconds), ..with(&[], false) };
            assert_eq!(check(&info).is_ok(), good, "{seconds}");
        }
    }

    #[test]
    fn suppressed_and_constrained_roles_are_subscribed_ones() {
        let info = with(&["a", "b"], true);
        assert!(framework(&info, &["a".into()], None, None).is_ok());
        assert!(framework(&info, &["c".into()], None, None).unwrap_err().reason.contains("'c'"));
        let mut constraints = OfferConstraints::default();
        constraints.role_constraints.insert("a".into(), Default::default());
        let reason = framework(&info, &[], Some(&constraints), None).unwrap_err().reason;
        assert!(reason.contains("no groups"), "{reason}");
    }

    #[test]
    fn minimums_are_amounts() {
        let mut info = with(&[], false);
        let mut quantities = v1::offer_filters::ResourceQuantities::default();
        quantities.quantities.insert("cpus".into(), v1::value::Scalar { value: Some(-1.0) });
        let minimums = v1::offer_filters::MinAllocatableResources { quantities: vec![quantities] };
        info.offer_filters.insert("*".into(), v1::OfferFilters { min_allocatable_resources: Some(minimums) });
        assert!(check(&info).unwrap_err().contains("cpus"));
    }

    #[test]
    fn revive_and_suppress_mean_all_roles_or_exactly_those_named() {
        let record = FrameworkRecord { info: Some(with(&["a", "b"], true)), ..Default::default() };
        assert_eq!(roles(&record, &[]).unwrap(), ["a", "b"]);
        assert_eq!(roles(&record, &["b".into()]).unwrap(), ["b"]);
        assert!(roles(&record, &["b".into(), "c".into()]).is_err());
    }
}
