//! Where a cluster comes from, and what its masters have agreed to be able to do.
//!
//! Owns the operations that found a cluster anew from the state of another and that raise its level, and their records. How they
//! change the tables stands in `apply/lineage.rs`.

/// What this build can do, as a number: it rises with every operation or field that an older build would not understand. A
/// master proposes nothing of a higher level than its cluster's, see [`RaiseLevel`].
///
/// ```text
/// 0   builds that tell no level
/// 1   levels; clusters founded anew
/// 2   checkpoints, at which masters compare their states
/// ```
pub const FEATURE_LEVEL: u32 = 2;

/// From which on masters compare their states.
pub const CHECKPOINTS_LEVEL: u32 = 2;

/// By so much a cluster that was founded anew is ahead of the epochs that the former one can have reached since its state was
/// kept: agents refuse whoever comes with less than they have seen.
pub const EPOCH_MARGIN: u64 = 1_000_000;

/// Former clusters that are remembered: their agents may still come over.
pub const MAX_FORMER_CLUSTERS: usize = 16;

/// The state of another cluster begins a new one. Never proposed in a running cluster: whoever founds one applies it before
/// the first master starts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refound {
    /// Of the new cluster; no cluster had it before.
    #[prost(string, tag = "1")]
    pub cluster_id: String,
}

/// Every voter can do this much, so from now on every master has to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaiseLevel {
    #[prost(uint32, tag = "1")]
    pub level: u32,
}

/// A cluster that this one continues.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FormerCluster {
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    /// The last of its epochs that is known here.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Wall clock of the founding, milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub wall_ms: u64,
}
