//! Which roles want no offers, so that a new subscription says so from the start.

use std::collections::BTreeSet;

use crate::v1;

/// The framework's roles and those that are suppressed.
#[derive(Debug, Clone)]
pub(super) struct Roles {
    all: BTreeSet<String>,
    suppressed: BTreeSet<String>,
}

impl Roles {
    pub(super) fn new(framework: &v1::FrameworkInfo, suppressed: &[String]) -> Self {
        let all = if framework.roles.is_empty() {
            BTreeSet::from([framework.role.clone().unwrap_or_else(|| "*".to_owned())])
        } else {
            framework.roles.iter().cloned().collect()
        };
        Roles { all, suppressed: suppressed.iter().cloned().collect() }
    }

    /// No role named means all of them.
    pub(super) fn suppress(&mut self, roles: &[String]) {
        if roles.is_empty() {
            self.suppressed = self.all.clone();
        } else {
            self.suppressed.extend(roles.iter().filter(|role| self.all.contains(*role)).cloned());
        }
    }

    /// No role named means all of them.
    pub(super) fn revive(&mut self, roles: &[String]) {
        if roles.is_empty() {
            self.suppressed.clear();
        } else {
            self.suppressed.retain(|role| !roles.contains(role));
        }
    }

    pub(super) fn suppressed(&self) -> Vec<String> {
        self.suppressed.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_all_and_strangers_are_ignored() {
        let framework = v1::FrameworkInfo { roles: vec!["a".into(), "b".into()], ..Default::default() };
        let mut roles = Roles::new(&framework, &[]);
        roles.suppress(&["b".into(), "z".into()]);
        assert_eq!(roles.suppressed(), ["b"]);
        roles.suppress(&[]);
        assert_eq!(roles.suppressed(), ["a", "b"]);
        roles.revive(&["a".into()]);
        assert_eq!(roles.suppressed(), ["b"]);
        roles.revive(&[]);
        assert_eq!(roles.suppressed(), [""; 0]);
    }

    #[test]
    fn a_framework_without_roles_has_the_default_one() {
        let mut roles = Roles::new(&v1::FrameworkInfo::default(), &[]);
        roles.suppress(&[]);
        assert_eq!(roles.suppressed(), ["*"]);
    }
}
