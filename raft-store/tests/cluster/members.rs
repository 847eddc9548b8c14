//! Who belongs to a cluster and who does not any more: joining, leaving, moving, lost folders, and leaders that die in between.

use std::time::Duration;

use tepui_raft_store::{BootstrapError, Expelled, HandOverError, JoinError, MembershipError, RaftStore};

use crate::harness::{Cluster, PATIENCE, texts, until};

/// Waits until a replica ends, and returns why.
async fn end(cluster: &Cluster, id: u64) -> (Option<Expelled>, String) {
    let mut fatal = cluster.store(id).fatal();
    let told = tokio::time::timeout(PATIENCE, fatal.wait_for(Option::is_some)).await;
    let text = told.unwrap_or_else(|_| panic!("replica {id} goes on")).unwrap().clone().unwrap();
    (cluster.store(id).expelled(), text)
}

fn refusal(outcome: Result<(), MembershipError>) -> String {
    match outcome {
        Err(MembershipError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// Removes a member at whoever leads, as often as it takes.
async fn remove(cluster: &Cluster, id: u64) {
    loop {
        let (leader, _) = cluster.leader().await;
        match cluster.store(leader).remove_member(id, PATIENCE).await {
            Ok(()) => return,
            Err(MembershipError::Busy(_) | MembershipError::NotLeading { .. }) => {}
            Err(e) => panic!("{e}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_join_get_numbers_of_their_own_and_none_twice() {
    let mut cluster = Cluster::started(3, |config| config.keep_entries = 0).await;
    let mut expected = texts(0..20);
    for text in &expected {
        cluster.write(text).await;
    }
    let (leader, _) = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    assert_eq!(cluster.join(follower, true).await, 4, "a follower tells who leads");
    assert_eq!(cluster.join(leader, true).await, 5);
    cluster.all_know_voters(&[1, 2, 3, 4, 5]).await;
    cluster.all_have(&expected).await;

    // Started again as it was started first, it goes on.
    cluster.kill(5);
    cluster.start(5).await;
    cluster.all_have(&expected).await;

    remove(&cluster, 5).await;
    assert_eq!(end(&cluster, 5).await.0, Some(Expelled::Removed));
    cluster.shutdown(5).await;
    cluster.all_know_voters(&[1, 2, 3, 4]).await;
    let (leader, _) = cluster.leader().await;
    for id in [5, 2] {
        let peer = cluster.peers()[&5].clone();
        refusal(cluster.store(leader).add_member(id, peer, PATIENCE).await);
    }

    // The numbers that were given are remembered in snapshots, and by those who only have the snapshot.
    for id in 1..=4 {
        cluster.store(id).trigger_snapshot().await.unwrap();
        cluster.shutdown(id).await;
    }
    for id in 1..=4 {
        cluster.start(id).await;
    }
    expected.push("again".to_owned());
    cluster.write("again").await;
    cluster.all_have(&expected).await;
    let (leader, _) = cluster.leader().await;
    assert_eq!(cluster.join(leader, true).await, 6, "5 was given before");
    cluster.all_know_voters(&[1, 2, 3, 4, 6]).await;
    cluster.all_have(&expected).await;
    assert_eq!(cluster.store(6).members().borrow().newest, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_may_follow_without_a_vote_until_it_is_given_one() {
    let mut cluster = Cluster::started(1, |_| {}).await;
    let id = cluster.join(1, false).await;
    let expected = texts(0..10);
    for text in &expected {
        cluster.write(text).await;
    }
    cluster.all_have(&expected).await;
    cluster.all_know_voters(&[1]).await;
    cluster.store(1).promote_member(id, PATIENCE).await.unwrap();
    cluster.all_know_voters(&[1, id]).await;
    assert!(refusal(cluster.store(1).promote_member(id, PATIENCE).await).contains("votes already"));
    assert!(refusal(cluster.store(1).promote_member(9, PATIENCE).await).contains("no member"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_its_folder_is_not_let_back_under_its_number() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let mut expected = texts(0..10);
    for text in &expected {
        cluster.write(text).await;
    }
    cluster.all_have(&expected).await;
    let (leader, _) = cluster.leader().await;
    let victim = cluster.others(leader)[0];
    // Whichever leads afterwards knows the folders from the log.
    until("the folders to be known", || bound(&cluster, leader).then_some(())).await;
    cluster.shutdown(victim).await;
    cluster.wipe(victim);
    cluster.start(victim).await;
    let (why, text) = end(&cluster, victim).await;
    assert_eq!(why, Some(Expelled::OtherFolder), "{text}");
    assert!(text.contains(&format!("replica {victim}")) && text.contains("lost"), "{text}");
    assert!(cluster.seen(victim).is_empty());
    assert_eq!(cluster.store(victim).cluster_id(), None, "nothing was written into the new folder");
    cluster.shutdown(victim).await;

    // The other one is gone: what the empty folder would have said counts for nothing, so there is no majority.
    let other = cluster.others(leader)[0];
    cluster.kill(other);
    cluster.start(victim).await;
    assert_eq!(end(&cluster, victim).await.0, Some(Expelled::OtherFolder));
    cluster.shutdown(victim).await;
    cluster.start(other).await;

    // It comes back under another number.
    remove(&cluster, victim).await;
    let id = cluster.join(other, true).await;
    assert_eq!(id, 4);
    expected.push("after".to_owned());
    cluster.write("after").await;
    cluster.all_have(&expected).await;
}

/// Whether the log names the folder of every member: the keeper then has nothing to do.
fn bound(cluster: &Cluster, leader: u64) -> bool {
    cluster.store(leader).members().borrow().bound
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_its_folder_founds_no_second_cluster() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    cluster.write("x").await;
    cluster.shutdown(1).await;
    cluster.wipe(1);
    cluster.start(1).await;
    let founded = cluster.store(1).bootstrap(cluster.peers()).await;
    assert!(matches!(founded, Err(BootstrapError::OtherCluster { .. })), "{founded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_replica_that_comes_back_ends_and_disturbs_nobody() {
    let mut cluster = Cluster::started(4, |_| {}).await;
    cluster.write("x").await;
    let (leader, lead) = cluster.leader().await;
    let away = cluster.others(leader)[0];
    cluster.shutdown(away).await;
    remove(&cluster, away).await;
    cluster.all_know_voters(&cluster.others(away)).await;
    cluster.start(away).await;
    let (why, text) = end(&cluster, away).await;
    assert_eq!(why, Some(Expelled::Removed), "{text}");
    assert!(text.contains("was removed"), "{text}");
    cluster.shutdown(away).await;
    cluster.write("y").await;
    assert_eq!(cluster.leader().await, (leader, lead), "nobody was disturbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_would_leave_no_majority_are_refused() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    cluster.write("x").await;
    let (leader, _) = cluster.leader().await;
    let [dead, alive] = cluster.others(leader)[..] else { panic!() };
    cluster.kill(dead);
    let store = cluster.store(leader).clone();
    until("its silence to be noticed", || (store.status().silent == [dead]).then_some(())).await;
    let text = refusal(store.remove_member(alive, PATIENCE).await);
    assert!(text.contains("no majority") && text.contains(&format!("silent: {dead}")), "{text}");
    store.remove_member(dead, PATIENCE).await.unwrap();
    store.remove_member(alive, PATIENCE).await.unwrap();
    let text = refusal(store.remove_member(leader, PATIENCE).await);
    assert!(text.contains("only voter"), "{text}");
    cluster.write("alone").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_goes_to_the_one_that_is_named() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let learner = cluster.join(1, false).await;
    for _ in 0..3 {
        cluster.write("x").await;
        let (old, _) = cluster.leader().await;
        for id in [1, 2, 3].into_iter().filter(|id| *id != old) {
            let (old, _) = cluster.leader().await;
            if id != old {
                assert_eq!(cluster.store(old).hand_over_to(id, PATIENCE).await.unwrap(), id);
                assert_eq!(cluster.leader().await.0, id);
            }
        }
    }
    let (leader, lead) = cluster.leader().await;
    for (to, words) in [(leader, "leads already"), (learner, "no vote"), (77, "no member")] {
        match cluster.store(leader).hand_over_to(to, PATIENCE).await {
            Err(HandOverError::Unfit { to: named, reason }) => {
                assert!(named == to && reason.contains(words), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cluster.leader().await, (leader, lead));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_may_move() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let mut expected = texts(0..5);
    for text in &expected {
        cluster.write(text).await;
    }
    let (leader, _) = cluster.leader().await;
    let mover = cluster.others(leader)[0];
    cluster.shutdown(mover).await;
    let there = cluster.move_away(mover);
    let taken = cluster.peers()[&leader].clone();
    assert!(
        refusal(cluster.store(leader).relocate_member(mover, taken, PATIENCE).await).contains("address of")
    );
    cluster.store(leader).relocate_member(mover, there.clone(), PATIENCE).await.unwrap();
    cluster.start(mover).await;
    expected.push("moved".to_owned());
    cluster.write("moved").await;
    cluster.all_have(&expected).await;
    // Everybody knows, also after all were started again.
    for id in 1..=3 {
        cluster.shutdown(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    expected.push("again".to_owned());
    cluster.write("again").await;
    cluster.all_have(&expected).await;
    for id in 1..=3 {
        assert_eq!(cluster.store(id).members().borrow().list[&mover].peer, there);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_refused_with_what_to_do() {
    let cluster = Cluster::started(1, |_| {}).await;
    cluster.write("x").await;
    let folder = tempfile::tempdir().unwrap();
    let peer = cluster.peers()[&1].clone();
    let claimed =
        RaftStore::claim(folder.path(), peer.clone(), std::slice::from_ref(&peer.peer_addr), None, PATIENCE)
            .await;
    let Err(JoinError::Refused(text)) = claimed else { panic!("{claimed:?}") };
    assert!(text.contains("address of replica 1") && text.contains("remove it first"), "{text}");
    let nobody = ["127.0.0.1:1".to_owned()];
    let claimed = RaftStore::claim(folder.path(), peer, &nobody, None, Duration::from_millis(700)).await;
    let Err(JoinError::NoAnswer { last, .. }) = claimed else { panic!("{claimed:?}") };
    assert!(last.contains("127.0.0.1:1"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_a_dead_leader_left_half_done_is_finished() {
    let mut cluster = Cluster::started(4, |_| {}).await;
    cluster.write("x").await;
    let (leader, _) = cluster.leader().await;
    let [witness, second, leaving] = cluster.others(leader)[..] else { panic!() };
    // Still counted as there for a moment, two of four are gone: the first half of the change reaches one other log only.
    cluster.kill(second);
    cluster.kill(leaving);
    let store = cluster.store(leader).clone();
    let mut changing = tokio::task::JoinSet::new();
    changing.spawn(async move { store.remove_member(leaving, PATIENCE).await });
    until("half of the change", || cluster.store(witness).status().changing.then_some(())).await;
    cluster.kill(leader);
    changing.shutdown().await;
    cluster.start(second).await;
    cluster.start(leaving).await;
    let rest: Vec<u64> = [leader, witness, second].into_iter().collect();
    until("a leader that has it", || cluster.leading().filter(|(id, _)| *id == witness)).await;
    assert_eq!(end(&cluster, leaving).await.0, Some(Expelled::Removed));
    cluster.shutdown(leaving).await;
    cluster.start(leader).await;
    let mut sorted = rest;
    sorted.sort_unstable();
    cluster.all_know_voters(&sorted).await;
    cluster.write("whole").await;
}

/// Leaders die at every moment of a change, over and over: the members are the old ones or the new ones, never half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_die_while_members_change_leave_nothing_half_done() {
    let mut cluster = Cluster::started(5, |config| {
        config.timing =
            tepui_raft_store::Timing { heartbeat_ms: 50, election_min_ms: 250, election_max_ms: 500 };
    })
    .await;
    let mut expected = Vec::new();
    let spare = cluster.join(1, true).await;
    cluster.all_know_voters(&[1, 2, 3, 4, 5, spare]).await;
    let mut leaving = spare;
    for round in 0..6u64 {
        let text = format!("command-{round}");
        cluster.write(&text).await;
        expected.push(text);
        let (leader, _) = cluster.leader().await;
        if leader == leaving {
            let to = cluster.others(leader)[0];
            cluster.store(leader).hand_over_to(to, PATIENCE).await.unwrap();
            continue;
        }
        let store = cluster.store(leader).clone();
        let mut changing = tokio::task::JoinSet::new();
        changing.spawn(async move { store.remove_member(leaving, PATIENCE).await });
        // From before the first entry of the change to behind its last.
        tokio::time::sleep(Duration::from_millis(round * 2)).await;
        cluster.kill(leader);
        changing.shutdown().await;
        cluster.leader().await;
        cluster.start(leader).await;
        // Whatever is left of it is finished without being asked, and if nothing is, it can be made anew.
        let (now, _) = cluster.leader().await;
        until("the change to be whole", || (!cluster.store(now).status().changing).then_some(())).await;
        let (now, _) = cluster.leader().await;
        if cluster.voters(now).contains(&leaving) {
            if now == leaving {
                continue;
            }
            remove(&cluster, leaving).await;
        }
        cluster.shutdown(leaving).await;
        let (now, _) = cluster.leader().await;
        let next = cluster.join(now, true).await;
        assert!(next > leaving);
        leaving = next;
        cluster.all_know_voters(&[1, 2, 3, 4, 5, next]).await;
    }
    expected.push("last".to_owned());
    cluster.write("last").await;
    cluster.all_have(&expected).await;
}
