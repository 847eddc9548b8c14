//! What can go wrong with an input, always with the file it is about.

use std::io;

/// A fault of the input.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("read {file}: {source}")]
    Io { file: String, source: io::Error },
    #[error("{file} has shrunk from {was} to {is} bytes after it was read")]
    Shrunk { file: String, was: u64, is: u64 },
    #[error("{file} has changed after it was read: {detail}")]
    Changed { file: String, detail: String },
    #[error("{file} is gone although it has not been read to its end")]
    Missing { file: String },
    #[error("{folder} holds more than {limit} files")]
    TooManyFiles { folder: String, limit: usize },
    #[error("{file} has no column `{column}`")]
    MissingColumn { file: String, column: String },
    #[error("{file}, record at byte {offset}: {detail}")]
    BadRecord { file: String, offset: u64, detail: String },
    #[error("{file}, byte {offset}: a record is longer than {limit} bytes")]
    RecordTooLong { file: String, offset: u64, limit: u64 },
}

impl SourceError {
    pub(crate) fn io(file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { file, source }
    }

    /// Whether trying again, elsewhere or later, may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            // Data that does not decompress will not do so elsewhere.
            Self::Io { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
            }
            _ => false,
        }
    }
}
