//! How far the files of a folder have been consumed.
//!
//! An *offset* counts uncompressed bytes from the start of a file, header included, and always stands between two records.
//! A file that has no entry has not been touched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Positions of all touched files by name.
pub type Position = BTreeMap<String, FilePosition>;

/// How far one file has been consumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    pub offset: u64,
    /// Records before `offset`.
    pub records: u64,
    /// The file's length on disk when it was last read; it may not become less.
    pub size: u64,
    /// Read to its end: nothing more comes from it while its size stays the same.
    pub done: bool,
}

/// Consecutive records of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub file: String,
    /// Offset of the first record.
    pub start: u64,
    /// Offset behind the last record.
    pub end: u64,
    pub records: u64,
    /// CRC-32 of the bytes, so that a file that changes between plan and reading is noticed.
    pub crc: u32,
}
