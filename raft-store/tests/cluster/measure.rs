//! Figures, not tests: run with `--ignored --nocapture`, best in release. They assert nothing about speed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use tepui_raft_store::Timing;

use crate::harness::Cluster;

const ROUNDS: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn time_from_a_leaders_death_to_the_next_commit() {
    let mut cluster = Cluster::started(3, |config| config.timing = Timing::default()).await;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        cluster.write(&format!("before-{round}")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (leader, _) = cluster.leader().await;
        cluster.kill(leader);
        let killed = Instant::now();
        cluster.write(&format!("after-{round}")).await;
        times.push(killed.elapsed());
        cluster.start(leader).await;
    }
    times.sort();
    println!(
        "death to next commit: min {:?} median {:?} max {:?}",
        times[0],
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn commits_per_second() {
    let cluster = Cluster::started(3, |config| config.timing = Timing::default()).await;
    let (id, lead) = cluster.leader().await;
    for in_flight in [1, 64, 1024, 4096] {
        let begun = Instant::now();
        let store = cluster.store(id);
        let proposals = (0..u32::MAX)
            .take_while(|_| begun.elapsed() < Duration::from_secs(3))
            .map(|_| store.propose(&lead, Bytes::from("x".repeat(256))));
        let done: Vec<bool> =
            futures::stream::iter(proposals).buffer_unordered(in_flight).map(|r| r.is_ok()).collect().await;
        let committed = done.iter().filter(|ok| **ok).count();
        let rate = committed as f64 / begun.elapsed().as_secs_f64();
        println!("{in_flight} in flight: {rate:.0}/s, {} refused", done.len() - committed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn spurious_changes_of_leader_in_peace() {
    let cluster = Cluster::started(3, |config| config.timing = Timing::default()).await;
    let (_, first) = cluster.leader().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (_, last) = cluster.leader().await;
    println!("30 s: from {first:?} to {last:?}");
}
