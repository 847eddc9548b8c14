//! What sets one amount of a resource apart from another of the same name.

use std::cmp::Ordering;
use std::sync::Arc;

use prost::Message as _;

use crate::role;
use crate::v1;
use crate::v1::resource::DiskInfo;
use crate::v1::resource::disk_info::Persistence;

/// How the amount is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// A number.
    Scalar,
    /// Whole numbers.
    Ranges,
    /// Names.
    Set,
}

/// Who may make and undo a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservationKind {
    /// By the agent's flags.
    Static,
    /// By an operation.
    Dynamic,
}

/// One level of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reservation {
    /// By whom.
    pub kind: ReservationKind,
    /// For whom.
    pub role: Arc<str>,
    /// Who asked for it.
    pub principal: Option<Arc<str>>,
    /// Sorted: the order of labels means nothing.
    pub labels: Vec<(String, Option<String>)>,
}

/// Amounts with equal identities are the same thing and add up; others never mix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub(crate) name: Arc<str>,
    pub(crate) kind: ValueKind,
    pub(crate) reservations: Arc<[Reservation]>,
    pub(crate) allocation_role: Option<Arc<str>>,
    pub(crate) disk: Option<Disk>,
    pub(crate) revocable: bool,
    pub(crate) shared: bool,
    pub(crate) provider_id: Option<Arc<str>>,
}

impl Identity {
    /// Makes the identity of an unreserved, unallocated, plain resource.
    #[must_use]
    pub fn plain(name: &str, kind: ValueKind) -> Self {
        Self {
            name: name.into(),
            kind,
            reservations: Arc::new([]),
            allocation_role: None,
            disk: None,
            revocable: false,
            shared: false,
            provider_id: None,
        }
    }

    /// Returns the name, such as `cpus`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how the amount is counted.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        self.kind
    }

    /// Returns the stack of reservations, the first made first.
    #[must_use]
    pub fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    /// Returns the role that it is reserved for now: that of the last refinement.
    #[must_use]
    pub fn reservation_role(&self) -> Option<&str> {
        self.reservations.last().map(|reservation| &*reservation.role)
    }

    /// Returns the role that it is allocated to.
    #[must_use]
    pub fn allocation_role(&self) -> Option<&str> {
        self.allocation_role.as_deref()
    }

    /// Tells whether the last reservation was made by an operation.
    #[must_use]
    pub fn is_dynamically_reserved(&self) -> bool {
        self.reservations.last().is_some_and(|reservation| reservation.kind == ReservationKind::Dynamic)
    }

    /// Tells whether a reservation was refined, which only frameworks with RESERVATION_REFINEMENT understand.
    #[must_use]
    pub fn is_refined(&self) -> bool {
        self.reservations.len() > 1
    }

    /// Tells whether it can be taken back at any time.
    #[must_use]
    pub fn is_revocable(&self) -> bool {
        self.revocable
    }

    /// Tells whether several tasks may use it at once.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Returns what kind of disk it is, for anything but the agent's ordinary disk.
    #[must_use]
    pub fn disk(&self) -> Option<&DiskInfo> {
        self.disk.as_ref().map(|disk| &*disk.proto)
    }

    /// Returns the id of the persistent volume that it is.
    #[must_use]
    pub fn persistence_id(&self) -> Option<&str> {
        self.disk()?.persistence.as_ref()?.id.as_deref()
    }

    /// Returns the id of the resource provider that brought it.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        self.provider_id.as_deref()
    }

    /// Tells whether a framework in `role` may get it: unreserved, or reserved for the role or one above it.
    #[must_use]
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        self.reservation_role().is_none_or(|owner| owner == role || role::is_strict_subrole(role, owner))
    }

    /// Persistent volumes, whole disks and raw disks that have an id go to one holder as they are or not at all. A PATH is part of
    /// a disk, and a raw disk without an id a pool of storage: those are divided.
    pub(crate) fn is_indivisible(&self) -> bool {
        use v1::resource::disk_info::source::Type;
        self.disk().is_some_and(|disk| {
            disk.persistence.is_some()
                || disk.source.as_ref().is_some_and(|source| match source.r#type() {
                    Type::Mount | Type::Block => true,
                    Type::Raw => source.id.is_some(),
                    Type::Path | Type::Unknown => false,
                })
        })
    }
}

/// A disk, told apart by its source and the id of its volume alone: where a volume appears in a sandbox, and who made it, says how
/// it is used and not what it is. So a task may mount a volume elsewhere than its creator said.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    encoded: Arc<[u8]>,
    proto: Arc<DiskInfo>,
}

impl Disk {
    pub(crate) fn new(proto: DiskInfo) -> Self {
        let persistence = proto.persistence.as_ref();
        let persistence = persistence.map(|one| Persistence { id: one.id.clone(), principal: None });
        let identity = DiskInfo { persistence, volume: None, source: proto.source.clone() };
        Self { encoded: identity.encode_to_vec().into(), proto: Arc::new(proto) }
    }
}

impl PartialEq for Disk {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for Disk {}

impl PartialOrd for Disk {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Disk {
    fn cmp(&self, other: &Self) -> Ordering {
        self.encoded.cmp(&other.encoded)
    }
}
