//! What operations make of an agent's resources. A *base* is what the agent itself has: static reservations stay, everything that an
//! operation has put on top is taken off.

use super::Resources;
use crate::v1::Resource;
use crate::v1::resource::{DiskInfo, reservation_info};

/// The same as a plain disk.
#[must_use]
pub fn without_volume(resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    resource.shared = None;
    resource.disk = resource.disk.and_then(|disk| disk.source).map(|source| DiskInfo {
        source: Some(source),
        persistence: None,
        volume: None,
    });
    resource
}

/// What the agent itself has of it.
#[must_use]
pub fn base(resource: &Resource) -> Resource {
    let mut resource = match &resource.disk {
        Some(disk) if disk.persistence.is_some() => without_volume(resource),
        _ => resource.clone(),
    };
    resource.reservations.retain(|one| one.r#type == Some(reservation_info::Type::Static as i32));
    resource
}

/// The resources of an agent that has `own` and on which `made` was made. What no longer finds a base is returned apart.
#[must_use]
pub fn apply_made(own: &Resources, made: &[Resource]) -> (Resources, Vec<Resource>) {
    let mut total = own.clone();
    let mut left = Vec::new();
    for one in made {
        let parts = (Resources::from_proto(&[base(one)]), Resources::from_proto(std::slice::from_ref(one)));
        match parts {
            (Ok(base), Ok(whole)) if total.contains(&base) => total = total.saturating_sub(&base) + &whole,
            _ => left.push(one.clone()),
        }
    }
    (total, left)
}
