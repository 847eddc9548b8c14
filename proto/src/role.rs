//! Role names: a tree of components separated by slashes, or `*` for what belongs to nobody.

/// The role of unreserved resources.
pub const ANY: &str = "*";

/// Why a text cannot be a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// No text at all.
    #[error("role is empty")]
    Empty,
    /// A slash at the beginning or the end, or two in a row.
    #[error("role '{0}' has an empty component")]
    EmptyComponent(String),
    /// `.`, `..`, or `*` below or above another component.
    #[error("role '{role}' has the reserved component '{component}'")]
    Reserved {
        /// The whole role.
        role: String,
        /// The offending part.
        component: String,
    },
    /// A component that looks like a flag.
    #[error("role '{0}' has a component that begins with '-'")]
    Dash(String),
    /// Whitespace or a control character.
    #[error("role {role:?} contains {character:?}")]
    Character {
        /// The whole role.
        role: String,
        /// The offending character.
        character: char,
    },
}

/// Checks the syntax of a role.
///
/// # Errors
/// The first rule that is broken.
pub fn validate(role: &str) -> Result<(), RoleError> {
    if role == ANY {
        return Ok(());
    }
    if role.is_empty() {
        return Err(RoleError::Empty);
    }
    if let Some(character) = role.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(RoleError::Character { role: role.to_owned(), character });
    }
    for component in role.split('/') {
        match component {
            "" => return Err(RoleError::EmptyComponent(role.to_owned())),
            "." | ".." | ANY => {
                return Err(RoleError::Reserved { role: role.to_owned(), component: component.to_owned() });
            }
            _ if component.starts_with('-') => return Err(RoleError::Dash(role.to_owned())),
            _ => {}
        }
    }
    Ok(())
}

/// Tells whether `role` lies strictly below `ancestor` in the tree.
#[must_use]
pub fn is_strict_subrole(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// Returns the role directly above, if there is one.
#[must_use]
pub fn parent(role: &str) -> Option<&str> {
    role.rsplit_once('/').map(|(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_rules() {
        for good in ["*", "a", "a/b/c", "a-b", "ü", "a.b", "a*"] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/*", "*/a", "-a", "a/-b", "a b", "a\tb",
            "a\u{8}", "a\u{7f}",
        ] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn subroles() {
        assert!(is_strict_subrole("a/b", "a"));
        assert!(is_strict_subrole("a/b/c", "a/b"));
        for (role, ancestor) in [("a", "a"), ("ab", "a"), ("a", "a/b"), ("a/", "a")] {
            assert!(!is_strict_subrole(role, ancestor), "{role} {ancestor}");
        }
        assert_eq!(parent("a/b/c"), Some("a/b"));
        assert_eq!(parent("a"), None);
    }
}
