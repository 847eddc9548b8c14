//! Resources as plain endpoints show whole messages. Owns the form with both ways to write a reservation, which nothing else accepts.

use crate::v1::Resource;
use crate::v1::resource::{ReservationInfo, reservation_info};

/// Old readers look at `role` and `reservation`, new ones at `reservations`; here, and only here, both are there. A refined
/// reservation has no old form.
#[must_use]
pub fn both_forms(resource: &Resource) -> Resource {
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
    }
}
