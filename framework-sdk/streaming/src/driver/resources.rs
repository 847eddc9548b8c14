//! What an executor takes out of an offer.

use tepui_proto::resources::{Amount, Millis, Resources};
use tepui_sdk::v1;

use crate::job::Executors;

/// Returns the resources of one executor, taken from `offered`; `None` if there is not enough. Whatever is reserved for the
/// role is taken like the rest, revocable resources are left.
pub(super) fn take(offered: &Resources, executors: &Executors) -> Option<Resources> {
    let mut taken = Resources::new();
    let mem = Millis(i64::try_from(executors.mem_mib).ok()?.checked_mul(1000)?);
    for (name, wanted) in [("cpus", Millis::from_f64(executors.cpus)?), ("mem", mem)] {
        let mut left = wanted;
        for (identity, amount) in offered.iter() {
            let Amount::Scalar(there) = amount else { continue };
            if identity.name() != name || identity.is_revocable() || left <= Millis::ZERO {
                continue;
            }
            let part = left.min(*there);
            taken.insert(identity.clone(), Amount::Scalar(part));
            left -= part;
        }
        if left > Millis::ZERO {
            return None;
        }
    }
    Some(taken)
}

/// Returns the resources of a driver or executor before anybody has offered them.
pub(crate) fn scalars(cpus: f64, mem_mib: u64) -> Vec<v1::Resource> {
    let mem = i64::try_from(mem_mib).unwrap_or(i64::MAX).saturating_mul(1000);
    let cpus = Millis::from_f64(cpus).unwrap_or_default();
    Resources::from_scalars([("cpus", cpus), ("mem", Millis(mem))]).to_proto()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_from_several_pieces_or_nothing() {
        let executors = Executors { count: 1, cpus: 1.5, mem_mib: 64 };
        let offered = Resources::parse("cpus(web):1;cpus:1;mem:64;disk:100").unwrap();
        let taken = take(&offered, &executors).unwrap();
        assert_eq!((taken.scalar("cpus"), taken.scalar("mem")), (Millis(1500), Millis(64_000)));
        assert!(offered.contains(&taken));
        let left = offered.checked_sub(&taken).unwrap();
        assert_eq!(take(&left, &executors), None);
    }
}
