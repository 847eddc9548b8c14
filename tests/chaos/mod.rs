//! chaos: in preparation.
