//! Replayable sources: a position names exactly which records have been consumed, and a range reads the same records again.
//!
//! The folder of CSV files is the one kind so far:
//!
//! ```text
//! listing.rs  what is in the folder, checked against the position
//! position.rs how far each file has been consumed; ranges
//! open.rs     one opened (and decompressed) file
//! scout.rs    reads ahead from a position and finds the ends of records: driver
//! range.rs    reads exactly one range, verified: executors
//! decode.rs   fields to typed values
//! ```

pub(crate) mod decode;
mod error;
pub mod kafka;
pub(crate) mod listing;
mod open;
mod position;
pub(crate) mod range;
pub(crate) mod scout;

pub use error::SourceError;
pub use position::{FilePosition, Position, Range};
pub(crate) use scout::{Chunk, Scan, Scout};
