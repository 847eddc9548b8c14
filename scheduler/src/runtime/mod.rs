//! Everything of a master that waits, reads a clock or owns a socket's other end: the event loop around the core, the
//! replicated state machine, streams, and what reads are answered from. Decides nothing about the cluster.

pub(crate) mod audit;
pub(crate) mod board;
pub(crate) mod effects;
pub(crate) mod event_loop;
pub(crate) mod events;
pub(crate) mod handle;
pub(crate) mod levels;
pub(crate) mod masters;
pub(crate) mod operator_events;
pub(crate) mod reads;
pub(crate) mod regions;
pub(crate) mod registrar;
pub(crate) mod replica;
pub(crate) mod role;
pub(crate) mod streams;
pub(crate) mod timers;
pub(crate) mod verbosity;
pub(crate) mod whitelist;

#[cfg(test)]
mod tests;
