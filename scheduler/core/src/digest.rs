//! SHA-256 and hexadecimal digits, the same everywhere.

use std::fmt::Write as _;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Returns the SHA-256 of these bytes.
pub fn sha256(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(bytes))
}

/// Returns lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
