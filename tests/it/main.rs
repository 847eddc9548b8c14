//! Real processes on loopback: what only an operating system, sockets and signals can show. One cluster at a time.

mod basics;
mod damage;
mod drivers;
mod failover;
mod folders;
mod input;
mod interrupts;
mod members;
mod page;
mod procedures;
mod rate_limits;
mod reads;
mod recovery;
mod rolling;
mod stream;

/// The binary under test.
const TEPUI: &str = env!("CARGO_BIN_EXE_tepui-under-test");
