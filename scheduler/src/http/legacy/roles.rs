//! `/roles` in the form that pages read.

use std::collections::BTreeMap;

use serde::Serialize;

use super::records::Amounts;
use crate::runtime::reads::ReadView;
use crate::view;

#[derive(Serialize)]
pub(super) struct Roles {
    roles: Vec<Role>,
}

#[derive(Serialize)]
struct Role {
    name: String,
    weight: f64,
    frameworks: Vec<String>,
    /// What is allocated and what is offered.
    resources: Amounts,
    allocated: Amounts,
    offered: Amounts,
    reserved: Amounts,
    quota: Quota,
}

/// Empty amounts where no quota is set, so that pages need not ask for it.
#[derive(Serialize)]
struct Quota {
    role: String,
    guarantee: BTreeMap<String, f64>,
    limit: BTreeMap<String, f64>,
    consumed: Amounts,
}

/// All roles, those above known ones included.
pub(super) fn roles(view: &ReadView) -> Roles {
    let roles = view::roles::roles(&view.registry, view.local.as_deref());
    let shown = roles.into_iter().map(|(name, role)| Role {
        quota: quota(view, &name, &role),
        name,
        weight: role.weight,
        frameworks: role.frameworks.iter().map(|id| id.as_str().to_owned()).collect(),
        resources: Amounts::of(role.allocated.iter().chain(&role.offered)),
        allocated: Amounts::of(&role.allocated),
        offered: Amounts::of(&role.offered),
        reserved: Amounts::of(&role.reserved),
    });
    Roles { roles: shown.collect() }
}

fn quota(view: &ReadView, name: &str, role: &view::roles::Role) -> Quota {
    let set = view.registry.quotas.get(name);
    Quota {
        role: name.to_owned(),
        guarantee: set.map(|set| view::settings::numbers(&set.guarantees)).unwrap_or_default(),
        limit: set.map(|set| view::settings::numbers(&set.limits)).unwrap_or_default(),
        consumed: Amounts::of(role.consumed()),
    }
}
