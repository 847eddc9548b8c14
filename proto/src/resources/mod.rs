//! Arithmetic over resources: one normalised collection that masters, agents and frameworks all count with.
//!
//! Owns what makes two amounts of one name the same thing (`Identity`), fixed-point scalars, coalescing ranges, sets, the
//! rules for what a peer may send, and the text form of flags. Does not know who holds what.
//!
//! ```text
//! [v1::Resource] --from_proto (rules)--> Resources { Identity → Amount } --to_proto--> [v1::Resource]
//!  "cpus:4;mem:1024" --parse-----------^                                 --Display--> "cpus:4;mem:1024"
//! ```

mod amount;
mod collection;
mod convert;
mod endpoint;
mod error;
mod identity;
mod made;
mod millis;
#[cfg(test)]
mod properties;
mod ranges;
mod text;

pub use amount::Amount;
pub use collection::Resources;
pub use convert::ReservationFormat;
pub use endpoint::{both_forms, one_form};
pub use error::{Problem, ResourceError, TextError};
pub use identity::{Identity, Reservation, ReservationKind, ValueKind};
pub use made::{apply_made, base, without_volume};
pub use millis::Millis;
pub use ranges::Ranges;
pub use text::parse_attributes;
