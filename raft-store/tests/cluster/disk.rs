//! Disks that fill up, slow down or fail: the leadership goes to a replica with a better one, reads go on, writes are refused in clear
//! words, and everything recovers with the disk.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tepui_raft_store::{Config, DiskLevel, DiskLimits, ProposeError};

use crate::harness::{Cluster, PATIENCE, texts, until};

/// Each replica is told by a file beside its folder how its disk should behave.
fn faulty(config: &mut Config) {
    config.faults = Some(told(config));
    config.disk = DiskLimits {
        low_bytes: 1000,
        full_bytes: 500,
        // No disk under other people's load is that slow for two seconds on end.
        slow_sync: Duration::from_millis(200),
        slow_for: Duration::from_secs(2),
    };
    // A slow disk delays entries, not heartbeats.
    config.leader_contact_timeout = Duration::from_secs(6);
}

fn told(config: &Config) -> PathBuf {
    config.dir.with_extension("faults")
}

fn tell(cluster: &Cluster, id: u64, text: &str) {
    let file = told(&cluster.config(id));
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, file).unwrap();
}

async fn level(cluster: &Cluster, id: u64, wanted: DiskLevel) {
    until("the level of the disk", || (cluster.store(id).storage().level == wanted).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_fills_up_gives_the_leadership_away() {
    let cluster = Cluster::started(3, faulty).await;
    cluster.write("first").await;
    let (leader, _) = cluster.leader().await;
    tell(&cluster, leader, "free 900");
    level(&cluster, leader, DiskLevel::Low).await;
    until("another leader", || cluster.leading().filter(|(id, _)| *id != leader)).await;
    cluster.write("second").await;

    // It goes to one that is fit, never to one that is not, and stays where it is as long as nobody is.
    let (next, _) = cluster.leader().await;
    let third = (1..=3).find(|id| ![leader, next].contains(id)).unwrap();
    tell(&cluster, third, "free 900");
    until("both to be known", || (cluster.store(next).storage().unfit_members.len() == 2).then_some(()))
        .await;
    tell(&cluster, next, "free 900");
    level(&cluster, next, DiskLevel::Low).await;
    cluster.write("third").await;
    assert_eq!(cluster.leader().await.0, next);
    tell(&cluster, leader, "");
    until("the first one", || cluster.leading().filter(|(id, _)| *id == leader)).await;
    cluster.write("fourth").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_to_nobody_ends_in_an_election() {
    let mut cluster = Cluster::started(3, faulty).await;
    cluster.write("first").await;
    cluster.all_have(&["first".to_owned()]).await;
    let (leader, lead) = cluster.leader().await;
    // The members' folders are in the log and nothing is on its way: the two others are equally far, so the first is chosen.
    until("quiet", || {
        let store = cluster.store(leader);
        let bound = store.members().borrow().bound;
        let status = store.status();
        let quiet = status.replication.values().all(|matched| *matched == status.last_log_index);
        (bound && quiet).then_some(())
    })
    .await;
    // It answered a moment ago, and is gone; the other one goes on hearing the leader.
    let successor = cluster.others(leader)[0];
    cluster.kill(successor);
    let refused = cluster.store(leader).hand_over(Duration::from_millis(300)).await;
    assert!(refused.is_err(), "{refused:?}");
    until("another term", || cluster.leading().filter(|(_, now)| now.term > lead.term)).await;
    cluster.write("second").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_refuse_commands_and_recover_with_the_room() {
    let cluster = Cluster::started(3, faulty).await;
    let mut expected = texts(0..3);
    for text in &expected {
        cluster.write(text).await;
    }
    for id in 1..=3 {
        tell(&cluster, id, "free 400");
    }
    for id in 1..=3 {
        level(&cluster, id, DiskLevel::Full).await;
    }
    // The first command of a lead passes, the others do not.
    let free = until("a refusal", || {
        let (id, lead) = cluster.leading()?;
        let proposed = cluster.store(id).propose(&lead, Bytes::from_static(b"full"));
        match futures::FutureExt::now_or_never(proposed) {
            Some(Err(ProposeError::DiskFull { free_bytes })) => Some(free_bytes),
            _ => None,
        }
    })
    .await;
    assert_eq!(free, 400);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (id, lead) = cluster.leader().await;
        if cluster.store(id).read_barrier(&lead).await.is_ok() {
            break;
        }
        // It may be trying to give the leadership away.
        assert!(Instant::now() < deadline, "nobody reads");
    }
    for id in 1..=3 {
        tell(&cluster, id, "");
    }
    for id in 1..=3 {
        level(&cluster, id, DiskLevel::Enough).await;
    }
    expected.push("room again".to_owned());
    cluster.write("room again").await;
    let last = |id| cluster.seen(id).last().map(|(_, text)| text.clone());
    for id in 1..=3 {
        until("the last one", || (last(id).as_ref() == expected.last()).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_any_room_stays_up_and_catches_up() {
    let cluster = Cluster::started(3, faulty).await;
    cluster.write("before").await;
    cluster.all_have(&["before".to_owned()]).await;
    let (leader, _) = cluster.leader().await;
    let (poor, healthy) = (cluster.others(leader)[0], cluster.others(leader)[1]);
    tell(&cluster, poor, "free 100");
    level(&cluster, poor, DiskLevel::Exhausted).await;
    let mut expected = vec!["before".to_owned()];
    for text in texts(0..20) {
        cluster.write(&text).await;
        expected.push(text);
    }
    cluster.has(healthy, &expected).await;
    assert_eq!(cluster.seen(poor).len(), 1, "it took entries without room");
    tell(&cluster, poor, "");
    cluster.all_have(&expected).await;
    assert!(cluster.store(poor).fatal().borrow().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_on_a_slow_disk_gives_the_leadership_away_and_is_given_none() {
    let cluster = Cluster::started(3, faulty).await;
    cluster.write("first").await;
    let (leader, _) = cluster.leader().await;
    tell(&cluster, leader, "delay 300");
    let deadline = Instant::now() + PATIENCE;
    let next = loop {
        let (id, lead) = cluster.leader().await;
        if id != leader {
            break id;
        }
        // Its outcome may be unknown when the leadership moves.
        drop(cluster.store(id).propose(&lead, Bytes::from_static(b"slow")).await);
        assert!(Instant::now() < deadline, "it kept the leadership");
    };
    assert!(cluster.store(leader).storage().slow);
    assert!(cluster.store(leader).storage().sync_p99 > Some(Duration::from_millis(200)));
    assert!(!cluster.store(next).storage().slow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_the_end_of_a_replica_and_not_of_the_cluster() {
    let mut cluster = Cluster::started(3, faulty).await;
    cluster.write("first").await;
    let (leader, _) = cluster.leader().await;
    let victim = cluster.others(leader)[0];
    tell(&cluster, victim, "fail");
    cluster.write("second").await;
    let mut fatal = cluster.store(victim).fatal();
    let text = fatal.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(text.contains("told to fail"), "{text}");
    // The disk is well again, but what it holds is unknown until it is read anew.
    tell(&cluster, victim, "");
    cluster.write("third").await;
    assert!(cluster.seen(victim).iter().all(|(_, text)| text != "third"));
    cluster.shutdown(victim).await;
    cluster.start(victim).await;
    cluster.all_have(&["first", "second", "third"].map(str::to_owned)).await;
}

/// A file system of its own, of a few mebibytes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(at: PathBuf, mebibytes: u32) -> Option<SmallDisk> {
        std::fs::create_dir_all(&at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // At worst it stays mounted until the machine is restarted.
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_disk_that_fills_up_refuses_and_recovers() {
    let mut cluster = Cluster::with(1, |config| {
        config.disk = DiskLimits { low_bytes: 24 << 20, full_bytes: 16 << 20, ..DiskLimits::default() };
    });
    let Some(disk) = SmallDisk::mount(cluster.folder(1), 64) else {
        eprintln!("skipped: this process may not mount");
        return;
    };
    cluster.start(1).await;
    cluster.store(1).bootstrap(cluster.peers()).await.unwrap();
    cluster.write("first").await;
    level(&cluster, 1, DiskLevel::Enough).await;
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; 44 << 20]).unwrap();
    level(&cluster, 1, DiskLevel::Full).await;
    until("a refusal", || {
        let (_, lead) = cluster.leading()?;
        let proposed = cluster.store(1).propose(&lead, Bytes::from_static(b"full"));
        matches!(futures::FutureExt::now_or_never(proposed), Some(Err(ProposeError::DiskFull { .. })))
            .then_some(())
    })
    .await;
    std::fs::remove_file(ballast).unwrap();
    level(&cluster, 1, DiskLevel::Enough).await;
    cluster.write("second").await;
    cluster.shutdown(1).await;
    drop(disk);
}
