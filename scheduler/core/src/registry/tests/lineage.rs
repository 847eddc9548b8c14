//! Clusters that continue another, and levels that only rise.

use super::*;
use crate::registry::Refusal;
use crate::registry::lineage::{EPOCH_MARGIN, MAX_FORMER_CLUSTERS, RaiseLevel, Refound};

fn refound(cluster_id: &str) -> Operation {
    Operation::Refound(Refound { cluster_id: cluster_id.to_owned() })
}

#[test]
fn a_cluster_founded_anew_keeps_everything_but_name_and_epoch() {
    let mut story = Story::new();
    story.agent("a", "cpus:4");
    story.framework("f");
    story.launch("f", "a", &[("t", "cpus:1")]);
    let before = story.registry.clone();
    assert_eq!(story.apply(refound("new")), Outcome::Done);
    assert_eq!(story.changes, [Change::Leadership, Change::Cluster]);
    let after = &story.registry;
    assert_eq!((&*after.cluster_id, after.epoch), ("new", 1 + EPOCH_MARGIN));
    assert_eq!(
        (&after.tasks, &after.agents, &after.charges),
        (&before.tasks, &before.agents, &before.charges)
    );
    assert!(after.leader.is_none() && !after.agents.values().any(|one| after.agent_connected(one)));
    let former = after.former_clusters.iter().map(|one| (one.cluster_id.as_str(), one.epoch));
    assert_eq!(former.collect::<Vec<_>>(), [("c", 1)]);
    // Its first leader does not take the name from the log's own.
    assert_eq!(story.take_lead(1), Outcome::TookLead { epoch: 2 + EPOCH_MARGIN });
    assert_eq!(&*story.registry.cluster_id, "new");
}

#[test]
fn a_name_is_never_used_twice() {
    let mut story = Story::new();
    for name in ["", "c"] {
        assert_eq!(story.apply(refound(name)), Outcome::Refused(Refusal::Malformed), "{name}");
    }
    story.apply(refound("d"));
    for name in ["c", "d"] {
        assert_eq!(story.apply(refound(name)), Outcome::Refused(Refusal::Malformed), "{name}");
    }
}

#[test]
fn so_many_former_clusters_are_remembered() {
    let mut story = Story::new();
    for number in 0..=MAX_FORMER_CLUSTERS {
        story.apply(refound(&format!("c{number}")));
    }
    let former = &story.registry.former_clusters;
    assert_eq!((former.len(), former[0].cluster_id.as_str()), (MAX_FORMER_CLUSTERS, "c0"));
}

#[test]
fn a_level_never_falls() {
    let mut story = Story::new();
    assert_eq!(story.registry.feature_level, 0);
    for (level, then) in [(2, 2), (1, 2), (3, 3), (0, 3)] {
        assert_eq!(story.apply(Operation::RaiseLevel(RaiseLevel { level })), Outcome::Done);
        assert_eq!(story.registry.feature_level, then);
    }
    assert_eq!(story.changes, [], "nothing changed last");
}
