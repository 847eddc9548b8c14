//! The ordinary life of a cluster: electing, replicating, restarting, handing over, changing members.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use tepui_raft_store::{BootstrapError, HandOverError, Leadership, MembershipError, OpenError, ProposeError};

use crate::harness::{Cluster, PATIENCE, texts, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_elect_replicate_and_survive_the_death_of_their_leader() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let expected = texts(0..30);
    for (number, text) in expected.iter().enumerate() {
        let applied = cluster.write(text).await;
        assert_eq!(applied.answer, (number + 1).to_string());
    }
    cluster.all_have(&expected).await;
    let id = cluster.store(1).cluster_id();
    assert!(id.is_some());
    assert!((2..=3).all(|other| cluster.store(other).cluster_id() == id), "one cluster id everywhere");

    let (old, old_lead) = cluster.leader().await;
    let followers = cluster.others(old);
    until("followers to know the leader", || {
        followers.iter().all(|id| knows(&cluster, *id, old)).then_some(())
    })
    .await;
    cluster.kill(old);
    let (new, new_lead) = cluster.leader().await;
    assert_ne!(new, old);
    assert!((new_lead.term, new) > (old_lead.term, old), "leaders are strictly ordered");
    let expected = texts(0..31);
    cluster.write(&expected[30]).await;

    cluster.start(old).await;
    cluster.all_have(&expected).await;
    let places = cluster.seen(new);
    assert!(cluster.running.keys().all(|id| cluster.seen(*id) == places), "same commands at the same places");
}

fn knows(cluster: &Cluster, id: u64, leader: u64) -> bool {
    let expected = cluster.peers()[&leader].clone();
    matches!(&*cluster.store(id).leadership().borrow(),
        Leadership::Following { leader: Some((known, peer)) } if *known == leader && *peer == expected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_replica_keeps_everything_over_restarts() {
    let mut cluster = Cluster::started(1, |_| {}).await;
    let mode = std::fs::metadata(cluster.folder(1)).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "the log is the owner's alone");
    let expected = texts(0..20);
    for text in &expected[..10] {
        cluster.write(text).await;
    }
    cluster.kill(1);
    cluster.start(1).await;
    cluster.all_have(&expected[..10]).await;
    for text in &expected[10..] {
        cluster.write(text).await;
    }
    cluster.shutdown(1).await;
    // Closed in order: the folder is free at once.
    cluster.try_start(1).await.unwrap();
    cluster.all_have(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_created_once() {
    let mut cluster = Cluster::with(3, |_| {});
    for id in 1..=3 {
        cluster.start(id).await;
    }
    assert_eq!(cluster.store(1).cluster_id(), None);
    let members = cluster.peers();
    let only_others = members.clone().split_off(&2);
    assert!(matches!(cluster.store(1).bootstrap(only_others).await, Err(BootstrapError::Members(_))));
    let id = cluster.store(1).bootstrap(members.clone()).await.unwrap();
    cluster.write("x").await;
    for replica in 1..=3 {
        match cluster.store(replica).bootstrap(members.clone()).await {
            Err(BootstrapError::AlreadyBootstrapped { cluster_id }) => assert_eq!(cluster_id, id),
            other => panic!("replica {replica}: {other:?}"),
        }
    }
    cluster.shutdown(2).await;
    cluster.start(2).await;
    assert_eq!(cluster.store(2).cluster_id(), Some(id), "remembered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_keep_the_order_in_which_they_were_made() {
    let cluster = Cluster::started(3, |_| {}).await;
    let (id, lead) = cluster.leader().await;
    let expected = texts(0..3000);
    let all: Vec<_> =
        expected.iter().map(|text| cluster.store(id).propose(&lead, Bytes::from(text.clone()))).collect();
    // Awaited backwards: the order is that of the calls.
    let mut indexes = Vec::new();
    for proposal in all.into_iter().rev() {
        indexes.push(proposal.await.unwrap().index);
    }
    assert!(indexes.windows(2).all(|pair| pair[0] > pair[1]));
    cluster.all_have(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_refused_where_they_cannot_succeed() {
    let cluster = Cluster::started(3, |config| config.max_command_bytes = 1000).await;
    let (id, lead) = cluster.leader().await;
    let big = Bytes::from(vec![b'x'; 1001]);
    assert!(matches!(
        cluster.store(id).propose(&lead, big).await,
        Err(ProposeError::TooLarge { bytes: 1001, limit: 1000 })
    ));
    let mut stale = lead.clone();
    stale.serial += 1;
    assert!(matches!(
        cluster.store(id).propose(&stale, Bytes::from_static(b"x")).await,
        Err(ProposeError::NotLeading { .. })
    ));
    for follower in cluster.others(id) {
        let refused = cluster.store(follower).propose(&lead, Bytes::from_static(b"x")).await;
        assert!(matches!(refused, Err(ProposeError::NotLeading { .. })), "{refused:?}");
        assert!(cluster.store(follower).read_barrier(&lead).await.is_err());
    }
    let applied = cluster.write("y").await;
    assert!(cluster.store(id).read_barrier(&lead).await.unwrap() >= applied.index);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_is_handed_over_without_losing_a_command() {
    let cluster = Cluster::started(3, |_| {}).await;
    let mut expected = Vec::new();
    let mut serials = Vec::new();
    for round in 0..6 {
        let text = format!("command-{round}");
        cluster.write(&text).await;
        expected.push(text);
        let (old, lead) = cluster.leader().await;
        serials.push(lead.term);
        for follower in cluster.others(old) {
            let refused = cluster.store(follower).hand_over(PATIENCE).await;
            assert!(matches!(refused, Err(HandOverError::NotLeading { .. })), "{refused:?}");
        }
        let new = cluster.store(old).hand_over(PATIENCE).await.unwrap();
        assert_ne!(new, old);
        let late = cluster.store(old).propose(&lead, Bytes::from_static(b"late")).await;
        assert!(matches!(late, Err(ProposeError::NotLeading { .. })), "{late:?}");
        let (leads, _) = cluster.leader().await;
        assert_eq!(leads, new);
    }
    cluster.all_have(&expected).await;
    assert!(serials.windows(2).all(|pair| pair[0] < pair[1]), "{serials:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_alone_has_nobody_to_hand_over_to() {
    let cluster = Cluster::started(1, |_| {}).await;
    let (_, lead) = cluster.leader().await;
    assert!(matches!(cluster.store(1).hand_over(PATIENCE).await, Err(HandOverError::NoCandidate)));
    assert_eq!(cluster.leader().await.1, lead, "it did not stop leading");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let mut expected = texts(0..10);
    for text in &expected {
        cluster.write(text).await;
    }
    let (leader, _) = cluster.leader().await;
    let peer = cluster.add_peer(4);
    cluster.start(4).await;
    cluster.store(leader).add_member(4, peer.clone(), PATIENCE).await.unwrap();
    cluster.has(4, &expected).await;
    let again = cluster.store(leader).add_member(4, peer, PATIENCE).await;
    assert!(matches!(again, Err(MembershipError::Refused(_))), "{again:?}");

    let gone = *cluster.others(leader).first().unwrap();
    let mut members = cluster.store(4).members();
    let entered = members.wait_for(|members| members.list.get(&4).is_some_and(|member| member.voter));
    let list = tokio::time::timeout(PATIENCE, entered).await.unwrap().unwrap().list.clone();
    assert_eq!(list.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(list[&2].peer, cluster.peers()[&2]);
    cluster.store(leader).remove_member(gone, PATIENCE).await.unwrap();
    let left = members.wait_for(|members| !members.list.contains_key(&gone));
    assert!(tokio::time::timeout(PATIENCE, left).await.unwrap().unwrap().index.is_some());
    cluster.shutdown(gone).await;
    expected.push("after".to_owned());
    cluster.write("after").await;
    cluster.all_have(&expected).await;
    let status = cluster.store(leader).status();
    assert!(!status.members.contains_key(&gone));
    assert!(status.members[&4].1, "it votes");
    let myself = cluster.store(leader).remove_member(leader, PATIENCE).await;
    assert!(matches!(myself, Err(MembershipError::Refused(_))), "{myself:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_tells_what_is_going_on() {
    let cluster = Cluster::started(3, |_| {}).await;
    let applied = cluster.write("x").await;
    let (id, lead) = cluster.leader().await;
    let status = until("the others to have it", || {
        let status = cluster.store(id).status();
        let all = status.replication.values().all(|matched| *matched >= Some(applied.index));
        (all && status.replication.len() == 3 && status.applied_index >= Some(applied.index))
            .then_some(status)
    })
    .await;
    assert_eq!((status.node_id, status.role.as_str(), status.term), (id, "leader", lead.term));
    assert_eq!((status.leader, status.leader_peer), (Some(id), cluster.peers().get(&id).cloned()));
    assert!(
        status.committed_index >= status.applied_index && status.last_log_index >= status.committed_index
    );
    assert_eq!(status.members.len(), 3);
    assert!(status.members.values().all(|(_, votes)| *votes));
    assert!(status.last_quorum_contact_ms.is_some());
    let follower = cluster.store(cluster.others(id)[0]).status();
    assert_eq!((follower.role.as_str(), follower.leader), ("follower", Some(id)));
    assert_eq!(follower.last_quorum_contact_ms, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_answers_with_errors() {
    let cluster = Cluster::started(1, |_| {}).await;
    let (_, lead) = cluster.leader().await;
    let store = cluster.store(1).clone();
    store.shutdown().await;
    store.shutdown().await;
    assert!(store.propose(&lead, Bytes::from_static(b"x")).await.is_err());
    assert!(store.read_barrier(&lead).await.is_err());
    assert!(store.trigger_snapshot().await.is_err());
    assert!(store.hand_over(Duration::from_millis(10)).await.is_err());
    assert!(store.bootstrap(cluster.peers()).await.is_err());
    assert_eq!(*store.fatal().borrow(), None, "closing is no fault");
    assert!(matches!(&*store.leadership().borrow(), Leadership::Following { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_refused_at_the_start() {
    let mut cluster = Cluster::with(2, |config| config.timing.heartbeat_ms = 400);
    assert!(matches!(cluster.try_start(1).await, Err(OpenError::Config(_))));
    let mut cluster = Cluster::with(2, |_| {});
    cluster.start(1).await;
    assert!(matches!(cluster.try_start(1).await, Err(OpenError::InUse { .. })));
    let taken = std::net::TcpListener::bind(cluster.config(2).peer_listen).unwrap();
    assert!(matches!(cluster.try_start(2).await, Err(OpenError::Listen { .. })));
    drop(taken);
    cluster.start(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_replica_can_tell_when_it_misses_nothing() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let (leader, _) = cluster.leader().await;
    for number in 0..20 {
        let written = cluster.write(&format!("entry {number}")).await;
        for id in 1..=3 {
            let applied = cluster.store(id).settle().await.unwrap();
            assert!(applied >= written.index, "replica {id}: {applied} of {}", written.index);
            assert_eq!(cluster.seen(id).len(), number + 1, "replica {id}");
        }
    }
    let current = |id| cluster.store(id).age().is_some_and(|age| age < PATIENCE);
    until("all are current", || (1..=3).all(current).then_some(())).await;

    let (survivor, other) = (cluster.others(leader)[0], cluster.others(leader)[1]);
    cluster.kill(leader);
    cluster.kill(other);
    assert!(cluster.store(survivor).settle().await.is_err(), "nobody leads");
    let age = cluster.store(survivor).age();
    until("it grows old", || (cluster.store(survivor).age() > age).then_some(())).await;
    cluster.start(other).await;
    cluster.leader().await;
    until("it is current again", || (cluster.store(survivor).age() < age).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_answers_the_questions_of_another_and_of_nobody_else() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let expected = texts(0..3);
    for text in &expected {
        cluster.write(text).await;
    }
    cluster.all_have(&expected).await;
    let peers = cluster.peers();
    let question = Bytes::from_static(b"how many");
    for (from, to) in [(1, 2), (2, 3), (3, 1)] {
        let asked = cluster.store(from).ask(to, peers[&to].clone(), question.clone(), PATIENCE).await;
        assert_eq!(asked.unwrap(), "how many after 3");
    }
    // What is meant for somebody else is refused, and whoever is gone does not answer.
    let mistaken = cluster.store(1).ask(3, peers[&2].clone(), question.clone(), PATIENCE).await;
    assert!(mistaken.unwrap_err().to_string().contains("403"));
    cluster.kill(2);
    assert!(cluster.store(1).ask(2, peers[&2].clone(), question, Duration::from_secs(2)).await.is_err());
}
