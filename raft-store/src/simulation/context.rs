//! What tells the rest of the package that it is being simulated: one slot of this thread.
//!
//! Owns the slot. Outside of a run everything is as in production.

use std::cell::RefCell;

use super::dice::Dice;
use crate::mutants::Mutant;

struct Context {
    dice: Dice,
    mutant: Option<Mutant>,
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// The slot is filled as long as this lives.
pub(super) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CONTEXT.with(|slot| slot.borrow_mut().take());
    }
}

pub(super) fn enter(seed: u64, mutant: Option<Mutant>) -> Entered {
    CONTEXT.with(|slot| *slot.borrow_mut() = Some(Context { dice: Dice::new(seed ^ 0xC0FFEE), mutant }));
    Entered
}

/// Whether this thread runs a simulation.
pub(crate) fn is_simulated() -> bool {
    CONTEXT.with(|slot| slot.borrow().is_some())
}

/// A number for whoever would draw one, if this thread runs a simulation.
pub(crate) fn chance() -> Option<u64> {
    CONTEXT.with(|slot| slot.borrow_mut().as_mut().map(|context| context.dice.number()))
}

/// The bug that is on, if this thread runs a simulation.
pub(crate) fn mutant() -> Option<Mutant> {
    CONTEXT.with(|slot| slot.borrow().as_ref().and_then(|context| context.mutant))
}
