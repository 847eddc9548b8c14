//! Snapshots: taken by themselves and on demand, survived by the log behind them, sent to whoever fell too far behind.

use crate::harness::{Cluster, texts, until};

fn small_log(config: &mut tepui_raft_store::Config) {
    config.snapshot_every_entries = 50;
    config.keep_entries = 10;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_for_long_gets_a_snapshot() {
    let mut cluster = Cluster::started(3, small_log).await;
    let expected = texts(0..400);
    cluster.write(&expected[0]).await;
    cluster.all_have(&expected[..1]).await;
    let (leader, _) = cluster.leader().await;
    let away = cluster.others(leader)[0];
    cluster.shutdown(away).await;
    for text in &expected[1..] {
        cluster.write(text).await;
    }
    until("snapshots", || (cluster.store(leader).status().snapshot_index > Some(300)).then_some(())).await;
    until("old snapshots to be removed", || (files(&cluster, leader) <= 2).then_some(())).await;

    cluster.start(away).await;
    cluster.all_have(&expected).await;
    until("its snapshot", || cluster.store(away).status().snapshot_index.filter(|index| *index > 300)).await;
    // And it starts from that snapshot the next time.
    cluster.kill(away);
    cluster.start(away).await;
    cluster.all_have(&expected).await;
    let last = cluster.write("last").await;
    until("the last one", || (cluster.seen(away).last()?.0 == last.index).then_some(())).await;
}

fn files(cluster: &Cluster, id: u64) -> usize {
    std::fs::read_dir(cluster.folder(id).join("snapshots")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_member_gets_a_snapshot() {
    let mut cluster = Cluster::started(1, small_log).await;
    let expected = texts(0..200);
    for text in &expected {
        cluster.write(text).await;
    }
    cluster.store(1).trigger_snapshot().await.unwrap();
    let peer = cluster.add_peer(2);
    cluster.start(2).await;
    cluster.store(1).add_member(2, peer, crate::harness::PATIENCE).await.unwrap();
    cluster.all_have(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_on_demand_holds_everything_applied() {
    let mut cluster = Cluster::started(1, |config| config.keep_entries = 0).await;
    let expected = texts(0..30);
    let mut last = 0;
    for text in &expected {
        last = cluster.write(text).await.index;
    }
    let taken = cluster.store(1).trigger_snapshot().await.unwrap();
    let index = taken.index;
    assert!(index >= last);
    assert!(taken.bytes > 30, "{taken:?}");
    assert_eq!(cluster.store(1).status().snapshot_index, Some(index));
    assert_eq!(cluster.store(1).trigger_snapshot().await.unwrap(), taken, "nothing new: the same one");
    cluster.kill(1);
    cluster.start(1).await;
    cluster.all_have(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_bytes_make_a_snapshot_due() {
    let cluster = Cluster::started(1, |config| config.snapshot_every_bytes = 10_000).await;
    for _ in 0..4 {
        cluster.write(&"x".repeat(3000)).await;
    }
    until("a snapshot", || cluster.store(1).status().snapshot_index).await;
}
