//! Operations on resources, in one line each.

use tepui_proto::v1::offer::Operation;
use tepui_proto::v1::offer::operation::{
    Create, Destroy, GrowVolume, Reserve, ShrinkVolume, Type, Unreserve,
};
use tepui_proto::v1::resource::disk_info::Persistence;
use tepui_proto::v1::resource::{DiskInfo, ReservationInfo, SharedInfo, reservation_info};
use tepui_proto::v1::value::Scalar;
use tepui_proto::v1::{OperationId, Resource, Volume, volume as mount};

use super::builders::resources;

/// These amounts, dynamically reserved for the roles one on top of the other.
pub fn reserved(text: &str, roles: &[&str]) -> Vec<Resource> {
    let mut list = resources(text);
    for one in &mut list {
        one.reservations.extend(roles.iter().map(|role| ReservationInfo {
            r#type: Some(reservation_info::Type::Dynamic as i32),
            role: Some((*role).to_owned()),
            ..Default::default()
        }));
    }
    list
}

/// A volume of so many megabytes, reserved for a role.
pub fn volume(megabytes: u32, role: &str, id: &str) -> Resource {
    let mut disk = reserved(&format!("disk:{megabytes}"), &[role]).remove(0);
    disk.disk = Some(DiskInfo {
        persistence: Some(Persistence { id: Some(id.to_owned()), principal: None }),
        volume: Some(Volume {
            container_path: Some("data".to_owned()),
            mode: Some(mount::Mode::Rw as i32),
            ..Default::default()
        }),
        source: None,
    });
    disk
}

/// The same volume for several users at a time.
pub fn shared(volume: Resource) -> Resource {
    Resource { shared: Some(SharedInfo {}), ..volume }
}

/// An operation with only a type.
pub fn operation(kind: Type) -> Operation {
    Operation { r#type: Some(kind as i32), ..Default::default() }
}

pub fn reserve(resources: Vec<Resource>) -> Operation {
    Operation { reserve: Some(Reserve { resources, source: Vec::new() }), ..operation(Type::Reserve) }
}

pub fn unreserve(resources: Vec<Resource>) -> Operation {
    Operation { unreserve: Some(Unreserve { resources }), ..operation(Type::Unreserve) }
}

pub fn create(volumes: Vec<Resource>) -> Operation {
    Operation { create: Some(Create { volumes }), ..operation(Type::Create) }
}

pub fn destroy(volumes: Vec<Resource>) -> Operation {
    Operation { destroy: Some(Destroy { volumes }), ..operation(Type::Destroy) }
}

pub fn grow(volume: Resource, addition: Resource) -> Operation {
    let grow = GrowVolume { volume: Some(volume), addition: Some(addition) };
    Operation { grow_volume: Some(grow), ..operation(Type::GrowVolume) }
}

pub fn shrink(volume: Resource, subtract: f64) -> Operation {
    let shrink = ShrinkVolume { volume: Some(volume), subtract: Some(Scalar { value: Some(subtract) }) };
    Operation { shrink_volume: Some(shrink), ..operation(Type::ShrinkVolume) }
}

/// The same with an id, so that its end is reported.
pub fn named(id: &str, operation: Operation) -> Operation {
    Operation { id: Some(OperationId { value: Some(id.to_owned()) }), ..operation }
}
