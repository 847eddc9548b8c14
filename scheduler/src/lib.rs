//! The master: a shell around the pure core in `core/`. It answers HTTP, replicates what the core proposes, and shows the
//! cluster to people.
//!
//! Owns sockets, clocks and tasks. Decides nothing about agents, frameworks, offers, tasks or drivers: the core does.
//!
//! ```text
//!   http/ ──▶ runtime/handle ──▶ runtime/event_loop ──▶ core::Master
//!     ▲                               │  effects
//!     │                               ├──▶ runtime/streams (frameworks, agents)
//!     │                               └──▶ raft-store ──▶ runtime/registrar ──▶ core::Registry
//!     └────────── runtime/board ◀─────────────────────────────────┘
//! ```

mod config;
mod http;
pub mod offline;
mod rate_limits;
mod runtime;
mod server;
mod settings;
mod stats;
mod view;

pub use config::{
    Authentication, Config, ConfigError, Limits, Log, MasterAddress, Offers, Secret, SetVerbosity, Timers,
};
pub use rate_limits::parse_rate_limits;
pub use server::{Addresses, Server, ServerError};
pub use tepui_scheduler_core::allocator::Sorter;
pub use tepui_scheduler_core::rate_limits::RateLimits;
