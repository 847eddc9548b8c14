//! Persistent volumes appear in the sandbox: as a link, which any user can make on any host. That a task may only read a volume is
//! not enforced like this.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};

use tepui_agent_core::volume_of;
use tepui_proto::v1::Resource;

use super::Isolator;
use crate::containerizer::start::Start;
use crate::layout::Layout;
use crate::supervise::records::Spec;
use crate::volumes;

pub(super) struct Volumes;

impl Isolator for Volumes {
    fn prepare(&self, layout: &Layout, start: &Start, spec: &mut Spec) -> io::Result<()> {
        start.resources.iter().try_for_each(|resource| show(layout, resource, Path::new(&spec.sandbox)))
    }
}

/// Lets the sandbox show a volume where the resource wants it; does nothing for other resources.
fn show(layout: &Layout, resource: &Resource, sandbox: &Path) -> io::Result<()> {
    if resource.disk.as_ref().is_none_or(|disk| disk.persistence.is_none()) {
        return Ok(());
    }
    let name = volume_of(resource).ok_or_else(|| refused("a volume's role or id is not valid".to_owned()))?;
    let mount = resource.disk.as_ref().and_then(|disk| disk.volume.as_ref());
    let place = mount.map(|mount| mount.container_path().to_owned()).unwrap_or_default();
    let inside =
        Path::new(&place).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if place.is_empty() || !inside {
        return Err(refused(format!(
            "container_path '{place}' of volume '{}' is not inside the sandbox",
            name.id
        )));
    }
    volumes::create(layout, &name)?;
    let link = sandbox.join(&place);
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)?;
    }
    let volume = layout.volume(&name);
    match symlink(&volume, &link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read_link(&link) {
            Ok(known) if known == volume => Ok(()),
            _ => Err(refused(format!("container_path '{place}' of volume '{}' is taken", name.id))),
        },
        made => made,
    }
}

fn refused(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1::resource::disk_info::Persistence;
    use tepui_proto::v1::resource::{DiskInfo, ReservationInfo};
    use tepui_proto::v1::{Volume, volume};

    use super::*;

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

    #[test]
    fn what_a_task_writes_stays_when_its_sandbox_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        for sandbox in ["first", "second"] {
            let sandbox = folder.path().join(sandbox);
            fs::create_dir(&sandbox).unwrap();
            show(&layout, &resource("v", "deep/data"), &sandbox).unwrap();
            show(&layout, &resource("v", "deep/data"), &sandbox).unwrap();
            let file = sandbox.join("deep/data/file");
            if file.exists() {
                assert_eq!(fs::read_to_string(&file).unwrap(), "written by first");
            } else {
                fs::write(&file, "written by first").unwrap();
            }
            assert!(show(&layout, &resource("other", "deep/data"), &sandbox).is_err(), "the place is taken");
            fs::remove_dir_all(&sandbox).unwrap();
        }
    }

    #[test]
    fn no_volume_appears_outside_of_the_sandbox() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(folder.path()).unwrap();
        let sandbox = folder.path().join("sandbox");
        fs::create_dir(&sandbox).unwrap();
        for place in ["", "/etc", "../up", "a/../../up"] {
            assert!(show(&layout, &resource("v", place), &sandbox).is_err(), "{place}");
        }
        for id in ["", "..", "a/b"] {
            assert!(show(&layout, &resource(id, "data"), &sandbox).is_err(), "{id}");
        }
    }
}
