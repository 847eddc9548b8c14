//! Resource lists as they are shown: sums of scalars for people, flat lists for messages.

use serde::Serialize;
use tepui_proto::v1::{Resource, value};

/// The scalars that every table shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Scalars {
    pub(crate) cpus: f64,
    /// Megabytes.
    pub(crate) mem: f64,
    /// Megabytes.
    pub(crate) disk: f64,
    pub(crate) gpus: f64,
}

/// Adds up the scalars in a list.
pub(crate) fn scalars<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Scalars {
    let mut sum = Scalars::default();
    for resource in resources {
        let Some(amount) = scalar(resource) else { continue };
        let slot = match resource.name.as_deref() {
            Some("cpus") => &mut sum.cpus,
            Some("mem") => &mut sum.mem,
            Some("disk") => &mut sum.disk,
            Some("gpus") => &mut sum.gpus,
            _ => continue,
        };
        *slot = round(*slot + amount);
    }
    sum
}

/// The amount of a scalar resource.
pub(crate) fn scalar(resource: &Resource) -> Option<f64> {
    (resource.r#type == Some(value::Type::Scalar as i32)).then(|| resource.scalar?.value).flatten()
}

/// Amounts have three decimals; without this, sums would show what binary fractions leave behind.
pub(crate) fn round(amount: f64) -> f64 {
    (amount * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, amount: f64) -> Resource {
        Resource {
            name: Some(name.into()),
            r#type: Some(value::Type::Scalar as i32),
            scalar: Some(value::Scalar { value: Some(amount) }),
            ..Default::default()
        }
    }

    #[test]
    fn scalars_are_summed_by_name_without_binary_dust() {
        let list =
            [resource("cpus", 0.1), resource("cpus", 0.2), resource("mem", 32.0), resource("bandwidth", 7.0)];
        assert_eq!(scalars(&list), Scalars { cpus: 0.3, mem: 32.0, ..Default::default() });
    }

    #[test]
    fn what_is_no_scalar_does_not_count() {
        let ports = Resource {
            name: Some("cpus".into()),
            r#type: Some(value::Type::Ranges as i32),
            ..Default::default()
        };
        assert_eq!(scalars(&[ports, Resource::default()]), Scalars::default());
    }
}
