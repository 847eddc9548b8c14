//! The `tepui` binary as a library, so that tests can build the same binary for themselves.
//! Owns the command line; everything it starts or asks lives in the other packages.

pub mod cluster;
pub mod demo;
pub mod live;
