//! Folders of persistent volumes. Owns making, destroying and finally removing them; which there should be is the core's decision.
//!
//! To destroy is to rename into the trash: that takes no time whatever is inside, and is done or not done.

use std::fs;
use std::io;

use tepui_agent_core::VolumeName;

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

#[cfg(test)]
mod tests {
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
}
