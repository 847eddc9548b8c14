//! Laws of the arithmetic, over random collections.

use proptest::prelude::*;

use super::{Millis, Resources};
use crate::v1;

/// Collections in which the same identities turn up often; `side` keeps ranges and sets of two collections disjoint.
fn some(side: u64) -> impl Strategy<Value = Resources> {
    let role = prop::sample::select(vec!["*", "web", "web/api"]);
    let name = prop::sample::select(vec!["cpus", "mem", "x"]);
    let scalars = prop::collection::vec((name, role.clone(), 0u32..5_000), 0..6);
    let ports = prop::collection::vec(0u64..40, 0..10);
    let names = prop::collection::vec(0u64..10, 0..4);
    let allocated = prop::option::of(prop::sample::select(vec!["web", "db"]));
    (scalars, ports, names, allocated, role).prop_map(move |(scalars, ports, names, allocated, role)| {
        let mut text: Vec<String> = scalars
            .into_iter()
            .map(|(name, role, millis)| format!("{name}({role}):{}", Millis(millis.into())))
            .collect();
        for port in ports {
            let port = port * 2 + side;
            text.push(format!("ports({role}):[{port}-{port}]"));
        }
        text.extend(names.into_iter().map(|name| format!("zones:{{{}}}", name * 2 + side)));
        let resources = Resources::parse(&text.join(";")).unwrap();
        allocated.map_or_else(|| resources.clone(), |role| resources.allocate(role))
    })
}

proptest! {
    #[test]
    fn addition_commutes_and_associates(a in some(0), b in some(1), c in some(0)) {
        prop_assert_eq!(&a + &b, &b + &a);
        prop_assert_eq!(&(&a + &b) + &c, &a + &(&b + &c));
        prop_assert_eq!(&a + &Resources::new(), a);
    }

    #[test]
    fn what_was_added_can_be_taken_away(a in some(0), b in some(1)) {
        let sum = &a + &b;
        prop_assert!(sum.contains(&a) && sum.contains(&b));
        prop_assert_eq!(sum.checked_sub(&b), Some(a.clone()));
        prop_assert_eq!(sum.saturating_sub(&a), b);
    }

    #[test]
    fn containment_and_subtraction_agree(a in some(0), b in some(0)) {
        prop_assert_eq!(a.contains(&b), a.checked_sub(&b).is_some());
        if let Some(rest) = a.checked_sub(&b) {
            prop_assert!(a.contains(&rest));
            prop_assert_eq!(&rest + &b, a.clone());
        }
        let rest = a.saturating_sub(&b);
        prop_assert!(a.contains(&rest));
        prop_assert!(a.checked_sub(&a).unwrap().is_empty());
        prop_assert_eq!(a.is_empty(), Resources::new().contains(&a));
    }

    #[test]
    fn sums_of_scalars_are_exact(a in some(0), b in some(1)) {
        let sum = &a + &b;
        for (name, millis) in sum.scalars() {
            prop_assert_eq!(a.scalar(&name) + b.scalar(&name), millis);
            prop_assert_eq!(sum.scalar(&name), millis);
        }
    }

    #[test]
    fn messages_and_texts_read_back(a in some(0)) {
        prop_assert_eq!(&Resources::from_proto(&a.to_proto()).unwrap(), &a);
        let mut backwards = a.to_proto();
        backwards.reverse();
        prop_assert_eq!(&Resources::from_proto(&backwards).unwrap(), &a);
        let plain = a.unallocated();
        prop_assert_eq!(&Resources::parse(&plain.to_string()).unwrap(), &plain);
        prop_assert_eq!(&a.allocate("r").unallocated(), &plain);
    }

    #[test]
    fn any_scalar_is_counted_or_refused(value in any::<f64>(), text in "[a-z:;(){}\\[\\]0-9,.*-]{0,40}") {
        let resource = v1::Resource {
            name: Some("cpus".into()),
            r#type: Some(v1::value::Type::Scalar.into()),
            scalar: Some(v1::value::Scalar { value: Some(value) }),
            ..Default::default()
        };
        if let Ok(resources) = Resources::from_proto(&[resource]) {
            prop_assert!((resources.scalar("cpus").to_f64() - value).abs() <= 0.000_51 + value.abs() * 1e-12);
        }
        let _ = Resources::parse(&text);
    }
}
