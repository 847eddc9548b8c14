//! Disks as tasks and operations name them: what a persistent volume must say, whoever uses it and for whatever.

use tepui_proto::ids::validate_id;
use tepui_proto::v1::resource::reservation_info;
use tepui_proto::v1::{Resource, volume};

use super::Rejection;

/// Longest name of a folder, as file systems have it.
const MAX_PART_BYTES: usize = 255;

/// Checks the disks of a list, in either form of reservations.
///
/// # Errors
/// Names the field and what is wrong.
pub(super) fn disks(field: &str, list: &[Resource]) -> Result<(), Rejection> {
    for one in list {
        let bad = |problem: &str| Err(Rejection::new(format!("'{field}' has '{}' {problem}", one.name())));
        if one.revocable.is_some() && is_dynamic(one) {
            return bad("that is dynamically reserved and revocable");
        }
        let Some(disk) = &one.disk else { continue };
        let Some(persistence) = &disk.persistence else {
            if disk.volume.is_some() {
                return bad("with 'disk.volume' but without 'disk.persistence'");
            }
            if disk.source.is_none() {
                return bad("with an empty 'disk', which has neither 'disk.persistence' nor 'disk.source'");
            }
            continue;
        };
        if one.revocable.is_some() {
            return bad("that is a volume and revocable");
        }
        if !is_reserved(one) {
            return bad("that is a volume but not reserved");
        }
        let Some(mount) = &disk.volume else { return bad("without 'disk.volume'") };
        if mount.host_path.is_some() {
            return bad("whose 'disk.volume' has a host_path");
        }
        if let Err(error) = validate_id(persistence.id()) {
            return bad(&format!("whose 'disk.persistence.id' is not valid: {error}"));
        }
    }
    Ok(())
}

/// Checks that all are persistent volumes that can be written.
///
/// # Errors
/// Names the field and what is wrong.
pub(super) fn volumes(field: &str, list: &[Resource]) -> Result<(), Rejection> {
    for one in list {
        let bad = |problem: &str| Err(Rejection::new(format!("'{field}' has '{}' {problem}", one.name())));
        let disk = one.disk.as_ref().filter(|disk| disk.persistence.is_some());
        let Some(disk) = disk else { return bad("that is no volume: it has no 'disk.persistence'") };
        if disk.volume.as_ref().is_none_or(|mount| mount.mode() != volume::Mode::Rw) {
            return bad("whose 'disk.volume.mode' is not RW");
        }
    }
    Ok(())
}

/// Checks where a new volume is to appear: in a sandbox and below its top, or no task could ever use it.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn place(container_path: &str) -> Result<(), &'static str> {
    if container_path.starts_with('/') {
        return Err("is absolute: it must be relative to the sandbox");
    }
    let parts = || container_path.split('/').filter(|part| !part.is_empty() && *part != ".");
    if parts().next().is_none() {
        return Err("names nothing in the sandbox");
    }
    if parts().any(|part| part == "..") {
        return Err("has a '..'");
    }
    if container_path.contains('\0') || parts().any(|part| part.len() > MAX_PART_BYTES) {
        return Err("is no path: it has a zero byte or a part of more than 255 bytes");
    }
    Ok(())
}

fn is_reserved(one: &Resource) -> bool {
    !one.reservations.is_empty() || one.role.as_deref().is_some_and(|role| role != tepui_proto::role::ANY)
}

fn is_dynamic(one: &Resource) -> bool {
    let last = one.reservations.last().map(|last| last.r#type());
    one.reservation.is_some() || last == Some(reservation_info::Type::Dynamic)
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1::resource::{DiskInfo, ReservationInfo, RevocableInfo};

    use super::*;
    use crate::testing::{reserved, resources, volume};

    #[test]
    fn a_volume_says_all_that_it_must() {
        let with = |change: &dyn Fn(&mut Resource)| {
            let mut one = volume(10, "web", "v");
            change(&mut one);
            disks("f", &[one]).map_err(|rejection| rejection.reason)
        };
        let mount = |one: &mut Resource, change: &dyn Fn(&mut tepui_proto::v1::Volume)| {
            change(one.disk.as_mut().unwrap().volume.as_mut().unwrap());
        };
        assert_eq!(with(&|_| {}), Ok(()));
        assert_eq!(with(&|one| mount(one, &|volume| volume.mode = Some(volume::Mode::Ro as i32))), Ok(()));
        let old = |one: &mut Resource| {
            one.reservations.clear();
            one.role = Some("web".to_owned());
            one.reservation = Some(ReservationInfo::default());
        };
        assert_eq!(with(&old), Ok(()));
        let revocable = |one: &mut Resource| one.revocable = Some(RevocableInfo {});
        type Flaw<'a> = (&'a dyn Fn(&mut Resource), &'a str);
        let flaws: [Flaw<'_>; 8] = [
            (&|one| one.reservations.clear(), "not reserved"),
            (
                &|one| {
                    one.reservations.clear();
                    one.role = Some("*".to_owned());
                },
                "not reserved",
            ),
            (&revocable, "revocable"),
            (&|one| one.disk.as_mut().unwrap().volume = None, "'disk.volume'"),
            (&|one| mount(one, &|volume| volume.host_path = Some("/etc".to_owned())), "host_path"),
            (&|one| one.disk.as_mut().unwrap().persistence.as_mut().unwrap().id = None, "persistence.id"),
            (&|one| one.disk.as_mut().unwrap().persistence = None, "without 'disk.persistence'"),
            (&|one| one.disk = Some(DiskInfo::default()), "empty 'disk'"),
        ];
        for (flaw, words) in flaws {
            let reason = with(flaw).unwrap_err();
            assert!(reason.contains(words) && reason.contains("'f'"), "{words}: {reason}");
        }
        let mut cpus = reserved("cpus:1", &["web"]);
        assert_eq!(disks("f", &cpus), Ok(()));
        cpus[0].revocable = Some(RevocableInfo {});
        assert!(disks("f", &cpus).unwrap_err().reason.contains("revocable"));
        let mut cpus = resources("cpus:1");
        cpus[0].revocable = Some(RevocableInfo {});
        assert_eq!(disks("f", &cpus), Ok(()));
    }

    #[test]
    fn a_place_is_inside_the_sandbox() {
        for good in ["data", "./data", "a/b/", "a//b", "..a/b..", "a/./b", "..."] {
            assert_eq!(place(good), Ok(()), "{good}");
        }
        let long = "x".repeat(256);
        let bad = [
            "",
            ".",
            "./",
            "./.",
            "/",
            "/etc/x",
            "//data",
            "..",
            "../../etc",
            "a/../../b",
            "a/..",
            "a\0b",
            &long,
        ];
        for bad in bad {
            assert!(place(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn volumes_are_written_to() {
        assert_eq!(volumes("f", &[volume(10, "web", "v")]), Ok(()));
        let mut read_only = volume(10, "web", "v");
        read_only.disk.as_mut().unwrap().volume.as_mut().unwrap().mode = Some(volume::Mode::Ro as i32);
        assert!(volumes("f", &[read_only]).unwrap_err().reason.contains("not RW"));
        assert!(volumes("f", &reserved("disk:1", &["web"])).unwrap_err().reason.contains("no volume"));
    }
}
