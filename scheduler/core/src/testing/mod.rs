//! Helps tests to tell a story: a `Master` whose log commits at once.
