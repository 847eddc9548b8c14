//! Folders of persistent volumes. Owns making, destroying and finally removing them, and the links by which sandboxes show them; which
//! there should be is the core's decision.
//!
//! To destroy is to rename into the trash: that takes no time whatever is inside, and is done or not done.
//!
//! A sandbox belongs to its task, which may lay links in it that lead anywhere: no step into it follows one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;
use tepui_agent_core::{VolumeName, volume_of};
use tepui_proto::v1::Resource;

use crate::layout::Layout;

/// Makes a volume's folder if there is none.
///
/// # Errors
/// Whatever the operating system refuses.
pub(crate) fn create(layout: &Layout, name: &VolumeName) -> io::Result<()> {
    fs::create_dir_all(layout.volume(name))
}

/// Puts a volume away, if it is there.
///
/// # Errors
/// Whatever the operating system refuses.
pub(crate) fn destroy(layout: &Layout, name: &VolumeName) -> io::Result<()> {
    let trash = layout.trash();
    fs::create_dir_all(&trash)?;
    match fs::rename(layout.volume(name), trash.join(uuid::Uuid::new_v4().to_string())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Removes what is in the trash. Blocking, and maybe for long.
pub(crate) fn empty_trash(layout: &Layout) {
    let Ok(entries) = fs::read_dir(layout.trash()) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        match fs::remove_dir_all(&path) {
            // Two may be at it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "failed to remove a destroyed volume");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// A volume and its place in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) name: VolumeName,
    /// Relative to the sandbox, and below it.
    pub(crate) place: PathBuf,
}

/// Returns the volume that a resource is, and where it is to appear; nothing for other resources.
///
/// # Errors
/// It has no usable name, or its place is not inside the sandbox.
pub(crate) fn mount(resource: &Resource) -> io::Result<Option<Mount>> {
    if resource.disk.as_ref().is_none_or(|disk| disk.persistence.is_none()) {
        return Ok(None);
    }
    let name = volume_of(resource).ok_or_else(|| refused("a volume's role or id is not valid".to_owned()))?;
    let volume = resource.disk.as_ref().and_then(|disk| disk.volume.as_ref());
    let wanted = volume.map(|volume| volume.container_path()).unwrap_or_default();
    let mut place = PathBuf::new();
    for part in Path::new(wanted).components() {
        match part {
            Component::Normal(part) => place.push(part),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                place = PathBuf::new();
                break;
            }
        }
    }
    if place.as_os_str().is_empty() {
        let reason = format!("container_path '{wanted}' of volume '{}' is not inside the sandbox", name.id);
        return Err(refused(reason));
    }
    Ok(Some(Mount { name, place }))
}

/// Lets a sandbox show the volumes among `wanted`. A link to a volume that is not among `held` any more gives way.
///
/// # Errors
/// A volume cannot be shown where it is wanted; others may be there already.
pub(crate) fn show(
    layout: &Layout,
    wanted: &[Resource],
    held: &[Resource],
    sandbox: &Path,
) -> io::Result<()> {
    let held: BTreeSet<PathBuf> =
        held.iter().filter_map(|one| mount(one).ok().flatten()).map(|mount| mount.place).collect();
    for resource in wanted {
        if let Some(mount) = mount(resource)? {
            create(layout, &mount.name)?;
            link(layout, &mount, held.contains(&mount.place), sandbox)?;
        }
    }
    Ok(())
}

fn link(layout: &Layout, mount: &Mount, held: bool, sandbox: &Path) -> io::Result<()> {
    let folder = folder_of(mount, sandbox)?;
    let name = mount.place.file_name().unwrap_or_default();
    let volume = layout.volume(&mount.name);
    match symlinkat(&volume, &folder, name) {
        Err(Errno::EEXIST) => {}
        made => return Ok(made?),
    }
    match readlinkat(&folder, name) {
        Ok(found) if Path::new(&found) == volume => Ok(()),
        Ok(found) if !held && Path::new(&found).starts_with(layout.volumes()) => {
            let mut draft = OsStr::new(".").to_owned();
            draft.push(uuid::Uuid::new_v4().to_string());
            symlinkat(&volume, &folder, draft.as_os_str())?;
            Ok(renameat(&folder, draft.as_os_str(), &folder, name)?)
        }
        Ok(_) | Err(_) => {
            let place = mount.place.display();
            Err(refused(format!("container_path '{place}' of volume '{}' is taken", mount.name.id)))
        }
    }
}

/// Opens the folder that the link goes into, making those above it that are missing.
fn folder_of(mount: &Mount, sandbox: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut folder = open(sandbox, flags, Mode::empty())?;
    let parts = mount.place.parent().into_iter().flat_map(Path::components);
    for part in parts {
        let part = part.as_os_str();
        match mkdirat(&folder, part, Mode::from_bits_truncate(0o777)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        folder = openat(&folder, part, flags, Mode::empty()).map_err(|_| {
            let place = mount.place.display();
            refused(format!("container_path '{place}' of volume '{}' is taken", mount.name.id))
        })?;
    }
    Ok(folder)
}

fn refused(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tepui_proto::v1::resource::disk_info::Persistence;
    use tepui_proto::v1::resource::{DiskInfo, ReservationInfo};
    use tepui_proto::v1::{Volume, volume};

    use super::*;

    fn name(role: &str, id: &str) -> VolumeName {
        VolumeName { role: role.to_owned(), id: id.to_owned() }
    }

    #[test]
    fn a_volume_is_kept_until_it_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        let (one, two) = (name("a/b", "c"), name("a", "b"));
        create(&layout, &one).unwrap();
        create(&layout, &two).unwrap();
        let file = layout.volume(&one).join("file");
        fs::write(&file, "kept").unwrap();
        create(&layout, &one).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        destroy(&layout, &one).unwrap();
        destroy(&layout, &one).unwrap();
        assert!(!layout.volume(&one).exists() && layout.volume(&two).exists());
        assert_eq!(fs::read_dir(layout.trash()).unwrap().count(), 1);
        empty_trash(&layout);
        assert_eq!(fs::read_dir(layout.trash()).unwrap().count(), 0);
    }
    fn resource(id: &str, place: &str) -> Resource {
        let role = Some("web/api".to_owned());
        Resource {
            name: Some("disk".to_owned()),
            reservations: vec![ReservationInfo { role, ..Default::default() }],
            disk: Some(DiskInfo {
                persistence: Some(Persistence { id: Some(id.to_owned()), principal: None }),
                volume: Some(Volume {
                    container_path: Some(place.to_owned()),
                    mode: Some(volume::Mode::Rw as i32),
                    ..Default::default()
                }),
                source: None,
            }),
            ..Default::default()
        }
    }

    fn shown(layout: &Layout, id: &str, place: &str, held: &[Resource], sandbox: &Path) -> io::Result<()> {
        show(layout, &[resource(id, place)], held, sandbox)
    }

    #[test]
    fn what_a_task_writes_stays_when_its_sandbox_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        for sandbox in ["first", "second"] {
            let sandbox = folder.path().join(sandbox);
            fs::create_dir(&sandbox).unwrap();
            shown(&layout, "v", "deep/data", &[], &sandbox).unwrap();
            shown(&layout, "v", "./deep/data/", &[], &sandbox).unwrap();
            let file = sandbox.join("deep/data/file");
            if file.exists() {
                assert_eq!(fs::read_to_string(&file).unwrap(), "written by first");
            } else {
                fs::write(&file, "written by first").unwrap();
            }
            let held = [resource("v", "deep/data")];
            assert!(shown(&layout, "other", "deep/data", &held, &sandbox).is_err(), "the place is taken");
            fs::write(sandbox.join("own"), "").unwrap();
            assert!(shown(&layout, "other", "own", &[], &sandbox).is_err(), "by the task itself");
            fs::remove_dir_all(&sandbox).unwrap();
        }
    }

    #[test]
    fn a_volume_that_nobody_holds_any_more_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        let sandbox = folder.path().join("sandbox");
        fs::create_dir(&sandbox).unwrap();
        shown(&layout, "old", "data", &[], &sandbox).unwrap();
        shown(&layout, "new", "data", &[], &sandbox).unwrap();
        assert_eq!(fs::read_link(sandbox.join("data")).unwrap(), layout.volume(&name("web/api", "new")));
        assert_eq!(fs::read_dir(&sandbox).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn no_volume_appears_outside_of_the_sandbox() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        let (sandbox, outside) = (folder.path().join("sandbox"), folder.path().join("outside"));
        fs::create_dir(&sandbox).unwrap();
        fs::create_dir(&outside).unwrap();
        for place in ["", ".", "/etc", "../up", "a/../../up"] {
            assert!(shown(&layout, "v", place, &[], &sandbox).is_err(), "{place}");
        }
        for id in ["", "..", "a/b"] {
            assert!(shown(&layout, id, "data", &[], &sandbox).is_err(), "{id}");
        }
        // A task that knows what will come lays a link ahead.
        symlink(&outside, sandbox.join("deep")).unwrap();
        assert!(shown(&layout, "v", "deep/data", &[], &sandbox).is_err());
        let replaced = folder.path().join("replaced");
        symlink(&outside, &replaced).unwrap();
        assert!(shown(&layout, "v", "data", &[], &replaced).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
