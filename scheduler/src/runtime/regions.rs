//! All masters of a cluster are in one region: what is remote is measured from it, and who leads must not change that.
//!
//! Owns the comparison of this master with the one that leads, as the log tells it. A standby of another region stops its process; one of two
//! where only one names a region is warned of, so that domains can be given to masters one after the other.

use std::sync::Arc;
use std::time::Duration;

use tepui_proto::v1::DomainInfo;
use tepui_raft_store::Status;
use tepui_scheduler_core::Registry;
use tokio_util::sync::CancellationToken;

use crate::runtime::board::Board;
use crate::runtime::replica::Replica;

/// How often it is looked who leads.
const LOOK: Duration = Duration::from_secs(1);

/// What a look at the leading master gives.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The same region, or none on either side, or nobody to compare with.
    Fine,
    /// One of the two names no region.
    Unclear(String),
    /// Two regions.
    Apart(String),
}

/// Looks until it is stopped, or until this master has no place in its cluster.
pub(crate) async fn watch(
    domain: Option<DomainInfo>,
    board: Arc<Board>,
    replica: Arc<dyn Replica>,
    stop: CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK);
    let mut warned = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        let registry = board.newest().registry.clone();
        match compare(domain.as_ref(), &registry, &replica.status()) {
            Verdict::Fine => {}
            Verdict::Unclear(reason) if warned != registry.epoch => {
                warned = registry.epoch;
                tracing::warn!("{reason}");
            }
            Verdict::Unclear(_) => {}
            Verdict::Apart(reason) => {
                board.fail(reason);
                return;
            }
        }
    }
}

/// The Registry names the leader of its last epoch, which may be over: only one of the present term counts.
fn compare(own: Option<&DomainInfo>, registry: &Registry, status: &Status) -> Verdict {
    let Some(leader) = &registry.leader else { return Verdict::Fine };
    if leader.node_id == status.node_id || leader.term != status.term || status.leader != Some(leader.node_id)
    {
        return Verdict::Fine;
    }
    let who = format!("the leading master {} ({}:{})", leader.node_id, leader.hostname, leader.port);
    match (region(own), region(leader.domain.as_ref())) {
        (None, None) => Verdict::Fine,
        (Some(own), Some(other)) if own == other => Verdict::Fine,
        (Some(own), Some(other)) => Verdict::Apart(format!(
            "this master is in region '{own}' and {who} in region '{other}': all masters of a cluster are in one region, see --domain"
        )),
        (Some(own), None) => Verdict::Unclear(format!(
            "this master is in region '{own}' and {who} has no domain: give all masters one"
        )),
        (None, Some(other)) => Verdict::Unclear(format!(
            "this master has no domain and {who} is in region '{other}': give all masters one"
        )),
    }
}

fn region(domain: Option<&DomainInfo>) -> Option<&str> {
    domain?.fault_domain.as_ref()?.region.as_ref()?.name.as_deref()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tepui_proto::v1::domain_info::{FaultDomain, fault_domain};
    use tepui_scheduler_core::registry::LeaderRecord;

    use super::*;

    fn domain(region: &str) -> Option<DomainInfo> {
        let region = Some(fault_domain::RegionInfo { name: Some(region.to_owned()) });
        let zone = Some(fault_domain::ZoneInfo { name: Some("z".to_owned()) });
        (region.as_ref()?.name() != "")
            .then_some(DomainInfo { fault_domain: Some(FaultDomain { region, zone }) })
    }

    fn judged(own: &str, leader: &str, node_id: u64, term: u64) -> Verdict {
        let record = LeaderRecord { node_id, term, domain: domain(leader), ..Default::default() };
        let registry = Registry { leader: Some(Arc::new(record)), ..Default::default() };
        let status = Status { node_id: 1, term: 7, leader: Some(2), ..Default::default() };
        compare(domain(own).as_ref(), &registry, &status)
    }

    #[test]
    fn a_standby_stands_where_its_leader_stands() {
        assert_eq!(judged("north", "north", 2, 7), Verdict::Fine);
        assert_eq!(judged("", "", 2, 7), Verdict::Fine);
        assert!(matches!(judged("north", "south", 2, 7), Verdict::Apart(why) if why.contains("'south'")));
        assert!(matches!(judged("", "south", 2, 7), Verdict::Unclear(why) if why.contains("'south'")));
        assert!(matches!(judged("north", "", 2, 7), Verdict::Unclear(why) if why.contains("'north'")));
    }

    #[test]
    fn only_the_leader_of_this_term_counts() {
        assert_eq!(judged("north", "south", 2, 6), Verdict::Fine, "an earlier term of the same master");
        assert_eq!(judged("north", "south", 3, 7), Verdict::Fine, "not the one that leads");
        assert_eq!(judged("north", "south", 1, 7), Verdict::Fine, "this master itself");
        assert_eq!(compare(None, &Registry::default(), &Status::default()), Verdict::Fine);
    }
}
