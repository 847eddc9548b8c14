//! The master itself as the operator API shows it.

use std::net::Ipv4Addr;

use tepui_proto::v1::master_info::{Capability, capability};
use tepui_proto::v1::{Address, MasterInfo, VersionInfo};
use tepui_scheduler_core::registry::LeaderRecord;

/// What clients of Mesos compare: three numbers of the protocol we speak, not of this product.
pub(crate) const MESOS_VERSION: &str = "1.11.0";

/// Our own version.
pub(crate) const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the masters can do beyond what all of Mesos' could.
const CAPABILITIES: [capability::Type; 3] =
    [capability::Type::AgentUpdate, capability::Type::AgentDraining, capability::Type::QuotaV2];

/// The names of what the masters can do.
pub(crate) fn capabilities() -> impl Iterator<Item = &'static str> {
    CAPABILITIES.iter().map(capability::Type::as_str_name)
}

/// The leading master in the protocol's form.
pub(crate) fn master_info(leader: &LeaderRecord) -> MasterInfo {
    // The old field holds an IPv4 address as it lies in memory in network byte order.
    let ip = leader.ip.parse::<Ipv4Addr>().map_or(0, |ip| u32::from_ne_bytes(ip.octets()));
    let port = i32::try_from(leader.port).unwrap_or_default();
    MasterInfo {
        id: Some(leader.master_id.clone()),
        ip: Some(ip),
        port: Some(leader.port),
        pid: Some(format!("master@{}:{}", leader.ip, leader.port)),
        hostname: Some(leader.hostname.clone()),
        version: Some(leader.version.clone()),
        address: Some(Address {
            hostname: Some(leader.hostname.clone()),
            ip: Some(leader.ip.clone()),
            port: Some(port),
        }),
        domain: leader.domain.clone(),
        capabilities: CAPABILITIES.iter().map(|kind| Capability { r#type: Some(*kind as i32) }).collect(),
    }
}

/// GET_VERSION.
pub(crate) fn version_info() -> VersionInfo {
    VersionInfo {
        version: Some(MESOS_VERSION.to_owned()),
        build_user: Some(format!("tepui {PRODUCT_VERSION}")),
        ..Default::default()
    }
}
