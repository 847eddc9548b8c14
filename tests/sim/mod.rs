//! sim: in preparation.
