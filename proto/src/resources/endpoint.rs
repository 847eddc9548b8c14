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

/// Takes the old form away where it says the same as the new one, so that what an endpoint has shown can be sent back to one. A
/// resource whose two forms differ stays as it is, and is refused as any other with two.
pub fn one_form(resource: &mut Resource) {
    let [only] = resource.reservations.as_slice() else { return };
    let dynamic = only.r#type == Some(reservation_info::Type::Dynamic as i32);
    let old = ReservationInfo { role: None, r#type: None, ..only.clone() };
    let same_role = resource.role.is_some() && resource.role == only.role;
    if same_role && resource.reservation == dynamic.then_some(old) {
        (resource.role, resource.reservation) = (None, None);
    }
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

    #[test]
    fn what_was_shown_can_be_sent_back() {
        use reservation_info::Type::{Dynamic, Static};
        let with = |reservations| Resource { reservations, ..Default::default() };
        for kind in [Static, Dynamic] {
            let own = with(vec![reserved("a", kind)]);
            let mut back = both_forms(&own);
            assert_ne!(back, own);
            one_form(&mut back);
            assert_eq!(back, own);
            let mut contradiction = Resource { role: Some("b".into()), ..both_forms(&own) };
            let before = contradiction.clone();
            one_form(&mut contradiction);
            assert_eq!(contradiction, before);
        }
        let mut other = both_forms(&with(vec![reserved("a", Dynamic)]));
        other.reservation = Some(ReservationInfo { principal: Some("q".into()), ..Default::default() });
        let before = other.clone();
        one_form(&mut other);
        assert_eq!(other, before);
        let mut half = with(vec![reserved("a", Dynamic)]);
        half.role = Some("a".into());
        let before = half.clone();
        one_form(&mut half);
        assert_eq!(half, before, "a dynamic one has a role and a reservation, or neither");
    }
}
