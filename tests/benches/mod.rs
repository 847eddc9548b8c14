//! benches: in preparation.
