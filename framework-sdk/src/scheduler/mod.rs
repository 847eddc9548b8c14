//! A framework's conversation with the leading master.
//!
//! [`Driver`] finds the leader, subscribes, resubscribes, reconciles and ends; [`Handle`] is how a framework speaks and
//! [`Events`] how it listens. All decisions are made by [`session::Session`], which is pure; the driver is its I/O.
//!
//! ```text
//!            Handle ──commands──▶ ┌────────┐ ──calls──▶ ┌────────────────┐
//!   user                          │ Driver │            │ leading master │
//!            Events ◀──events──── └────────┘ ◀─stream── └────────────────┘
//!                                   │    ▲
//!                             Input ▼    │ Action
//!                                 Session
//! ```

mod builder;
mod calls;
mod driver;
mod event;
mod events;
mod handle;
pub mod session;

pub use builder::{BuildError, DriverBuilder};
pub use driver::{Driver, DriverError};
pub use event::{CallFailed, Event, Outcome};
pub use events::Events;
pub use handle::{DriverGone, Handle};
