//! What builds can do is told by every replica, and known to whoever leads.

use std::collections::BTreeMap;

use tepui_raft_store::Config;

use crate::harness::{Cluster, until};

fn level_of_id(config: &mut Config) {
    config.level = u32::try_from(config.node_id).unwrap() + 10;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_knows_the_level_of_everybody_that_lives() {
    let mut cluster = Cluster::started(3, level_of_id).await;
    let (leader, _) = cluster.leader().await;
    let all = BTreeMap::from([(1, 11), (2, 12), (3, 13)]);
    until("all levels", || (cluster.store(leader).status().levels == all).then_some(())).await;
    let follower = cluster.others(leader)[0];
    until("the leader's level", || {
        let levels = cluster.store(follower).status().levels;
        (levels.get(&leader) == all.get(&leader) && levels[&follower] == all[&follower]).then_some(())
    })
    .await;
    for id in 1..=3 {
        cluster.shutdown(id).await;
    }
}
