//! The static list of roles (`--roles`): who may use which. Checks only what Mesos checks: what frameworks subscribe to, quotas and
//! weights. What is reserved already, by whomever, is not looked at.

use tepui_proto::role;

use super::core::Master;
use crate::validation::Rejection;

impl Master {
    /// Refuses roles that are not on the list, if there is one.
    ///
    /// # Errors
    /// Names the field and the first such role.
    pub(super) fn check_listed<'a>(
        &self,
        field: &str,
        roles: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Rejection> {
        let Some(listed) = &self.config.roles else { return Ok(()) };
        let mut roles = roles.into_iter();
        match roles.find(|name| *name != role::ANY && !listed.contains(*name)) {
            Some(name) => Err(Rejection::new(format!(
                "'{field}' names role '{name}', which is not on the list of roles that this cluster allows (--roles)"
            ))),
            None => Ok(()),
        }
    }
}
