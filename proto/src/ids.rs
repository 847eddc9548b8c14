//! Identifiers as checked-later string newtypes, cheap to clone and ordered, so that one kind is never taken for another.
//!
//! Owns the conversions from and to the protocol's id messages and the rule for what an id may look like. Does not mint ids.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::v1;

/// Longest id in bytes: it becomes a file name in a sandbox path.
pub const MAX_ID_BYTES: usize = 255;

/// Why a text cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No text at all.
    #[error("id is empty")]
    Empty,
    /// More than [`MAX_ID_BYTES`].
    #[error("id has {0} bytes, more than {MAX_ID_BYTES}")]
    TooLong(usize),
    /// `.` or `..`, which mean other folders.
    #[error("id is '.' or '..'")]
    Dots,
    /// A slash, a backslash or a control character.
    #[error("id contains {0:?}")]
    Character(char),
}

/// Checks the rules for task, executor, agent, framework and persistence ids.
///
/// # Errors
/// The first rule that is broken.
pub fn validate_id(id: &str) -> Result<(), IdError> {
    match id {
        "" => return Err(IdError::Empty),
        "." | ".." => return Err(IdError::Dots),
        _ => {}
    }
    if id.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong(id.len()));
    }
    match id.chars().find(|c| matches!(c, '/' | '\\') || c.is_control()) {
        Some(c) => Err(IdError::Character(c)),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $proto:ident $(, $extra:ident)*) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps any text; see [`validate_id`] for what is acceptable from a peer.
            pub fn new(value: impl Into<Arc<str>>) -> Self {
                Self(value.into())
            }

            /// Returns the text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the protocol's message for this id.
            #[must_use]
            pub fn to_proto(&self) -> v1::$proto {
                v1::$proto { value: Some(self.0.to_string()) $(, $extra: None)* }
            }

            /// Checks this id against [`validate_id`].
            ///
            /// # Errors
            /// The first rule that is broken.
            pub fn validate(&self) -> Result<(), IdError> {
                validate_id(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.into())
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value.into())
            }
        }

        impl From<&v1::$proto> for $name {
            fn from(proto: &v1::$proto) -> Self {
                Self(proto.value().into())
            }
        }

        impl From<v1::$proto> for $name {
            fn from(proto: v1::$proto) -> Self {
                Self::from(&proto)
            }
        }

        impl From<&$name> for v1::$proto {
            fn from(id: &$name) -> Self {
                id.to_proto()
            }
        }

        impl From<$name> for v1::$proto {
            fn from(id: $name) -> Self {
                id.to_proto()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

id!(
    /// A framework; given by the master, or chosen by the framework itself.
    FrameworkId, FrameworkId
);
id!(
    /// An agent; given by the master.
    AgentId, AgentId
);
id!(
    /// An offer; valid under one leadership only.
    OfferId, OfferId
);
id!(
    /// A task; chosen by its framework and unique within it.
    TaskId, TaskId
);
id!(
    /// An executor; chosen by its framework and unique per agent.
    ExecutorId, ExecutorId
);
id!(
    /// A top-level container; chosen by the agent. The parent of a nested container is not part of it.
    ContainerId, ContainerId, parent
);
id!(
    /// An operation that its framework wants to hear about.
    OperationId, OperationId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_rules() {
        for good in ["a", "j:t:n", "with.dots", "...", "ü", &"x".repeat(255), "a b"] {
            assert_eq!(validate_id(good), Ok(()), "{good}");
        }
        let cases = [
            ("", IdError::Empty),
            (".", IdError::Dots),
            ("..", IdError::Dots),
            ("a/b", IdError::Character('/')),
            ("a\\b", IdError::Character('\\')),
            ("a\nb", IdError::Character('\n')),
            ("a\u{7f}", IdError::Character('\u{7f}')),
        ];
        for (bad, error) in cases {
            assert_eq!(validate_id(bad), Err(error), "{bad:?}");
        }
        assert_eq!(validate_id(&"x".repeat(256)), Err(IdError::TooLong(256)));
        assert_eq!(validate_id(&"é".repeat(128)), Err(IdError::TooLong(256)), "bytes count, not characters");
    }

    #[test]
    fn ids_cross_the_protocol_unchanged() {
        let id = ContainerId::from("c-1");
        let proto = v1::ContainerId::from(&id);
        assert_eq!(proto.value(), "c-1");
        assert_eq!(ContainerId::from(proto), id);
        assert_eq!(id.to_string(), "c-1");
        assert_eq!(format!("{id:?}"), "ContainerId(c-1)");
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ContainerId>(&text).unwrap(), id);
    }
}
