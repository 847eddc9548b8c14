//! Resources of records as amounts: without allocation, and never failing.

use tepui_proto::resources::Resources;
use tepui_proto::v1;

/// Reads resources of a record; what breaks a rule counts nothing, since a record cannot be sent back.
pub fn unallocated(resources: &[v1::Resource]) -> Resources {
    let read = Resources::from_proto(resources).unwrap_or_else(|_| {
        let single = resources.chunks(1).filter_map(|one| Resources::from_proto(one).ok());
        single.fold(Resources::new(), |sum, one| sum + &one)
    });
    read.unallocated()
}
