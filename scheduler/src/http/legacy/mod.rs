//! The plain endpoints that monitoring tools and user interfaces still read: `/version`, `/state` and its parts. Their field
//! names are Mesos' and do not follow the v1 messages.

mod endpoint;
mod framework;
mod full;
mod records;
mod roles;
pub(crate) mod settings;
mod snapshot;
mod state;
mod summary;

pub(crate) use endpoint::{handle, numbers, version};
pub(crate) use snapshot::metrics_snapshot;
