//! harness: in preparation.
