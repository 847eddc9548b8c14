//! From and to the protocol's messages, with the rules for what a peer may send.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::amount::Amount;
use super::collection::Resources;
use super::error::{Problem, ResourceError};
use super::identity::{Disk, Identity, Reservation, ReservationKind, ValueKind};
use super::millis::Millis;
use super::ranges::Ranges;
use crate::role;
use crate::v1::resource::{
    AllocationInfo, ReservationInfo, RevocableInfo, SharedInfo, disk_info, reservation_info,
};
use crate::v1::value::{self, Type};
use crate::v1::{Label, Labels, Resource, ResourceProviderId};

/// The two ways to write a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationFormat {
    /// A stack in `reservations`.
    Stack,
    /// `role` and `reservation`, for frameworks without RESERVATION_REFINEMENT. A refined reservation has no such form and
    /// stays a stack.
    Single,
}

impl Resources {
    /// Reads resources, in either form of reservations. Zero amounts are left out.
    ///
    /// # Errors
    /// The first resource that breaks a rule, and which one.
    pub fn from_proto(list: &[Resource]) -> Result<Self, ResourceError> {
        let mut resources = Self::new();
        for (index, proto) in list.iter().enumerate() {
            match read(proto) {
                Ok((identity, amount)) => resources.insert(identity, amount),
                Err(problem) => return Err(ResourceError { index, name: proto.name().to_owned(), problem }),
            }
        }
        Ok(resources)
    }

    /// Writes resources with reservations as stacks.
    #[must_use]
    pub fn to_proto(&self) -> Vec<Resource> {
        self.to_proto_in(ReservationFormat::Stack)
    }

    /// Writes resources in the form that the reader understands.
    #[must_use]
    pub fn to_proto_in(&self, format: ReservationFormat) -> Vec<Resource> {
        let mut list = Vec::new();
        for (identity, amount) in self.iter() {
            let frame = || frame(identity, format);
            let scalar = |millis: Millis| Resource {
                scalar: Some(value::Scalar { value: Some(millis.to_f64()) }),
                ..frame()
            };
            match amount {
                Amount::Scalar(millis) => list.push(scalar(*millis)),
                Amount::Ranges(ranges) => list.push(Resource { ranges: Some(ranges.to_proto()), ..frame() }),
                Amount::Set(names) => {
                    let set = value::Set { item: names.iter().cloned().collect() };
                    list.push(Resource { set: Some(set), ..frame() });
                }
                Amount::Pieces(pieces) => {
                    for (size, count) in pieces {
                        list.extend((0..*count).map(|_| scalar(*size)));
                    }
                }
            }
        }
        list
    }
}

impl Ranges {
    /// Writes the ranges.
    #[must_use]
    pub fn to_proto(&self) -> value::Ranges {
        let range = self.iter().map(|(begin, end)| value::Range { begin: Some(begin), end: Some(end) });
        value::Ranges { range: range.collect() }
    }
}

fn read(proto: &Resource) -> Result<(Identity, Amount), Problem> {
    let name = proto.name.as_deref().filter(|name| !name.is_empty()).ok_or(Problem::NoName)?;
    let kind = match proto.r#type.map(Type::try_from) {
        Some(Ok(Type::Scalar)) => ValueKind::Scalar,
        Some(Ok(Type::Ranges)) => ValueKind::Ranges,
        Some(Ok(Type::Set)) => ValueKind::Set,
        _ => return Err(Problem::NoType),
    };
    let disk = proto.disk.clone();
    if disk.is_some() && name != "disk" {
        return Err(Problem::NotADisk);
    }
    if let Some(source) = disk.as_ref().and_then(|disk| disk.source.as_ref()) {
        read_source(source)?;
    }
    let mut identity = Identity::plain(name, kind);
    identity.reservations = read_reservations(proto)?.into();
    identity.allocation_role = match proto.allocation_info.as_ref().and_then(|info| info.role.as_deref()) {
        Some(allocated) => {
            role::validate(allocated)?;
            Some(allocated.into())
        }
        None => None,
    };
    identity.disk = disk.map(Disk::new);
    identity.revocable = proto.revocable.is_some();
    identity.shared = proto.shared.is_some();
    identity.provider_id = proto.provider_id.as_ref().map(|id| id.value().into());
    if identity.shared && identity.persistence_id().is_none() {
        return Err(Problem::NotShareable);
    }
    let amount = read_amount(proto, &identity)?;
    Ok((identity, amount))
}

fn read_source(source: &disk_info::Source) -> Result<(), Problem> {
    use disk_info::source::Type;
    match source.r#type() {
        Type::Path | Type::Mount => Ok(()),
        Type::Block | Type::Raw if source.path.is_none() && source.mount.is_none() => Ok(()),
        Type::Block | Type::Raw | Type::Unknown => Err(Problem::BadDiskSource),
    }
}

fn read_amount(proto: &Resource, identity: &Identity) -> Result<Amount, Problem> {
    match (&proto.scalar, &proto.ranges, &proto.set) {
        (Some(scalar), None, None) if identity.kind == ValueKind::Scalar => {
            let millis = read_scalar(&identity.name, scalar.value.ok_or(Problem::WrongValue)?)?;
            if millis.is_zero() { Ok(Amount::empty(identity)) } else { Ok(Amount::scalar(identity, millis)) }
        }
        (None, Some(ranges), None) if identity.kind == ValueKind::Ranges => {
            read_ranges(ranges).map(Amount::Ranges)
        }
        (None, None, Some(set)) if identity.kind == ValueKind::Set => {
            let names: BTreeSet<String> = set.item.iter().cloned().collect();
            if names.len() == set.item.len() { Ok(Amount::Set(names)) } else { Err(Problem::DuplicateInSet) }
        }
        _ => Err(Problem::WrongValue),
    }
}

fn read_scalar(name: &str, units: f64) -> Result<Millis, Problem> {
    let millis = Millis::from_f64(units).filter(|_| units >= 0.0).ok_or(Problem::BadScalar)?;
    if units > 0.0 && millis.is_zero() {
        return Err(Problem::TooSmall);
    }
    if name == "gpus" && millis.0 % 1000 != 0 {
        return Err(Problem::PartOfGpu);
    }
    Ok(millis)
}

fn read_ranges(proto: &value::Ranges) -> Result<Ranges, Problem> {
    let mut ends = Vec::with_capacity(proto.range.len());
    for range in &proto.range {
        match (range.begin, range.end) {
            (Some(begin), Some(end)) if begin <= end => ends.push((begin, end)),
            _ => return Err(Problem::BadRange),
        }
    }
    ends.sort_unstable();
    if ends.windows(2).any(|pair| pair[0].1 >= pair[1].0) {
        return Err(Problem::OverlappingRanges);
    }
    Ok(Ranges::new(ends))
}

fn read_reservations(proto: &Resource) -> Result<Vec<Reservation>, Problem> {
    if proto.reservations.is_empty() {
        return read_old_reservation(proto);
    }
    if proto.role.is_some() || proto.reservation.is_some() {
        return Err(Problem::TwoReservationForms);
    }
    let mut stack: Vec<Reservation> = Vec::with_capacity(proto.reservations.len());
    for info in &proto.reservations {
        let kind = match info.r#type.map(reservation_info::Type::try_from) {
            Some(Ok(reservation_info::Type::Static)) => ReservationKind::Static,
            Some(Ok(reservation_info::Type::Dynamic)) => ReservationKind::Dynamic,
            _ => return Err(Problem::IncompleteReservation),
        };
        let reservation =
            read_reservation(kind, info.role.as_deref().ok_or(Problem::IncompleteReservation)?, Some(info))?;
        if let Some(below) = stack.last() {
            if kind == ReservationKind::Static {
                return Err(Problem::StaticRefinement);
            }
            if !role::is_strict_subrole(&reservation.role, &below.role) {
                return Err(Problem::NotASubrole(below.role.to_string()));
            }
        }
        stack.push(reservation);
    }
    Ok(stack)
}

/// A role alone is a static reservation, a role with `reservation` a dynamic one, `*` or nothing is none.
fn read_old_reservation(proto: &Resource) -> Result<Vec<Reservation>, Problem> {
    let info = proto.reservation.as_ref();
    match (proto.role.as_deref().unwrap_or(role::ANY), info) {
        (role::ANY, None) => Ok(Vec::new()),
        (role::ANY, Some(_)) => Err(Problem::ReservedForNobody),
        (role, None) => Ok(vec![read_reservation(ReservationKind::Static, role, None)?]),
        (_, Some(info)) if info.r#type.is_some() || info.role.is_some() => Err(Problem::MixedReservation),
        (role, Some(info)) => Ok(vec![read_reservation(ReservationKind::Dynamic, role, Some(info))?]),
    }
}

fn read_reservation(
    kind: ReservationKind,
    role: &str,
    info: Option<&ReservationInfo>,
) -> Result<Reservation, Problem> {
    if role == role::ANY {
        return Err(Problem::ReservedForNobody);
    }
    role::validate(role)?;
    let labels =
        info.and_then(|info| info.labels.as_ref()).map(|labels| labels.labels.as_slice()).unwrap_or_default();
    let mut labels: Vec<(String, Option<String>)> =
        labels.iter().map(|label| (label.key().to_owned(), label.value.clone())).collect();
    labels.sort_unstable();
    let principal = info.and_then(|info| info.principal.as_deref()).map(Arc::from);
    Ok(Reservation { kind, role: role.into(), principal, labels })
}

/// Everything of a resource but its value.
fn frame(identity: &Identity, format: ReservationFormat) -> Resource {
    let kind = match identity.kind {
        ValueKind::Scalar => Type::Scalar,
        ValueKind::Ranges => Type::Ranges,
        ValueKind::Set => Type::Set,
    };
    let mut proto = Resource {
        name: Some(identity.name.to_string()),
        r#type: Some(kind.into()),
        allocation_info: identity
            .allocation_role
            .as_ref()
            .map(|role| AllocationInfo { role: Some(role.to_string()) }),
        disk: identity.disk().cloned(),
        revocable: identity.revocable.then_some(RevocableInfo {}),
        shared: identity.shared.then_some(SharedInfo {}),
        provider_id: identity
            .provider_id
            .as_ref()
            .map(|id| ResourceProviderId { value: Some(id.to_string()) }),
        ..Default::default()
    };
    match (format, &*identity.reservations) {
        (ReservationFormat::Single, []) => proto.role = Some(role::ANY.to_owned()),
        (ReservationFormat::Single, [only]) => {
            proto.role = Some(only.role.to_string());
            let info = ReservationInfo { role: None, r#type: None, ..write_reservation(only) };
            proto.reservation = (only.kind == ReservationKind::Dynamic).then_some(info);
        }
        (_, stack) => proto.reservations = stack.iter().map(write_reservation).collect(),
    }
    proto
}

fn write_reservation(reservation: &Reservation) -> ReservationInfo {
    let kind = match reservation.kind {
        ReservationKind::Static => reservation_info::Type::Static,
        ReservationKind::Dynamic => reservation_info::Type::Dynamic,
    };
    let labels =
        reservation.labels.iter().map(|(key, value)| Label { key: Some(key.clone()), value: value.clone() });
    ReservationInfo {
        r#type: Some(kind.into()),
        role: Some(reservation.role.to_string()),
        principal: reservation.principal.as_ref().map(ToString::to_string),
        labels: (!reservation.labels.is_empty()).then(|| Labels { labels: labels.collect() }),
    }
}

#[cfg(test)]
mod tests;
