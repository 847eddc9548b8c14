//! Every decoder under fire: well-formed messages made from the wire contract, then damaged, by the million and from one seed.
//!
//! ```text
//!   schema ─▶ tree ─▶ render (JSON, protobuf) ─▶ mutate ─▶ target: decode, and check what must hold
//!                         ▲                        ▲              │ shape of the answer
//!                         └──── both must agree    └── corpus ◀───┘
//! ```
//!
//! Needs no instrumented build: instead of coverage, what a decoder answers tells whether an input is worth keeping. Owns the
//! generators, the corpus and the properties. Refuses clocks in its verdicts, except for inputs that take many seconds.

mod corpus;
mod master;
mod mutate;
mod random;
mod registry;
mod render;
mod run;
mod schema;
mod texts;
mod tree;
mod wire;

use std::sync::Arc;

pub use run::{Failure, Report, replay, run};

/// Something that reads bytes which others wrote.
pub trait Target {
    fn name(&self) -> &str;

    /// Makes an input that is right, or nearly.
    fn fresh(&mut self, seed: u64) -> Vec<u8>;

    /// Words that mean something to this decoder.
    fn words(&self) -> &[&'static str] {
        &[]
    }

    /// Whether inputs are bytes that can be damaged, or seeds of something larger.
    fn takes_damage(&self) -> bool {
        true
    }

    /// Feeds one input; returns a text that is the same for inputs that were answered alike.
    ///
    /// # Errors
    /// What should have held and did not.
    fn feed(&mut self, input: &[u8]) -> Result<String, String>;
}

/// All targets, in the order of their names.
pub fn targets() -> Vec<Box<dyn Target>> {
    let schema = schema::Schema::new();
    let mut all = wire::targets(&schema);
    all.extend(texts::targets(&schema));
    all.extend(registry::targets());
    all.push(Box::new(master::Calls::new(Arc::clone(&schema))));
    all.sort_by(|one, other| one.name().cmp(other.name()));
    all
}

/// Says what should have held.
fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}
