//! Resources of an agent as whole messages, beside the sums: which are reserved, unreserved, in use, on offer.

use std::collections::BTreeMap;

use serde::Serialize;
use tepui_proto::v1::Resource;
use tepui_proto::v1::resource::{ReservationInfo, reservation_info};

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

/// Old readers look at `role` and `reservation`, new ones at `reservations`; here, and only here, both are there. A refined
/// reservation has no old form.
fn both_forms(resource: &Resource) -> Resource {
    let mut shown = resource.clone();
    if let [only] = resource.reservations.as_slice() {
        shown.role.clone_from(&only.role);
        if only.r#type == Some(reservation_info::Type::Dynamic as i32) {
            let (principal, labels) = (only.principal.clone(), only.labels.clone());
            shown.reservation = Some(ReservationInfo { principal, labels, ..Default::default() });
        }
    } else if resource.reservations.is_empty() && resource.role.is_none() {
        shown.role = Some("*".to_owned());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(role: &str, kind: reservation_info::Type) -> ReservationInfo {
        ReservationInfo {
            r#type: Some(kind as i32),
            role: Some(role.into()),
            principal: Some("p".into()),
            ..Default::default()
        }
    }

    #[test]
    fn reservations_are_shown_in_both_forms() {
        use reservation_info::Type::{Dynamic, Static};
        let with = |reservations| Resource { reservations, ..Default::default() };
        let plain = both_forms(&with(vec![]));
        assert_eq!((plain.role.as_deref(), plain.reservation), (Some("*"), None));
        let fixed = both_forms(&with(vec![reserved("a", Static)]));
        assert_eq!((fixed.role.as_deref(), fixed.reservation), (Some("a"), None));
        let dynamic = both_forms(&with(vec![reserved("a", Dynamic)]));
        assert_eq!(dynamic.reservation.and_then(|one| one.principal).as_deref(), Some("p"));
        let refined = both_forms(&with(vec![reserved("a", Dynamic), reserved("a/b", Dynamic)]));
        assert_eq!((refined.role, refined.reservation), (None, None));
        let full = Full::of(&[with(vec![]), with(vec![reserved("a", Static)])], &[], &[]);
        assert_eq!(full.unreserved_resources_full.len(), 1);
        assert_eq!(full.reserved_resources_full["a"].len(), 1);
    }
}
