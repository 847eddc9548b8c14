//! in preparation.
