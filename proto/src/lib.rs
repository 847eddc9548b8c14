//! Everything that is on a wire: the messages, both of their encodings, framing, identifiers and resource arithmetic.
//!
//! Owns the v1 protocol of Mesos (`mesos`), our own messages (`tepui`), and what both encodings share. Knows nothing of
//! networks, clocks or cluster state.

mod generated {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}

mod impls {
    include!(concat!(env!("OUT_DIR"), "/impls.rs"));
}

/// The descriptors of all messages as they are declared, a `FileDescriptorSet` in protobuf.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod basic;
pub mod duration;
pub mod ids;
pub mod json;
pub mod media_type;
pub mod payload;
pub mod plain;
pub mod recordio;
pub mod resources;
pub mod role;
mod task_state;
pub mod wire;

pub use generated::{google, mesos, tepui};
pub use media_type::MediaType;
pub use mesos::v1;
