//! The agent: offers the resources of its host, runs tasks there, and tells the leading master what becomes of them.
//!
//! ```text
//!   master ◄──► master_link ──┐                       ┌──► checkpoint (journal on disk)
//!   people ◄──► http ─────────┼──► runtime/event_loop ┼──► containerizer ──► supervise (one process a task) ──► command
//!                             │     (tepui-agent-core)│
//!   timers, signals ──────────┘                       └──► sandbox, gc
//! ```
//! All decisions are in `tepui-agent-core`; this package carries them out and reports back. It refuses to decide.

mod checkpoint;
mod config;
mod containerizer;
mod error;
mod executor_tokens;
mod flags;
mod gc;
mod http;
mod layout;
mod master_link;
mod resources;
mod runtime;
mod server;
mod supervise;
mod volumes;

pub use config::{Config, LogLevel, Secret, Timers};
pub use error::Error;
pub use server::Server;
pub use supervise::supervise_main;

/// What this build calls itself towards Mesos' clients; some of them need a plain dotted number.
const MESOS_VERSION: &str = "1.11.0";
/// Version of the product.
const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");
