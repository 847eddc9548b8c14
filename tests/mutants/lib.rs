//! Which known bug is switched on in this thread. Only builds with the feature `mutants` depend on this; they exist to see that the suite
//! notices each of them. Owns one name, and refuses to know what it means.

use std::cell::Cell;

thread_local! {
    static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Whether this bug is on.
pub fn active(name: &str) -> bool {
    ON.get() == Some(name)
}

/// Switches one bug on, or none, for everything that this thread does from here on.
pub fn switch(name: Option<&'static str>) {
    ON.set(name);
}
