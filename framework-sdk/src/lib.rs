//! What authors of frameworks import: clients of the masters' APIs that find the leading master and stay with it,
//! and of the agents' for executors.
//!
//! Owns connecting, redirects, retries, resubscription, acknowledgements and reconciliation. Decides nothing about a cluster:
//! a server package is never imported here. Nothing is spawned behind the caller's back; what runs is a future that the
//! caller polls.
//!
//! ```text
//! scheduler::Driver        one framework's conversation with the leading master
//! executor::Driver         one custom executor's conversation with its agent
//! operator::Client         calls of operators, Mesos' and ours
//! state_store              a driver's registers: compare and set, fenced by the driver's generation
//! lease                    a driver's lease, renewed until it is lost
//! master_detector, transport, event_stream, backoff   the parts those are made of
//! testing                  a scripted master (feature "testing")
//! ```

pub mod backoff;
pub mod environment;
pub mod event_stream;
pub mod executor;
pub mod leader_call;
pub mod lease;
pub mod master_detector;
mod masters;
pub mod operator;
mod polling;
pub mod scheduler;
pub mod state_store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;

pub use master_detector::MasterDetector;
pub use state_store as state;
pub use tepui_proto::{MediaType, tepui, v1};
