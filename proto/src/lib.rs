//! Everything that is on a wire: the messages, both of their encodings, framing, identifiers and resource arithmetic.
//!
//! Owns the v1 protocol of Mesos (`mesos`), our own messages (`tepui`), what both encodings share, and rules that hold wherever we answer
//! HTTP (`basic`, `plain`, `routes`, `connections`, `lines`). Does no I/O, reads no clock, knows no state of a cluster.

mod generated {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}

mod impls {
    include!(concat!(env!("OUT_DIR"), "/impls.rs"));
}

/// The descriptors of all messages as they are declared, a `FileDescriptorSet` in protobuf.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod basic;
#[cfg(feature = "connections")]
pub mod connections;
pub mod duration;
pub mod ids;
pub mod json;
pub mod lines;
pub mod media_type;
pub mod origin;
pub mod payload;
pub mod plain;
pub mod process;
pub mod recordio;
pub mod resources;
pub mod role;
pub mod routes;
pub mod standing;
mod task_state;
pub mod wire;

pub use generated::{google, mesos, tepui};
pub use media_type::MediaType;
pub use mesos::v1;
