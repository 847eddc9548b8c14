//! `/roles` in the form that pages read.

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
}

/// All roles, those above known ones included.
pub(super) fn roles(view: &ReadView) -> Roles {
    let roles = view::roles::roles(&view.registry, view.local.as_deref());
    let shown = roles.into_iter().map(|(name, role)| Role {
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
