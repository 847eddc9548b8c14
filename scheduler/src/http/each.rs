//! Lists that are made while they are written. Knows nothing of what is in them.

use serde::{Serialize, Serializer};

/// A list whose items are made while it is written, one at a time: nobody waits until all of them are there, and nothing holds them.
pub(crate) struct Each<F>(pub(crate) F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: Iterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}
