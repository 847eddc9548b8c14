//! The test client: plain HTTP, streams of records, and a framework that does exactly what a scenario says. Deliberately not the
//! SDK, which would hide what is tested here.

pub mod chunks;
pub(crate) mod executor;
mod framework;
mod http;
pub(crate) mod messages;
pub(crate) mod operations;
mod stream;

pub(crate) use framework::{Framework, SCHEDULER, next_in_time};
pub(crate) use http::{Answer, Http};
pub(crate) use stream::{Stream, check};
