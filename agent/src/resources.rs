//! What this host has to offer. Owns the detection of what the flags do not name.

use std::fs;
use std::path::Path;

use tepui_proto::resources::{ReservationKind, Resources};
use tepui_proto::v1;

use crate::Error;

/// Left to the host itself, in MB; a small host keeps half.
const MEM_RESERVE_MB: u64 = 1024;
const DISK_RESERVE_MB: u64 = 5 * 1024;
const DEFAULT_PORTS: &str = "[31000-32000]";

/// Returns the resources that the text names, and the detected ones for the usual names that it does not.
///
/// # Errors
/// The text cannot be read, or is not a set of resources.
pub(crate) fn resources(text: Option<&str>, work_dir: &Path) -> Result<Vec<v1::Resource>, Error> {
    let text = text.unwrap_or_default();
    let given =
        Resources::parse(text).map_err(|error| Error::Config(format!("resources {text:?}: {error}")))?;
    let made = given.iter().find(|(identity, _)| {
        let dynamic = identity.reservations().iter().any(|one| one.kind == ReservationKind::Dynamic);
        dynamic || identity.persistence_id().is_some()
    });
    if let Some((identity, _)) = made {
        let name = identity.name();
        let message = format!(
            "resources {text:?}: '{name}' is dynamically reserved or a volume; the cluster makes those"
        );
        return Err(Error::Config(message));
    }
    let mut all = given.to_proto();
    let names = given.names();
    let detected = [
        ("cpus", cpus().to_string()),
        ("mem", without_reserve(mem_mb(), MEM_RESERVE_MB).to_string()),
        ("disk", without_reserve(disk_mb(work_dir), DISK_RESERVE_MB).to_string()),
        ("ports", DEFAULT_PORTS.to_owned()),
    ];
    for (name, amount) in detected {
        // A resource that is given as nothing is not detected either: the host shall offer none of it.
        if names.contains(name) || mentions(text, name) {
            continue;
        }
        let one = Resources::parse(&format!("{name}:{amount}"))
            .map_err(|error| Error::Config(format!("detected {name}: {error}")))?;
        all.extend(one.to_proto());
    }
    Ok(all)
}

/// Returns the attributes that the text names.
///
/// # Errors
/// The text cannot be read.
pub(crate) fn attributes(text: Option<&str>) -> Result<Vec<v1::Attribute>, Error> {
    let text = text.unwrap_or_default();
    tepui_proto::resources::parse_attributes(text)
        .map_err(|error| Error::Config(format!("attributes {text:?}: {error}")))
}

fn mentions(text: &str, name: &str) -> bool {
    text.split(';').any(|item| item.split([':', '(']).next().is_some_and(|found| found.trim() == name))
}

fn without_reserve(total_mb: u64, reserve_mb: u64) -> u64 {
    if total_mb >= 2 * reserve_mb { total_mb - reserve_mb } else { total_mb / 2 }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn mem_mb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes =
        total.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    kilobytes.unwrap_or(0u64) / 1024
}

fn disk_mb(work_dir: &Path) -> u64 {
    let Ok(found) = nix::sys::statvfs::statvfs(work_dir) else { return 0 };
    found.blocks().saturating_mul(found.fragment_size()) / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_detected() {
        let all = resources(Some("cpus:2;mem(web):1024;gpus:0"), Path::new("/")).unwrap();
        let names: Vec<&str> = all.iter().map(v1::Resource::name).collect();
        assert_eq!(names.iter().filter(|name| **name == "cpus").count(), 1);
        assert_eq!(names.iter().filter(|name| **name == "mem").count(), 1);
        assert!(names.contains(&"disk") && names.contains(&"ports"));
        let cpus = all.iter().find(|one| one.name() == "cpus").unwrap();
        assert_eq!(cpus.scalar.as_ref().unwrap().value(), 2.0);
        assert!(resources(Some("cpus"), Path::new("/")).unwrap_err().to_string().contains("cpus"));
    }

    #[test]
    fn a_host_keeps_something_for_itself() {
        assert_eq!(without_reserve(8192, 1024), 7168);
        assert_eq!(without_reserve(1000, 1024), 500);
    }
}
