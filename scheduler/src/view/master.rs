//! The master itself as the operator API shows it.

use tepui_proto::origin::Origin;
use tepui_proto::v1::VersionInfo;
use tepui_proto::v1::master_info::capability;
pub(crate) use tepui_scheduler_core::master::view::{CAPABILITIES, master_info};

/// What clients of Mesos compare: three numbers of the protocol we speak, not of this product.
pub(crate) const MESOS_VERSION: &str = "1.11.0";

/// Our own version.
pub(crate) const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The names of what the masters can do.
pub(crate) fn capabilities() -> impl Iterator<Item = &'static str> {
    CAPABILITIES.iter().map(capability::Type::as_str_name)
}

/// GET_VERSION.
pub(crate) fn version_info(origin: Origin) -> VersionInfo {
    let mut info = VersionInfo {
        version: Some(MESOS_VERSION.to_owned()),
        build_user: Some(format!("tepui {PRODUCT_VERSION}")),
        ..Default::default()
    };
    origin.add_to_info(&mut info);
    info
}
