//! in preparation.
fn main() {}
