//! The shape of maintenance schedules and of lists of machines.
//!
//! Owns what can be told from the call alone. Whether a machine is up, draining or down is not its business.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tepui_proto::v1::{MachineId, maintenance::Schedule};

use super::Rejection;
use crate::registry::{MAX_MACHINES, MachineKey, machine_key};

/// Checks a schedule: every window has machines and a time, no machine is named twice.
///
/// # Errors
/// 400, naming the machine or the field.
pub fn schedule(schedule: &Schedule) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    for (place, window) in schedule.windows.iter().enumerate() {
        let field = format!("schedule.windows[{place}]");
        let Some(unavailability) = &window.unavailability else {
            return Err(Rejection::new(format!("'{field}.unavailability' is not set")));
        };
        if unavailability.start.and_then(|start| start.nanoseconds).is_none() {
            return Err(Rejection::new(format!("'{field}.unavailability.start' is not set")));
        }
        let duration = unavailability.duration.and_then(|duration| duration.nanoseconds);
        if duration.is_some_and(|nanoseconds| nanoseconds < 0) {
            return Err(Rejection::new(format!("'{field}.unavailability.duration' is negative")));
        }
        list(&format!("{field}.machine_ids"), &window.machine_ids, &mut seen)?;
    }
    Ok(())
}

/// Checks a list of machines: not empty, each named by host name or address, none twice.
///
/// # Errors
/// 400, naming the machine or the field.
pub fn machines(ids: &[MachineId]) -> Result<(), Rejection> {
    list("machines", ids, &mut BTreeSet::new())
}

fn list(field: &str, ids: &[MachineId], seen: &mut BTreeSet<MachineKey>) -> Result<(), Rejection> {
    if ids.is_empty() {
        return Err(Rejection::new(format!("'{field}' is empty")));
    }
    for id in ids {
        if id.hostname().is_empty() && id.ip().is_empty() {
            return Err(Rejection::new(format!("'{field}' holds a machine with neither hostname nor ip")));
        }
        if id.hostname().len() > 255 {
            return Err(Rejection::new(format!("'{field}' holds a hostname of more than 255 bytes")));
        }
        if !id.ip().is_empty() && id.ip().parse::<IpAddr>().is_err() {
            return Err(Rejection::new(format!("'{field}' holds the ip '{}', which is no address", id.ip())));
        }
        if !seen.insert(machine_key(id)) {
            return Err(Rejection::new(format!("machine {} is named twice", name(id))));
        }
        if seen.len() > MAX_MACHINES {
            return Err(Rejection::new(format!("more than {MAX_MACHINES} machines")));
        }
    }
    Ok(())
}

/// Returns a machine as people write it.
pub(crate) fn name(id: &MachineId) -> String {
    match (id.hostname(), id.ip()) {
        (hostname, "") => hostname.to_owned(),
        ("", ip) => ip.to_owned(),
        (hostname, ip) => format!("{hostname} ({ip})"),
    }
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1::{DurationInfo, TimeInfo, Unavailability, maintenance::Window};

    use super::*;

    fn machine(hostname: &str, ip: &str) -> MachineId {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        MachineId { hostname: text(hostname), ip: text(ip) }
    }

    fn window(ids: &[(&str, &str)]) -> Window {
        Window {
            machine_ids: ids.iter().map(|(hostname, ip)| machine(hostname, ip)).collect(),
            unavailability: Some(Unavailability {
                start: Some(TimeInfo { nanoseconds: Some(1) }),
                duration: None,
            }),
        }
    }

    fn verdict(windows: Vec<Window>) -> Result<(), String> {
        schedule(&Schedule { windows }).map_err(|rejection| rejection.reason)
    }

    #[test]
    fn good_schedules_pass() {
        assert_eq!(verdict(Vec::new()), Ok(()), "an empty one ends all maintenance");
        assert_eq!(
            verdict(vec![window(&[("a", ""), ("", "10.0.0.1")]), window(&[("a", "10.0.0.1")])]),
            Ok(())
        );
    }

    #[test]
    fn bad_ones_are_refused_with_the_place() {
        let mut late = window(&[("a", "")]);
        late.unavailability = None;
        let mut negative = window(&[("a", "")]);
        if let Some(unavailability) = &mut negative.unavailability {
            unavailability.duration = Some(DurationInfo { nanoseconds: Some(-1) });
        }
        let cases = [
            (vec![window(&[])], "'schedule.windows[0].machine_ids' is empty"),
            (vec![window(&[("", "")])], "neither hostname nor ip"),
            (vec![window(&[("a", ""), ("A", "")])], "machine A is named twice"),
            (vec![window(&[("a", "")]), window(&[("a", "")])], "machine a is named twice"),
            (vec![window(&[("", "ten")])], "the ip 'ten', which is no address"),
            (vec![late], "'schedule.windows[0].unavailability' is not set"),
            (vec![negative], "'schedule.windows[0].unavailability.duration' is negative"),
        ];
        for (windows, expected) in cases {
            let error = verdict(windows).unwrap_err();
            assert!(error.contains(expected), "{error} instead of {expected}");
        }
        assert!(machines(&[]).is_err());
        assert!(machines(&[machine("a", ""), machine("a", "")]).is_err());
        assert!(machines(&[machine("a", ""), machine("b", "")]).is_ok());
    }
}
