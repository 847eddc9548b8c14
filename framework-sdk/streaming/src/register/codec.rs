//! The register as JSON of at most 64 KiB. What grows with the number of files goes to a file of its own if it has to, and
//! the register then holds its name, length and SHA-256.

use std::path::Path;

use serde_json::Value;

use super::document::Register;
use crate::files::{Disk, FileFault, FileRef, read_verified};

/// Version of the document.
pub const FORMAT: u32 = 1;
/// The masters' limit for a register's value.
pub const MAX_REGISTER_BYTES: usize = 64 * 1024;
/// Above this size, parts go to files.
const SPILL_ABOVE_BYTES: usize = 48 * 1024;
/// Parts that may go to a file, in the order in which they do.
const SPILLABLE: [&str; 3] = ["/committed/position", "/plan/slots", "/plan/after"];
/// Key that marks a spilled part; no part has a key that starts with `$`.
const FILE_KEY: &str = "$file";

/// A register that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("the register has format {found}, this version knows format {FORMAT}")]
    UnknownFormat { found: u64 },
    #[error("the register is not readable: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the register would have {0} bytes, at most {MAX_REGISTER_BYTES} are possible")]
    TooLarge(usize),
    #[error("a part of the register: {0}")]
    Part(#[from] FileFault),
}

/// Encodes; `spill_name` gives a new name below `folder` for each part that has to go to a file.
pub(crate) fn encode(
    register: &Register,
    disk: Disk,
    folder: &Path,
    mut spill_name: impl FnMut() -> String,
) -> Result<Vec<u8>, CodecError> {
    let mut value = serde_json::to_value(register)?;
    let mut bytes = serde_json::to_vec(&value)?;
    for pointer in SPILLABLE {
        if bytes.len() <= SPILL_ABOVE_BYTES {
            return Ok(bytes);
        }
        let Some(part) = value.pointer_mut(pointer).filter(|part| !part.is_null()) else { continue };
        let content = serde_json::to_vec(part)?;
        let reference = disk.write_new(folder, &spill_name(), &content)?;
        *part = serde_json::json!({ FILE_KEY: reference });
        bytes = serde_json::to_vec(&value)?;
    }
    if bytes.len() > MAX_REGISTER_BYTES { Err(CodecError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

/// Decodes, and reads parts that went to files.
pub(crate) fn decode(bytes: &[u8], folder: &Path) -> Result<Register, CodecError> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    let found = value.get("format").and_then(Value::as_u64).unwrap_or(0);
    if found != u64::from(FORMAT) {
        return Err(CodecError::UnknownFormat { found });
    }
    for pointer in SPILLABLE {
        let Some(part) = value.pointer_mut(pointer) else { continue };
        let Some(reference) = part.get(FILE_KEY) else { continue };
        let reference: FileRef = serde_json::from_value(reference.clone())?;
        *part = serde_json::from_slice(&read_verified(folder, &reference)?)?;
    }
    Ok(serde_json::from_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::super::document::Plan;
    use super::*;
    use crate::job::Job;
    use crate::source::{FilePosition, Position, Range};

    fn register(files: u64) -> Register {
        let job = Job::from_toml_str(
            "name = 'a'\n[source]\nkind = 'files'\npath = '/in'\ncolumns = [{ name = 'x' }]\n\
             [sink]\nkind = 'files'\npath = '/out'\n[checkpoint]\npath = '/state'\n",
        )
        .unwrap();
        let mut register = Register::new(&job);
        let at = FilePosition { offset: 1, records: 2, size: 3, done: true };
        let position: Position = (0..files).map(|n| (format!("file-{n:06}.csv"), at.clone())).collect();
        let range = |n| Range { file: format!("file-{n:06}.csv"), start: 0, end: 1, records: 1, crc: 7 };
        register.plan = Some(Plan {
            batch: 1,
            batch_time_ms: 5,
            records: files,
            end_of_input: false,
            slots: vec![(0..files.min(64)).map(range).collect()],
            after: position.iter().take(64).map(|(k, v)| (k.clone(), v.clone())).collect(),
        });
        register.committed.position = position;
        register
    }

    #[test]
    fn large_parts_go_to_files_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        for (files, spilled) in [(3, 0), (5000, 1)] {
            let register = register(files);
            let mut count = 0;
            let bytes = encode(&register, Disk::VOLATILE, folder.path(), || {
                count += 1;
                format!("part-{files}-{count}")
            })
            .unwrap();
            assert!(bytes.len() <= SPILL_ABOVE_BYTES);
            assert_eq!((decode(&bytes, folder.path()).unwrap(), count), (register, spilled));
        }
        let bytes = encode(&register(5000), Disk::VOLATILE, folder.path(), || "changed".into()).unwrap();
        std::fs::write(folder.path().join("changed"), "{}").unwrap();
        assert!(decode(&bytes, folder.path()).unwrap_err().to_string().contains("changed"));
    }

    #[test]
    fn an_unknown_format_is_refused_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut value = serde_json::to_value(register(1)).unwrap();
        value["format"] = 7.into();
        let error = decode(&serde_json::to_vec(&value).unwrap(), folder.path()).unwrap_err();
        assert!(error.to_string().contains("format 7"), "{error}");
        assert!(decode(b"nonsense", folder.path()).is_err());
    }
}
