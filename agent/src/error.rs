//! Why an agent cannot start or go on. Owns the texts; decides nothing.

use std::io;
use std::path::{Path, PathBuf};

/// Why an agent cannot start, or has to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{0}")]
    Config(String),
    #[error("{what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is in use by another agent", .0.display())]
    InUse(PathBuf),
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Damaged { path: PathBuf, offset: u64, reason: String },
    #[error("{} is of format {found}, this build reads format {known}", path.display())]
    UnknownFormat { path: PathBuf, found: u32, known: u32 },
    #[error("listen on {address}")]
    Listen { address: String, source: io::Error },
    #[error("make an HTTP client")]
    Client(#[from] reqwest::Error),
    #[error("the checkpoint can no longer be written")]
    Checkpoint(#[source] Box<Error>),
    #[error("a part of the agent ended by itself: {0}")]
    Ended(&'static str),
}

impl Error {
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
