//! conformance: in preparation.
