//! Whether an operation on resources makes sense, and what it turns into what. Whether those resources are there to be changed is
//! decided by whoever asks.
//!
//! A refusal becomes OPERATION_ERROR for a framework, and a 400 for an operator. All resources leave here with reservations as stacks
//! and without allocation.

use std::collections::BTreeSet;

use tepui_proto::resources::{Millis, ReservationKind, Resources};
use tepui_proto::v1::Resource;
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::offer::{Operation, operation};
use tepui_proto::v1::resource::{ReservationInfo, disk_info, reservation_info};
use tepui_proto::v1::value::Scalar;

use super::{Rejection, disks};
use crate::conversion::{self, less_reserved, without_volume};
use crate::registry::FrameworkRecord;

/// Who wants it.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// A framework that uses offers for this role.
    Framework { record: &'a FrameworkRecord, role: &'a str },
    /// An operator, as authenticated.
    Operator { principal: Option<&'a str> },
}

impl Asker<'_> {
    fn principal(&self) -> Option<&str> {
        match self {
            Self::Framework { record, .. } => record.info.as_ref()?.principal.as_deref(),
            Self::Operator { principal } => *principal,
        }
    }

    fn lacks(&self, capability: Capability) -> bool {
        matches!(self, Self::Framework { record, .. } if !record.can(capability))
    }
}

/// An operation that can be tried.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedOperation {
    pub consumed: Vec<Resource>,
    pub converted: Vec<Resource>,
    /// The result can be used by later operations of the same call.
    pub usable: bool,
}

/// Checks RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME and SHRINK_VOLUME.
///
/// # Errors
/// Names the first field that is wrong.
pub fn operation(operation: &Operation, asker: Asker<'_>) -> Result<CheckedOperation, Rejection> {
    use operation::Type;
    match operation.r#type() {
        Type::Reserve => {
            let it = operation.reserve.as_ref().ok_or_else(|| absent("reserve"))?;
            reserve(&it.resources, &it.source, asker)
        }
        Type::Unreserve => {
            let it = operation.unreserve.as_ref().ok_or_else(|| absent("unreserve"))?;
            unreserve(&it.resources, asker)
        }
        Type::Create => {
            let it = operation.create.as_ref().ok_or_else(|| absent("create"))?;
            create(&it.volumes, asker)
        }
        Type::Destroy => {
            let it = operation.destroy.as_ref().ok_or_else(|| absent("destroy"))?;
            destroy(&it.volumes, asker)
        }
        Type::GrowVolume => {
            let it = operation.grow_volume.as_ref().ok_or_else(|| absent("grow_volume"))?;
            let volume = one("grow_volume.volume", it.volume.as_ref(), asker)?;
            let addition = one("grow_volume.addition", it.addition.as_ref(), asker)?;
            grow(volume, addition)
        }
        Type::ShrinkVolume => {
            let it = operation.shrink_volume.as_ref().ok_or_else(|| absent("shrink_volume"))?;
            let volume = one("shrink_volume.volume", it.volume.as_ref(), asker)?;
            shrink(volume, it.subtract.as_ref())
        }
        Type::CreateDisk | Type::DestroyDisk => Err(Rejection::new(format!(
            "{} needs a resource provider, and this cluster has none",
            operation.r#type().as_str_name()
        ))),
        Type::Launch | Type::LaunchGroup | Type::Unknown => {
            Err(Rejection::new("'type' is not that of an operation on resources"))
        }
    }
}

fn absent(member: &str) -> Rejection {
    Rejection::new(format!("'{member}' is not set"))
}

fn reserve(list: &[Resource], source: &[Resource], asker: Asker<'_>) -> Result<CheckedOperation, Rejection> {
    let field = "reserve.resources";
    let resources = read(field, list, asker)?;
    for one in &resources {
        let bad = |problem: &str| Err(Rejection::new(format!("'{field}' has '{}' {problem}", one.name())));
        let Some(last) = one.reservations.last() else { return bad("without a reservation") };
        if last.r#type() != reservation_info::Type::Dynamic {
            return bad("that is not dynamically reserved");
        }
        if conversion::volume_name(one).is_some() {
            return bad("that is a volume");
        }
        if one.revocable.is_some() {
            return bad("that is revocable");
        }
        if let Asker::Framework { role, .. } = asker
            && last.role() != role
        {
            let problem = format!("reserved for role '{}' but the offers are for role '{role}'", last.role());
            return bad(&problem);
        }
        principal(field, asker, last.principal.as_deref())?;
    }
    if source.is_empty() {
        let consumed = resources.iter().map(less_reserved).collect();
        return Ok(CheckedOperation { consumed, converted: resources, usable: true });
    }
    if matches!(asker, Asker::Framework { .. }) {
        return Err(Rejection::new("'reserve.source' can only be used by operators"));
    }
    let source = read("reserve.source", source, asker)?;
    if source.iter().any(|one| conversion::volume_name(one).is_some() || one.revocable.is_some()) {
        return Err(Rejection::new("'reserve.source' has a volume or something revocable"));
    }
    let sums = (count("reserve.source", &source)?, count(field, &resources)?);
    if conversion::bases(&sums.0) != conversion::bases(&sums.1) {
        return Err(Rejection::new("'reserve.source' and 'reserve.resources' are not the same amounts"));
    }
    Ok(CheckedOperation { consumed: source, converted: resources, usable: true })
}

fn unreserve(list: &[Resource], asker: Asker<'_>) -> Result<CheckedOperation, Rejection> {
    let field = "unreserve.resources";
    let resources = read(field, list, asker)?;
    for one in &resources {
        let bad = |problem: &str| Err(Rejection::new(format!("'{field}' has '{}' {problem}", one.name())));
        let dynamic = |last: &ReservationInfo| last.r#type() == reservation_info::Type::Dynamic;
        if !one.reservations.last().is_some_and(dynamic) {
            return bad("that is not dynamically reserved");
        }
        if conversion::volume_name(one).is_some() {
            return bad("that is a volume, which must be destroyed first");
        }
    }
    let converted = resources.iter().map(less_reserved).collect();
    Ok(CheckedOperation { consumed: resources, converted, usable: true })
}

fn create(list: &[Resource], asker: Asker<'_>) -> Result<CheckedOperation, Rejection> {
    let field = "create.volumes";
    let volumes = read(field, list, asker)?;
    disks::volumes(field, &volumes)?;
    let mut seen = BTreeSet::new();
    for one in &volumes {
        let bad = |problem: &str| Err(Rejection::new(format!("'{field}' has '{}' {problem}", one.name())));
        let disk = one.disk.as_ref();
        let Some((persistence, mount)) =
            disk.and_then(|disk| disk.persistence.as_ref().zip(disk.volume.as_ref()))
        else {
            return bad("without 'disk.persistence' or 'disk.volume'");
        };
        if mount.image.is_some() || mount.source.is_some() {
            return bad("whose 'disk.volume' has an image or a source");
        }
        if let Err(problem) = disks::place(mount.container_path()) {
            return bad(&format!("whose 'disk.volume.container_path' {problem}"));
        }
        if one.shared.is_some() && asker.lacks(Capability::SharedResources) {
            return bad("that is shared, for a framework without SHARED_RESOURCES");
        }
        if !seen.insert(conversion::volume_name(one)) {
            return bad("with one 'disk.persistence.id' twice");
        }
        principal(field, asker, persistence.principal.as_deref())?;
    }
    let consumed = volumes.iter().map(without_volume).collect();
    Ok(CheckedOperation { consumed, converted: volumes, usable: true })
}

fn destroy(list: &[Resource], asker: Asker<'_>) -> Result<CheckedOperation, Rejection> {
    let volumes = read("destroy.volumes", list, asker)?;
    disks::volumes("destroy.volumes", &volumes)?;
    let converted = volumes.iter().map(without_volume).collect();
    Ok(CheckedOperation { consumed: volumes, converted, usable: true })
}

fn grow(volume: Resource, addition: Resource) -> Result<CheckedOperation, Rejection> {
    resizable("grow_volume.volume", &volume)?;
    if without_volume(&volume).disk != addition.disk
        || volume.reservations != addition.reservations
        || addition.name != volume.name
    {
        return Err(Rejection::new(
            "'grow_volume.addition' is not a disk of the volume's kind and reservation",
        ));
    }
    if addition.shared.is_some() || addition.revocable.is_some() || addition.provider_id.is_some() {
        return Err(Rejection::new("'grow_volume.addition' is shared, revocable or of a resource provider"));
    }
    let size = size("grow_volume.volume", &volume)? + size("grow_volume.addition", &addition)?;
    let grown = sized(&volume, size);
    Ok(CheckedOperation { consumed: vec![volume, addition], converted: vec![grown], usable: false })
}

fn shrink(volume: Resource, subtract: Option<&Scalar>) -> Result<CheckedOperation, Rejection> {
    resizable("shrink_volume.volume", &volume)?;
    let less = subtract.and_then(|subtract| Millis::from_f64(subtract.value())).unwrap_or_default();
    let size = size("shrink_volume.volume", &volume)?;
    if less <= Millis::ZERO {
        return Err(Rejection::new("'shrink_volume.subtract' is not positive"));
    }
    if less >= size {
        return Err(Rejection::new("'shrink_volume.subtract' leaves nothing of the volume"));
    }
    let converted = vec![sized(&volume, size - less), sized(&without_volume(&volume), less)];
    Ok(CheckedOperation { consumed: vec![volume], converted, usable: false })
}

fn resizable(field: &str, volume: &Resource) -> Result<(), Rejection> {
    let bad = |problem: &str| Err(Rejection::new(format!("'{field}' {problem}")));
    disks::volumes(field, std::slice::from_ref(volume))?;
    if volume.shared.is_some() {
        return bad("is shared");
    }
    if volume.provider_id.is_some() {
        return bad("is of a resource provider");
    }
    let source = volume.disk.as_ref().and_then(|disk| disk.source.as_ref());
    match source.map(disk_info::Source::r#type) {
        None | Some(disk_info::source::Type::Path) => Ok(()),
        Some(_) => bad("cannot be resized: only plain and PATH disks can"),
    }
}

fn size(field: &str, resource: &Resource) -> Result<Millis, Rejection> {
    let size = resource.scalar.as_ref().and_then(|scalar| Millis::from_f64(scalar.value()));
    size.filter(|size| *size > Millis::ZERO).ok_or_else(|| Rejection::new(format!("'{field}' is empty")))
}

fn sized(resource: &Resource, size: Millis) -> Resource {
    Resource { scalar: Some(Scalar { value: Some(size.to_f64()) }), ..resource.clone() }
}

fn one(field: &str, resource: Option<&Resource>, asker: Asker<'_>) -> Result<Resource, Rejection> {
    let resource = resource.ok_or_else(|| Rejection::new(format!("'{field}' is not set")))?;
    let mut list = read(field, std::slice::from_ref(resource), asker)?;
    list.pop().ok_or_else(|| Rejection::new(format!("'{field}' is empty")))
}

/// Reads resources in either form; for a framework they must be of the offers' role.
fn read(field: &str, list: &[Resource], asker: Asker<'_>) -> Result<Vec<Resource>, Rejection> {
    let invalid = |error| Rejection::new(format!("'{field}' is not valid: {error}"));
    let modern = conversion::modern(list).map_err(invalid)?;
    disks::disks(field, &modern)?;
    if count(field, &modern)?.is_empty() {
        return Err(Rejection::new(format!("'{field}' is empty")));
    }
    for (given, one) in list.iter().zip(&modern) {
        let allocated = given.allocation_info.as_ref().and_then(|info| info.role.as_deref());
        match (asker, allocated) {
            (Asker::Framework { role, .. }, Some(own)) if own != role => {
                return Err(Rejection::new(format!(
                    "'{field}' is allocated to role '{own}' but the offers are for role '{role}'"
                )));
            }
            (Asker::Operator { .. }, Some(_)) => {
                return Err(Rejection::new(format!(
                    "'{field}' is allocated, which an operator cannot ask for"
                )));
            }
            _ => {}
        }
        if one.reservations.len() > 1 && asker.lacks(Capability::ReservationRefinement) {
            return Err(Rejection::new(format!(
                "'{field}' has a refined reservation, for a framework without RESERVATION_REFINEMENT"
            )));
        }
        if one.provider_id.is_some() {
            return Err(Rejection::new(format!("'{field}' is of a resource provider, and there is none")));
        }
    }
    Ok(modern)
}

fn count(field: &str, list: &[Resource]) -> Result<Resources, Rejection> {
    Resources::from_proto(list).map_err(|error| Rejection::new(format!("'{field}' is not valid: {error}")))
}

/// Whoever is known by name must sign with it.
fn principal(field: &str, asker: Asker<'_>, signed: Option<&str>) -> Result<(), Rejection> {
    match (asker.principal(), signed) {
        (None, _) => Ok(()),
        (Some(own), Some(signed)) if own == signed => Ok(()),
        (Some(own), Some(signed)) => {
            Err(Rejection::new(format!("'{field}' names the principal '{signed}' but the caller is '{own}'")))
        }
        (Some(own), None) => {
            Err(Rejection::new(format!("'{field}' does not name the caller's principal '{own}'")))
        }
    }
}

/// Whether the resources that an agent has by itself are free of what only operations make.
///
/// # Errors
/// Names the field.
pub fn own_resources(field: &str, list: &[Resource]) -> Result<(), Rejection> {
    let resources = count(field, list)?;
    let made = resources.iter().find(|(identity, _)| {
        conversion::is_made(identity)
            || identity.reservations().iter().any(|one| one.kind == ReservationKind::Dynamic)
    });
    match made {
        None => Ok(()),
        Some((identity, _)) => Err(Rejection::new(format!(
            "'{field}' has '{}' that is dynamically reserved or a volume: those are made by operations",
            identity.name()
        ))),
    }
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
