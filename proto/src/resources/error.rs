//! What can be wrong with resources; always the sender's fault.

use crate::role::RoleError;

/// A resource that nobody can count with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("resource {index} ('{name}') is invalid: {problem}")]
pub struct ResourceError {
    /// Its place in the list.
    pub index: usize,
    /// Its name, as far as it has one.
    pub name: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The name is absent or empty.
    #[error("it has no name")]
    NoName,
    /// The type is absent, unknown, or TEXT.
    #[error("it has no type among SCALAR, RANGES and SET")]
    NoType,
    /// The member named by the type is absent, or another one is present.
    #[error("its value does not agree with its type")]
    WrongValue,
    /// Negative, infinite, not a number, or beyond all bounds.
    #[error("its scalar is negative, not finite or too large")]
    BadScalar,
    /// Positive, but nothing after rounding to thousandths.
    #[error("its scalar is positive but below 0.0005")]
    TooSmall,
    /// GPUs are whole.
    #[error("gpus come in whole numbers only")]
    PartOfGpu,
    /// A range that ends before it begins, or lacks an end.
    #[error("a range ends before it begins")]
    BadRange,
    /// Ranges of one resource that share a number.
    #[error("its ranges overlap")]
    OverlappingRanges,
    /// A name twice in one set.
    #[error("its set has a duplicate")]
    DuplicateInSet,
    /// `role` or `reservation` together with `reservations`.
    #[error("it uses the old and the new form of reservations at once")]
    TwoReservationForms,
    /// Not a role, or `*` where somebody must be named.
    #[error("{0}")]
    BadRole(#[from] RoleError),
    /// A reservation for `*`.
    #[error("it is reserved for '*'")]
    ReservedForNobody,
    /// A reservation without a type or a role.
    #[error("a reservation lacks its type or its role")]
    IncompleteReservation,
    /// STATIC on top of another reservation.
    #[error("only the first reservation can be STATIC")]
    StaticRefinement,
    /// A refinement for a role that is not below the previous one.
    #[error("a refined reservation is not for a role below '{0}'")]
    NotASubrole(String),
    /// `reservation` with what only a member of `reservations` has.
    #[error("'reservation' has a type or a role, which belong into 'reservations'")]
    MixedReservation,
    /// A source of no known type, or with a path where its type has none.
    #[error("the source of its disk has no known type, or a path or mount that its type does not have")]
    BadDiskSource,
    /// DiskInfo on something that is no disk.
    #[error("only disk can have DiskInfo")]
    NotADisk,
    /// Shared, but not a persistent volume.
    #[error("only persistent volumes can be shared")]
    NotShareable,
}

/// A text that is not a list of resources or attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// An item without `:`.
    #[error("'{0}' is not of the form name:value")]
    NoValue(String),
    /// The value cannot be read.
    #[error("'{item}': {problem}")]
    BadValue {
        /// The whole item.
        item: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The JSON form cannot be read.
    #[error("not a list of resources in JSON: {0}")]
    Json(String),
    /// Readable, but not acceptable.
    #[error(transparent)]
    Invalid(#[from] ResourceError),
}
