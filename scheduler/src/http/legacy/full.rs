//! Resources of an agent as whole messages, beside the sums: which are reserved, unreserved, in use, on offer.

use std::collections::BTreeMap;

use serde::Serialize;
use tepui_proto::resources::both_forms;
use tepui_proto::v1::Resource;

use crate::view::frameworks::reserved_role;

/// What `/slaves` shows in addition to `/state`.
#[derive(Serialize)]
pub(super) struct Full {
    reserved_resources_full: BTreeMap<String, Vec<Resource>>,
    unreserved_resources_full: Vec<Resource>,
    used_resources_full: Vec<Resource>,
    offered_resources_full: Vec<Resource>,
}

impl Full {
    pub(super) fn of(total: &[Resource], used: &[Resource], offered: &[Resource]) -> Full {
        let mut reserved: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
        let mut unreserved = Vec::new();
        for resource in total {
            match reserved_role(resource) {
                "*" => unreserved.push(both_forms(resource)),
                role => reserved.entry(role.to_owned()).or_default().push(both_forms(resource)),
            }
        }
        Full {
            reserved_resources_full: reserved,
            unreserved_resources_full: unreserved,
            used_resources_full: used.iter().map(both_forms).collect(),
            offered_resources_full: offered.iter().map(both_forms).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1::resource::ReservationInfo;

    use super::*;

    #[test]
    fn resources_are_split_by_role() {
        let with = |reservations| Resource { reservations, ..Default::default() };
        let reserved = ReservationInfo { role: Some("a".into()), ..Default::default() };
        let full = Full::of(&[with(vec![]), with(vec![reserved])], &[], &[]);
        assert_eq!(full.unreserved_resources_full.len(), 1);
        assert_eq!(full.reserved_resources_full["a"].len(), 1);
    }
}
