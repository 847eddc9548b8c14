//! A cluster founded anew, and its level.

use std::sync::Arc;

use super::Step;
use crate::registry::lineage::{EPOCH_MARGIN, FormerCluster, MAX_FORMER_CLUSTERS, RaiseLevel, Refound};
use crate::registry::outcome::{Change, Outcome, Refusal};

impl Step<'_> {
    /// Everything stays as it was but the name and the epoch: agents and frameworks are awaited as after any change of leader.
    pub(super) fn refound(&mut self, refound: &Refound) -> Result<Outcome, Refusal> {
        let tables = &mut *self.tables;
        let known = tables.former_clusters.iter().any(|former| former.cluster_id == refound.cluster_id);
        if refound.cluster_id.is_empty() || *tables.cluster_id == *refound.cluster_id || known {
            return Err(Refusal::Malformed);
        }
        if !tables.cluster_id.is_empty() {
            tables.former_clusters.push_back(Arc::new(FormerCluster {
                cluster_id: tables.cluster_id.to_string(),
                epoch: tables.epoch,
                wall_ms: tables.wall_ms,
            }));
            while tables.former_clusters.len() > MAX_FORMER_CLUSTERS {
                tables.former_clusters.pop_front();
            }
        }
        tables.cluster_id = Arc::from(refound.cluster_id.as_str());
        tables.epoch = tables.epoch.saturating_add(EPOCH_MARGIN);
        tables.leader = None;
        self.changes.extend([Change::Cluster, Change::Leadership]);
        Ok(Outcome::Done)
    }

    /// It never falls: what was written at a level is only understood by those who have it.
    pub(super) fn raise_level(&mut self, raise: &RaiseLevel) -> Result<Outcome, Refusal> {
        if raise.level > self.tables.feature_level {
            self.tables.feature_level = raise.level;
            self.changes.push(Change::Cluster);
        }
        Ok(Outcome::Done)
    }
}
