//! The files of a source folder, in the order in which they are consumed: by name.

use std::path::Path;

use super::error::SourceError;
use super::position::Position;
use crate::job::Compression;

/// Files that one folder may hold.
const MAX_FILES: usize = 10_000;

/// One file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) gzip: bool,
}

/// Lists `folder`: names that end in `.csv` or `.csv.gz`; names that start with `.` or `_` are not there yet.
pub(crate) fn list(folder: &Path, compression: Compression) -> Result<Vec<Entry>, SourceError> {
    let shown = folder.display().to_string();
    let mut entries = Vec::new();
    for item in std::fs::read_dir(folder).map_err(SourceError::io(&shown))? {
        let item = item.map_err(SourceError::io(&shown))?;
        let Ok(name) = item.file_name().into_string() else { continue };
        let is_data = name.ends_with(".csv") || name.ends_with(".csv.gz");
        if !is_data || name.starts_with(['.', '_']) {
            continue;
        }
        // Follows links; a file that vanished between the two calls is simply not listed.
        let Ok(metadata) = std::fs::metadata(item.path()) else { continue };
        if !metadata.is_file() {
            continue;
        }
        let gzip = match compression {
            Compression::None => false,
            Compression::Gzip => true,
            Compression::Auto => name.ends_with(".gz"),
        };
        entries.push(Entry { name, size: metadata.len(), gzip });
        if entries.len() > MAX_FILES {
            return Err(SourceError::TooManyFiles { folder: shown, limit: MAX_FILES });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Refuses a folder that contradicts what was consumed: a file may grow (if it is not compressed) and, once consumed, vanish.
pub(crate) fn check(position: &Position, listing: &[Entry]) -> Result<(), SourceError> {
    for (name, at) in position {
        let found = listing.binary_search_by(|e| e.name.as_str().cmp(name)).ok().map(|index| &listing[index]);
        match found {
            None if at.done => {}
            None => return Err(SourceError::Missing { file: name.clone() }),
            Some(entry) if entry.size < at.size => {
                return Err(SourceError::Shrunk { file: name.clone(), was: at.size, is: entry.size });
            }
            Some(entry) if entry.gzip && entry.size != at.size => {
                let detail = format!("a compressed file of {} bytes now has {}", at.size, entry.size);
                return Err(SourceError::Changed { file: name.clone(), detail });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::position::FilePosition;
    use super::*;

    #[test]
    fn lists_data_files_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv.gz", ".c.csv", "_d.csv", "e.txt", "c.csv.tmp"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(folder.path().join("z.csv")).unwrap();
        let listing = list(folder.path(), Compression::Auto).unwrap();
        let seen: Vec<(&str, bool)> = listing.iter().map(|e| (e.name.as_str(), e.gzip)).collect();
        assert_eq!(seen, [("a.csv.gz", true), ("b.csv", false)]);
        let error = list(&folder.path().join("nowhere"), Compression::Auto).unwrap_err();
        assert!(error.to_string().contains("nowhere"));
    }

    #[test]
    fn a_folder_may_not_contradict_the_position() {
        let at = |size, done| FilePosition { offset: 5, records: 1, size, done };
        let entry = |size, gzip| Entry { name: "a".into(), size, gzip };
        let cases: [(FilePosition, Option<Entry>, Option<&str>); 6] = [
            (at(10, false), Some(entry(10, false)), None),
            (at(10, false), Some(entry(12, false)), None),
            (at(10, true), None, None),
            (at(10, false), Some(entry(9, false)), Some("a has shrunk from 10 to 9 bytes")),
            (at(10, true), Some(entry(12, true)), Some("a has changed")),
            (at(10, false), None, Some("a is gone")),
        ];
        for (at, entry, message) in cases {
            let position = Position::from([("a".to_owned(), at)]);
            let result = check(&position, &entry.into_iter().collect::<Vec<_>>());
            match message {
                None => assert!(result.is_ok()),
                Some(message) => assert!(result.unwrap_err().to_string().contains(message)),
            }
        }
    }
}
