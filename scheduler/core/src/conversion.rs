//! What reservations and volumes are made of: resources as messages, taken apart and put together again.
//!
//! Pure functions. A *base* is what the agent itself has: static reservations stay, everything that an operation has put on top
//! is taken off. No conversion changes the sum of the bases, which is the law that keeps anybody from making resources up.

use std::collections::BTreeMap;

use tepui_proto::resources::{Amount, Identity, ResourceError, Resources};
pub use tepui_proto::resources::{apply_made, base, without_volume};
use tepui_proto::v1::resource::{ReservationInfo, reservation_info};
use tepui_proto::v1::{Resource, resource};

/// Reservations in the modern form, checked, without the allocation.
///
/// # Errors
/// The first resource that breaks a rule.
pub fn modern(list: &[Resource]) -> Result<Vec<Resource>, ResourceError> {
    Resources::from_proto(list)?;
    let mut list = list.to_vec();
    for resource in &mut list {
        modernise(resource);
        resource.allocation_info = None;
    }
    Ok(list)
}

/// Writes `role` and `reservation` as a stack, in place.
pub fn modernise(resource: &mut Resource) {
    let (role, old) = (resource.role.take(), resource.reservation.take());
    let Some(role) = role.filter(|role| role != tepui_proto::role::ANY) else { return };
    if !resource.reservations.is_empty() {
        return;
    }
    let kind = match old {
        Some(_) => reservation_info::Type::Dynamic,
        None => reservation_info::Type::Static,
    };
    resource.reservations =
        vec![ReservationInfo { r#type: Some(kind as i32), role: Some(role), ..old.unwrap_or_default() }];
}

/// The same without its last reservation.
pub fn less_reserved(resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    resource.reservations.pop();
    resource
}

/// The sum of the bases; nothing if they cannot be counted with.
pub fn bases(resources: &Resources) -> Option<Resources> {
    let list: Vec<Resource> = resources.to_proto().iter().map(base).collect();
    Resources::from_proto(&list).ok()
}

/// Whether an operation made it what it is, so that the agent must be told of it.
pub fn is_made(identity: &Identity) -> bool {
    identity.is_dynamically_reserved() || identity.persistence_id().is_some()
}

/// The part of an agent's resources that operations made.
pub fn made(total: &Resources) -> Resources {
    total.filter(is_made)
}

/// Role and id of a volume: its name on an agent.
pub type VolumeName = (String, String);

/// The volumes in it, and how many of each.
pub fn volumes(resources: &Resources) -> BTreeMap<VolumeName, u64> {
    let mut found = BTreeMap::new();
    for (identity, amount) in resources.iter() {
        let Some(id) = identity.persistence_id() else { continue };
        let role = identity.reservation_role().unwrap_or(tepui_proto::role::ANY);
        let count = match amount {
            Amount::Pieces(pieces) => pieces.values().sum(),
            Amount::Scalar(_) | Amount::Ranges(_) | Amount::Set(_) => 1,
        };
        *found.entry((role.to_owned(), id.to_owned())).or_default() += count;
    }
    found
}

/// Role and id of the volume that this is, if it is one.
pub fn volume_name(resource: &Resource) -> Option<VolumeName> {
    let id = resource.disk.as_ref()?.persistence.as_ref()?.id.clone()?;
    let role = resource.reservations.last().and_then(|one| one.role.clone());
    Some((role.unwrap_or_else(|| tepui_proto::role::ANY.to_owned()), id))
}

/// Allocates each to a role.
pub fn allocated(list: &[Resource], role: &str) -> Vec<Resource> {
    let mut list = list.to_vec();
    for one in &mut list {
        one.allocation_info = Some(resource::AllocationInfo { role: Some(role.to_owned()) });
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(name: &str, amount: f64, roles: &[&str]) -> Resource {
        let mut one = Resources::parse(&format!("{name}:{amount}")).unwrap().to_proto().remove(0);
        one.reservations = roles
            .iter()
            .map(|role| ReservationInfo {
                r#type: Some(reservation_info::Type::Dynamic as i32),
                role: Some((*role).to_owned()),
                ..Default::default()
            })
            .collect();
        one
    }

    #[test]
    fn the_old_form_becomes_a_stack_and_both_forms_at_once_are_refused() {
        let old = |role: &str, info: Option<ReservationInfo>| Resource {
            role: Some(role.to_owned()),
            reservation: info,
            ..reserved("cpus", 1.0, &[])
        };
        let by = ReservationInfo { principal: Some("p".to_owned()), ..Default::default() };
        let list = modern(&[old("*", None), old("a", None), old("a", Some(by))]).unwrap();
        assert!(list[0].reservations.is_empty() && list[0].role.is_none());
        assert_eq!(list[1].reservations[0].r#type(), reservation_info::Type::Static);
        assert_eq!(list[2].reservations[0].r#type(), reservation_info::Type::Dynamic);
        assert_eq!(list[2].reservations[0].principal(), "p");
        assert_eq!(list[2].reservations[0].role(), "a");
        let both = Resource { role: Some("a".to_owned()), ..reserved("cpus", 1.0, &["a"]) };
        assert!(modern(&[both]).is_err());
    }

    #[test]
    fn bases_keep_static_reservations_and_made_finds_its_base_again() {
        let own = Resources::parse("cpus:4;cpus(a):2;disk:100").unwrap();
        let refined = {
            let mut one = Resources::parse("cpus(a):1").unwrap().to_proto().remove(0);
            one.reservations.extend(reserved("cpus", 1.0, &["a/b"]).reservations);
            one
        };
        let list = [reserved("cpus", 3.0, &["b"]), refined, reserved("disk", 101.0, &["b"])];
        let (total, left) = apply_made(&own, &list);
        assert_eq!(left, [list[2].clone()], "there is no such disk");
        assert_eq!(bases(&total), Some(own));
        assert_eq!(made(&total).scalar("cpus").to_f64(), 4.0);
        assert_eq!(total.unreserved().scalar("cpus").to_f64(), 1.0);
    }
}
