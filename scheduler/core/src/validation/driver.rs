//! What a supervised driver may look like, and the defaults of what its spec leaves open.

use tepui_proto::ids::validate_id;
use tepui_proto::resources::Resources;
use tepui_proto::tepui::operator::{DriverSpec, Supervise, supervise::Policy};
use tepui_proto::wire::WireMessage;

use super::Rejection;
use super::framework::check_role;

/// Longest name in bytes: ids of tasks and of the framework are made of it, and must stay ids.
const MAX_NAME_BYTES: usize = 200;

/// Largest spec in bytes: it stays in memory and in snapshots.
const MAX_SPEC_BYTES: usize = 256 * 1024;

/// Longest span that a spec may name, milliseconds: 365 days.
const MAX_SPAN_MS: u64 = 365 * 24 * 3600 * 1000;

/// Most restarts within one window: each is remembered.
const MAX_RESTARTS: u32 = 1000;

/// Shortest lease, milliseconds; 0 means that there is none.
const MIN_LEASE_MS: u64 = 100;

const DEFAULT_RESTARTS: u32 = 10;
const DEFAULT_WITHIN_MS: u64 = 60_000;
const DEFAULT_BACKOFF_INITIAL_MS: u64 = 1_000;
const DEFAULT_BACKOFF_MAX_MS: u64 = 60_000;
const DEFAULT_HEALTHY_AFTER_MS: u64 = 60_000;
const DEFAULT_FAILOVER_MS: u64 = 3_600_000;
const DEFAULT_LEASE_MS: u64 = 10_000;

/// Checks a driver and fills in what it leaves open, so that every master reads the same numbers.
///
/// # Errors
/// Names the first field that is wrong.
pub fn driver(spec: DriverSpec) -> Result<DriverSpec, Rejection> {
    if let Some(field) = spec.missing() {
        return Err(Rejection::new(format!("'spec.{field}' is not set")));
    }
    name(spec.name())?;
    let bytes = prost::Message::encoded_len(&spec);
    if bytes > MAX_SPEC_BYTES {
        return Err(Rejection {
            status: 413,
            reason: format!("'spec' has {bytes} bytes, more than {MAX_SPEC_BYTES}"),
        });
    }
    let mut spec = spec;
    let role = spec.role.get_or_insert_with(|| "*".to_owned());
    check_role("spec.role", role)?;
    let command = spec.command.clone().unwrap_or_default();
    super::checks::command("spec.command", &command)?;
    resources(&spec)?;
    spec.supervise = Some(supervise(spec.supervise.take().unwrap_or_default())?);
    let failover_ms = *spec.failover_timeout_ms.get_or_insert(DEFAULT_FAILOVER_MS);
    span("failover_timeout_ms", failover_ms, 1)?;
    let lease_ms = *spec.lease_ms.get_or_insert(DEFAULT_LEASE_MS);
    if lease_ms != 0 {
        span("lease_ms", lease_ms, MIN_LEASE_MS)?;
    }
    Ok(spec)
}

fn name(name: &str) -> Result<(), Rejection> {
    validate_id(name).map_err(|error| Rejection::new(format!("'spec.name' is not valid: {error}")))?;
    if name.len() > MAX_NAME_BYTES {
        return Err(Rejection::new(format!(
            "'spec.name' has {} bytes, more than {MAX_NAME_BYTES}",
            name.len()
        )));
    }
    // `a.g1` would be the first task of a driver `a`.
    let generation = name.rsplit_once(".g").map_or("", |(_, digits)| digits);
    if !generation.is_empty() && generation.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Rejection::new("'spec.name' ends like a generation ('.g' and digits)"));
    }
    Ok(())
}

fn resources(spec: &DriverSpec) -> Result<(), Rejection> {
    let resources = Resources::from_proto(&spec.resources)
        .map_err(|error| Rejection::new(format!("'spec.resources' is not valid: {error}")))?;
    if resources.is_empty() {
        return Err(Rejection::new("'spec.resources' is empty"));
    }
    if spec.resources.iter().any(|one| one.allocation_info.is_some()) {
        return Err(Rejection::new("'spec.resources' must not have 'allocation_info'"));
    }
    if spec.resources.iter().any(|one| one.revocable.is_some() || one.shared.is_some()) {
        return Err(Rejection::new("'spec.resources' must be neither revocable nor shared"));
    }
    Ok(())
}

fn supervise(mut supervise: Supervise) -> Result<Supervise, Rejection> {
    match supervise.policy.and_then(|number| Policy::try_from(number).ok()) {
        Some(Policy::Always | Policy::OnFailure | Policy::Never) => {}
        None if supervise.policy.is_none() => supervise.policy = Some(Policy::OnFailure as i32),
        Some(Policy::Unknown) | None => {
            return Err(Rejection::new("'spec.supervise.policy' is not ALWAYS, ON_FAILURE or NEVER"));
        }
    }
    let restarts = *supervise.max_restarts.get_or_insert(DEFAULT_RESTARTS);
    if restarts > MAX_RESTARTS {
        return Err(Rejection::new(format!(
            "'spec.supervise.max_restarts' is {restarts}, more than {MAX_RESTARTS}"
        )));
    }
    span("supervise.within_ms", *supervise.within_ms.get_or_insert(DEFAULT_WITHIN_MS), 1)?;
    let initial = *supervise.backoff_initial_ms.get_or_insert(DEFAULT_BACKOFF_INITIAL_MS);
    // An initial back-off above the default longest one is the longest one as well, unless both are named.
    let longest = *supervise.backoff_max_ms.get_or_insert(DEFAULT_BACKOFF_MAX_MS.max(initial));
    span("supervise.backoff_initial_ms", initial, 0)?;
    span("supervise.backoff_max_ms", longest, 0)?;
    if longest < initial {
        return Err(Rejection::new(format!(
            "'spec.supervise.backoff_max_ms' is {longest}, less than the initial {initial}"
        )));
    }
    span(
        "supervise.healthy_after_ms",
        *supervise.healthy_after_ms.get_or_insert(DEFAULT_HEALTHY_AFTER_MS),
        0,
    )?;
    Ok(supervise)
}

fn span(field: &str, value: u64, at_least: u64) -> Result<(), Rejection> {
    if (at_least..=MAX_SPAN_MS).contains(&value) {
        return Ok(());
    }
    Err(Rejection::new(format!("'spec.{field}' is {value}, not between {at_least} and {MAX_SPAN_MS}")))
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1;

    use super::*;

    fn good() -> DriverSpec {
        DriverSpec {
            name: Some("flights".into()),
            command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
            resources: vec![v1::Resource {
                name: Some("cpus".into()),
                r#type: Some(v1::value::Type::Scalar as i32),
                scalar: Some(v1::value::Scalar { value: Some(0.5) }),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn defaults_are_filled_in_and_checking_twice_changes_nothing() {
        let checked = driver(good()).unwrap();
        assert_eq!(checked.role(), "*");
        assert_eq!(checked.lease_ms(), 10_000);
        assert_eq!(checked.failover_timeout_ms(), 3_600_000);
        let supervise = checked.supervise.unwrap();
        assert_eq!(supervise.policy(), Policy::OnFailure);
        assert_eq!((supervise.max_restarts(), supervise.within_ms()), (10, 60_000));
        assert_eq!((supervise.backoff_initial_ms(), supervise.backoff_max_ms()), (1_000, 60_000));
        assert_eq!(driver(checked.clone()).unwrap(), checked);
    }

    #[test]
    fn every_refusal_names_its_field() {
        let policy = |supervise: Supervise| DriverSpec { supervise: Some(supervise), ..good() };
        let table = [
            (DriverSpec { name: None, ..good() }, "spec.name"),
            (DriverSpec { name: Some("a/b".into()), ..good() }, "spec.name"),
            (DriverSpec { name: Some("a.g12".into()), ..good() }, "spec.name"),
            (DriverSpec { name: Some("x".repeat(201)), ..good() }, "spec.name"),
            (DriverSpec { command: None, ..good() }, "spec.command"),
            (DriverSpec { command: Some(v1::CommandInfo::default()), ..good() }, "spec.command"),
            (DriverSpec { resources: vec![], ..good() }, "spec.resources"),
            (DriverSpec { role: Some("a//b".into()), ..good() }, "spec.role"),
            (DriverSpec { lease_ms: Some(5), ..good() }, "spec.lease_ms"),
            (DriverSpec { failover_timeout_ms: Some(0), ..good() }, "spec.failover_timeout_ms"),
            (policy(Supervise { policy: Some(0), ..Default::default() }), "policy"),
            (policy(Supervise { max_restarts: Some(5000), ..Default::default() }), "max_restarts"),
            (policy(Supervise { within_ms: Some(0), ..Default::default() }), "within_ms"),
            (policy(Supervise { backoff_max_ms: Some(10), ..Default::default() }), "backoff_max_ms"),
            (
                policy(Supervise { healthy_after_ms: Some(u64::MAX), ..Default::default() }),
                "healthy_after_ms",
            ),
        ];
        for (spec, field) in table {
            let reason = driver(spec).unwrap_err().reason;
            assert!(reason.contains(field), "{reason} should name {field}");
        }
    }

    #[test]
    fn names_may_contain_a_generation_but_not_end_like_one() {
        for fine in ["a.g", "a.gx", "a.g1x", "g1", "a.g1.b", "a:b"] {
            assert!(driver(DriverSpec { name: Some(fine.into()), ..good() }).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_lease_can_be_switched_off() {
        assert_eq!(driver(DriverSpec { lease_ms: Some(0), ..good() }).unwrap().lease_ms(), 0);
    }
}
