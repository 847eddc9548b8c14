//! Opens files and folders below a given one and nowhere else, whatever links tasks lay, and whenever. Owns that proof: what counts
//! is where the opened file is, not where its name pointed to a moment ago. The one way out of a sandbox are the links by which the agent
//! shows volumes there, and they lead to those volumes only. Everything here blocks.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use axum::http::StatusCode;

use super::error::Refusal;

/// Entries of a folder that are listed at most.
const ENTRIES_MAX: usize = 20_000;

/// What is asked for, and what it must be inside of.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) wanted: PathBuf,
    /// The volumes of the sandbox.
    pub(super) volumes: Vec<ShownVolume>,
}

/// A volume that the agent shows in a sandbox.
#[derive(Clone, Debug)]
pub(super) struct ShownVolume {
    /// Where, in the words of `wanted`.
    pub(super) link: PathBuf,
    pub(super) folder: PathBuf,
}

impl Place {
    /// Returns what to open, and what that must be inside of. A volume is entered by its own folder, never by what stands in the sandbox
    /// in its place, and only while the agent's link stands there.
    fn real(&self) -> (PathBuf, PathBuf) {
        let entered = self.volumes.iter().find_map(|volume| {
            let rest = self.wanted.strip_prefix(&volume.link).ok()?;
            let is_shown = fs::read_link(&volume.link).is_ok_and(|target| target == volume.folder);
            is_shown.then(|| (volume.folder.clone(), volume.folder.join(rest)))
        });
        entered.unwrap_or_else(|| (self.root.clone(), self.wanted.clone()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
}

#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    /// Where it really is.
    pub(super) path: PathBuf,
    pub(super) metadata: Metadata,
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) size: u64,
    pub(super) data: Vec<u8>,
}

/// What stands in a folder.
#[derive(Debug)]
pub(super) struct Entry {
    /// As the client named the folder, with the name behind it.
    pub(super) path: String,
    pub(super) metadata: Metadata,
}

#[derive(Debug)]
pub(super) struct Listed {
    /// By name.
    pub(super) entries: Vec<Entry>,
    /// Nothing was left out.
    pub(super) all: bool,
}

/// Opens a file or a folder.
///
/// # Errors
/// 404 if it is not there or not inside, 400 if it is of another kind, 403 if the operating system refuses.
pub(super) fn open(place: &Place, kind: Kind) -> Result<Opened, Refusal> {
    let shown = place.wanted.display();
    let (root, wanted) = place.real();
    let root = fs::canonicalize(root).map_err(|_| missing(place))?;
    let real = fs::canonicalize(wanted).map_err(|error| refusal(place, &error))?;
    // Whether there is such a file outside is nobody's business.
    if !real.starts_with(&root) {
        return Err(missing(place));
    }
    let wrong = || {
        let what = if kind == Kind::File { "a file" } else { "a folder" };
        Refusal::bad_request(format!("not {what}: {shown}"))
    };
    let fits = |metadata: &Metadata| match kind {
        Kind::File => metadata.is_file(),
        Kind::Folder => metadata.is_dir(),
    };
    // To open a pipe or a device may have consequences.
    if !fits(&fs::metadata(&real).map_err(|error| refusal(place, &error))?) {
        return Err(wrong());
    }
    // If a task replaces it by a pipe just now, opening must not wait for a writer.
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&real);
    let file = file.map_err(|error| refusal(place, &error))?;
    let metadata = file.metadata().map_err(|error| refusal(place, &error))?;
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let path = path.map_err(|error| refusal(place, &error))?;
    match () {
        () if !path.starts_with(&root) => Err(missing(place)),
        () if !fits(&metadata) => Err(wrong()),
        () => Ok(Opened { file, path, metadata }),
    }
}

/// Reads a part of a file; less, or nothing, behind its end.
///
/// # Errors
/// As of [`open`].
pub(super) fn read(place: &Place, offset: u64, length: u64) -> Result<Part, Refusal> {
    let Opened { mut file, metadata, .. } = open(place, Kind::File)?;
    let size = metadata.len();
    let mut data = Vec::new();
    if offset < size && length > 0 {
        let failed = |error: io::Error| refusal(place, &error);
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        file.take(length).read_to_end(&mut data).map_err(failed)?;
    }
    Ok(Part { size, data })
}

/// Lists a folder by name.
///
/// # Errors
/// As of [`open`].
pub(super) fn list(place: &Place, name: &str) -> Result<Listed, Refusal> {
    let opened = open(place, Kind::Folder)?;
    // By the handle: its name may lead elsewhere by now.
    let folder = format!("/proc/self/fd/{}", opened.file.as_raw_fd());
    let mut entries = Vec::new();
    let mut all = true;
    for entry in fs::read_dir(folder).map_err(|error| refusal(place, &error))? {
        let entry = entry.map_err(|error| refusal(place, &error))?;
        if entries.len() == ENTRIES_MAX {
            all = false;
            break;
        }
        // It may have gone meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        let path = format!("{}/{}", name.trim_end_matches('/'), entry.file_name().to_string_lossy());
        entries.push(Entry { path, metadata });
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(Listed { entries, all })
}

fn missing(place: &Place) -> Refusal {
    Refusal::not_found(format!("no such file: {}", place.wanted.display()))
}

fn refusal(place: &Place, error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Refusal::new(StatusCode::FORBIDDEN, format!("not allowed to read {}", place.wanted.display()))
        }
        _ => missing(place),
    }
}

#[cfg(test)]
mod unit {
    use std::os::unix::fs::symlink;

    use axum::response::IntoResponse;

    use super::*;

    fn status<T: std::fmt::Debug>(result: Result<T, Refusal>) -> u16 {
        result.unwrap_err().into_response().status().as_u16()
    }

    #[test]
    fn nothing_outside_is_opened_by_whatever_name() {
        let folder = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(folder.path()).unwrap();
        let root = base.join("in");
        fs::create_dir_all(root.join("sub")).unwrap();
        // Shares the beginning of its name with the root.
        fs::create_dir_all(base.join("in-not")).unwrap();
        fs::write(base.join("in-not/secret"), "s").unwrap();
        fs::write(root.join("sub/file"), "hello").unwrap();
        symlink("sub/file", root.join("good")).unwrap();
        symlink("../in-not/secret", root.join("bad")).unwrap();
        symlink("/", root.join("slash")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let at = |wanted: &str| Place { root: root.clone(), wanted: root.join(wanted), volumes: Vec::new() };
        for good in ["sub/file", "good", "sub/../good", "../in/good"] {
            let opened = open(&at(good), Kind::File).unwrap();
            assert!(opened.path.starts_with(&root));
            assert_eq!(read(&at(good), 1, 3).unwrap().data, b"ell");
        }
        for bad in [
            "bad",
            "../in-not/secret",
            "slash/etc/passwd",
            "/etc/passwd",
            "loop",
            "none",
            "sub/file/x",
            "a\0b",
        ] {
            assert_eq!(status(open(&at(bad), Kind::File)), 404, "{bad}");
        }
        for bad in ["..", "slash", "../in-not", "/"] {
            assert_eq!(status(list(&at(bad), "x")), 404, "{bad}");
        }
        assert_eq!(status(open(&at("sub"), Kind::File)), 400);
        assert_eq!(status(list(&at("sub/file"), "x")), 400);
        let listed = list(&at(""), "/virtual/").unwrap();
        let names: Vec<&str> = listed.entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(
            names,
            ["/virtual/bad", "/virtual/good", "/virtual/loop", "/virtual/slash", "/virtual/sub"]
        );
        assert!(listed.all);
    }

    #[test]
    fn a_part_ends_where_the_file_does() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "0123456789").unwrap();
        let (root, wanted) = (folder.path().to_owned(), folder.path().join("f"));
        let place = Place { root, wanted, volumes: Vec::new() };
        for (offset, length, expected) in
            [(0, 4, "0123"), (8, 100, "89"), (10, 1, ""), (u64::MAX, u64::MAX, ""), (3, 0, "")]
        {
            let part = read(&place, offset, length).unwrap();
            assert_eq!((part.size, part.data.as_slice()), (10, expected.as_bytes()), "{offset} {length}");
        }
    }

    #[test]
    fn the_agents_own_links_lead_to_its_volumes_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(folder.path()).unwrap();
        let (root, mine, other) =
            (base.join("slaves/run"), base.join("volumes/mine"), base.join("volumes/other"));
        for folder in [&root.join("deep"), &mine.join("sub"), &other] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(mine.join("sub/file"), "kept").unwrap();
        fs::write(other.join("secret"), "s").unwrap();
        symlink(&mine, root.join("deep/data")).unwrap();
        // What a task may try: its own link to a foreign volume, to its own one by another name, and links out of its volume.
        symlink(&other, root.join("stolen")).unwrap();
        symlink(&mine, root.join("alias")).unwrap();
        symlink("/etc", mine.join("etc")).unwrap();
        symlink(&other, mine.join("other")).unwrap();
        let volumes = vec![
            ShownVolume { link: root.join("deep/data"), folder: mine.clone() },
            // Replaced by the task.
            ShownVolume { link: root.join("stolen"), folder: mine.clone() },
        ];
        let at =
            |wanted: &str| Place { root: root.clone(), wanted: root.join(wanted), volumes: volumes.clone() };
        assert_eq!(read(&at("deep/data/sub/file"), 0, 9).unwrap().data, b"kept");
        let listed = list(&at("deep/data"), "x").unwrap();
        assert_eq!(listed.entries.len(), 3, "sub, and the links, which are shown but not followed");
        for bad in [
            "stolen/secret",
            "alias/sub/file",
            "deep/data/etc/passwd",
            "deep/data/other/secret",
            "deep/data/../other/secret",
            "deep/data/../../slaves",
            "deep/data/none",
        ] {
            assert_eq!(status(open(&at(bad), Kind::File)), 404, "{bad}");
        }
        for bad in ["stolen", "alias", "deep/data/etc", "deep/data/other", "deep/data/.."] {
            assert_eq!(status(list(&at(bad), "x")), 404, "{bad}");
        }
        fs::remove_file(root.join("deep/data")).unwrap();
        symlink("/etc", root.join("deep/data")).unwrap();
        assert_eq!(status(open(&at("deep/data/passwd"), Kind::File)), 404, "replaced by the task");
    }
}
