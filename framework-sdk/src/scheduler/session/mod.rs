//! The pure half of a scheduler driver: what to do about everything that happens.
//!
//! Owns the phases of a subscription, the order of calls, what is repeated and what never is, and which updates reach the
//! framework. Does no I/O, reads no clock and spawns nothing: the same inputs give the same actions, so it also runs in a
//! simulation.
//!
//! ```text
//!             Tick                Opened              SUBSCRIBED
//!  Waiting ──────────▶ Opening ──────────▶ Greeting ──────────▶ Subscribed
//!     ▲                   │ failed             │ ended, silent      │ ended, silent, 307, 403,
//!     └───────────────────┴────────────────────┴────────────────────┘ a call of unknown outcome
//!
//!  anywhere: ERROR, a refused SUBSCRIBE, TEARDOWN or stop ──▶ Ended
//! ```
//!
//! A call of unknown outcome ends the subscription on purpose. The next one has another stream id, so the master refuses the
//! lost call if it arrives late, and reconciliation tells what became of its tasks.

mod input;
mod lane;
mod machine;
mod outcome;
mod roles;
mod tasks;
#[cfg(test)]
mod tests;

pub use input::{Action, CallAnswer, Command, Input, SessionConfig};
pub use machine::Session;
