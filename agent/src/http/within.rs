//! Opens files and folders below a given one and nowhere else, whatever links tasks lay, and whenever. Owns that proof: what counts
//! is where the opened file is, not where its name pointed to a moment ago. Everything here blocks.

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
    let root = fs::canonicalize(&place.root).map_err(|_| missing(place))?;
    let real = fs::canonicalize(&place.wanted).map_err(|error| refusal(place, &error))?;
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
        let at = |wanted: &str| Place { root: root.clone(), wanted: root.join(wanted) };
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
        let place = Place { root: folder.path().to_owned(), wanted: folder.path().join("f") };
        for (offset, length, expected) in
            [(0, 4, "0123"), (8, 100, "89"), (10, 1, ""), (u64::MAX, u64::MAX, ""), (3, 0, "")]
        {
            let part = read(&place, offset, length).unwrap();
            assert_eq!((part.size, part.data.as_slice()), (10, expected.as_bytes()), "{offset} {length}");
        }
    }
}
