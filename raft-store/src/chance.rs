//! Every random number of this package comes from here, so that a simulated replica can be given its own.
//!
//! Owns the choice of the source. Numbers are for timers and names: nothing here guards a secret.

use std::hash::BuildHasher;

/// A random number.
pub(crate) fn number() -> u64 {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(number) = crate::simulation::chance() {
        return number;
    }
    // Keyed by the operating system once for each thread, and anew with each call.
    std::hash::RandomState::new().hash_one(0_u8)
}

/// A number that nobody else draws.
pub(crate) fn unique() -> u128 {
    #[cfg(any(test, feature = "simulation"))]
    if let (Some(high), Some(low)) = (crate::simulation::chance(), crate::simulation::chance()) {
        return (u128::from(high) << 64) | u128::from(low);
    }
    uuid::Uuid::new_v4().as_u128()
}

/// A name that nobody else draws.
pub(crate) fn name() -> String {
    uuid::Builder::from_random_bytes(unique().to_be_bytes()).into_uuid().to_string()
}

/// Whether everything around this replica is simulated; never in a program.
pub(crate) fn is_simulated() -> bool {
    #[cfg(any(test, feature = "simulation"))]
    return crate::simulation::is_simulated();
    #[cfg(not(any(test, feature = "simulation")))]
    false
}
