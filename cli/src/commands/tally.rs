//! Sums over what the masters answer.

use std::collections::BTreeMap;

use tepui_proto::resources::Resources;
use tepui_sdk::v1;

use crate::output::{megabytes, quantity};

/// Scalars by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scalars(BTreeMap<String, f64>);

impl Scalars {
    pub(crate) fn of(resources: &[v1::Resource]) -> Self {
        let mut scalars = Scalars::default();
        scalars.add(resources);
        scalars
    }

    pub(crate) fn add(&mut self, resources: &[v1::Resource]) {
        // What the masters answer is well-formed; anything else counts as nothing.
        let resources = Resources::from_proto(resources).unwrap_or_default();
        for (name, amount) in resources.scalars() {
            *self.0.entry(name.to_string()).or_default() += amount.to_f64();
        }
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Writes `used/total` of one resource.
    pub(crate) fn share(&self, total: &Scalars, name: &str) -> String {
        format!("{}/{}", amount(name, self.get(name)), amount(name, total.get(name)))
    }

    pub(crate) fn amount(&self, name: &str) -> String {
        amount(name, self.get(name))
    }
}

fn amount(name: &str, value: f64) -> String {
    match name {
        "mem" | "disk" => megabytes(value),
        _ => quantity(value),
    }
}

/// Returns the roles of a framework.
pub(crate) fn roles(framework: &v1::FrameworkInfo) -> String {
    match framework.roles.as_slice() {
        [] => framework.role.clone().unwrap_or_else(|| "*".to_owned()),
        roles => roles.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_in_units() {
        let total = Scalars::of(&Resources::parse("cpus:4;mem:2048;ports:[1-2]").unwrap().to_proto());
        let mut used = Scalars::of(&Resources::parse("cpus:0.5;mem:512").unwrap().to_proto());
        used.add(&Resources::parse("cpus:0.5").unwrap().to_proto());
        assert_eq!(used.share(&total, "cpus"), "1/4");
        assert_eq!(used.share(&total, "mem"), "512 MiB/2 GiB");
        assert_eq!(used.share(&total, "gpus"), "0/0");
    }
}
