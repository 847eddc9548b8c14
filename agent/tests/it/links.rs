//! Which master an agent follows, and which it refuses.

use std::time::Duration;

use tepui_agent::Secret;
use tepui_proto::tepui::agent_link::{call, event};

use crate::master::{Master, shell};
use crate::rig::Rig;

#[tokio::test]
async fn a_redirect_is_followed_and_the_secret_shown() {
    let (standby, leader) = (Master::start().await, Master::start().await);
    standby.redirect_to(&leader.address);
    let masters = vec!["127.0.0.1:1".to_owned(), standby.address.clone()];
    let _rig = Rig::start_with(masters, |config| config.secret = Some(Secret::new("hush\n"))).await;
    leader.registration(1).await;
    leader.send(event::Type::Ping, |_| {}).await;
    leader.call(call::Type::Pong).await;
    assert!(leader.headers().iter().all(|headers| headers["tepui-cluster-secret"] == "hush"));
    assert!(standby.registrations().is_empty());
}

#[tokio::test]
async fn a_broken_stream_leads_to_a_new_registration_with_another_master() {
    let (first, second) = (Master::start().await, Master::start().await);
    let _rig = Rig::start_with(vec![first.address.clone(), second.address.clone()], |_| {}).await;
    first.registration(1).await;
    second.set_epoch(2);
    drop(first);
    let register = second.registration(1).await;
    assert_eq!(register.epoch(), 1);
    assert_eq!(register.cluster_id(), "cluster");
}

#[tokio::test]
async fn a_past_epoch_and_a_foreign_cluster_are_refused() {
    let (current, stale) = (Master::start().await, Master::start().await);
    current.set_epoch(7);
    let rig = Rig::start_with(vec![current.address.clone(), stale.address.clone()], |_| {}).await;
    current.registration(1).await;
    // The agent goes to the other one, refuses it, and comes back.
    current.close_stream();
    stale.attachment(1).await;
    assert_eq!(current.registration(2).await.epoch(), 7);
    stale.set_epoch(8);
    stale.set_cluster("elsewhere");
    current.close_stream();
    stale.registration(1).await;
    let again = current.registration(3).await;
    assert_eq!((again.epoch(), again.cluster_id()), (7, "cluster"), "a foreign epoch is not taken over");
    assert_eq!(rig.get_json("/state").await["id"], "master-S0");
}

#[tokio::test]
async fn orders_of_a_past_epoch_on_a_live_stream_start_nothing() {
    let master = Master::start().await;
    master.set_epoch(5);
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    master.set_epoch(4);
    master.run(shell("t1", "true"), 1).await;
    master.set_epoch(5);
    let again = master.registration(2).await;
    assert!(again.tasks.is_empty());
    assert_eq!(rig.containers(), 0);
}

#[tokio::test]
async fn an_agent_that_comes_back_says_how_it_stands_and_tells_all_only_if_asked() {
    let (first, second) = (Master::start().await, Master::start().await);
    second.set_epoch(2);
    let _rig = Rig::start_with(vec![first.address.clone(), second.address.clone()], |_| {}).await;
    first.registration(1).await;
    drop(first);
    let attach = second.attachment(1).await;
    assert_eq!((attach.cluster_id(), attach.standing().len()), ("cluster", 32));
    // This one wants to know.
    assert_eq!(second.registration(1).await.epoch(), 1, "it has been registered by the first one only");
    second.believe();
    second.close_stream();
    let again = second.attachment(2).await;
    assert_eq!((again.epoch(), again.standing()), (2, attach.standing()), "nothing else has changed");
    second.send(event::Type::Ping, |_| {}).await;
    second.call(call::Type::Pong).await;
    assert_eq!(second.registrations().len(), 1);
}

#[tokio::test]
async fn an_agent_leaves_a_leader_that_says_nothing_for_one_that_says_that_it_leads() {
    let (frozen, next) = (Master::start().await, Master::start().await);
    frozen.lead(4);
    next.say(Default::default());
    let masters = vec![frozen.address.clone(), next.address.clone()];
    let _rig =
        Rig::start_with(masters, |config| config.timers.reconnect_max = Duration::from_secs(3_600)).await;
    frozen.registration(1).await;
    // Its stream stays open, as that of a process that is stopped.
    next.lead(5);
    assert_eq!(next.attachment(1).await.epoch(), 4);
}

#[tokio::test]
async fn an_agent_waits_for_a_leader_instead_of_asking_again_and_again() {
    let (first, second) = (Master::start().await, Master::start().await);
    first.lead(1);
    second.say(Default::default());
    let masters = vec![first.address.clone(), second.address.clone()];
    let _rig =
        Rig::start_with(masters, |config| config.timers.reconnect_min = Duration::from_millis(1)).await;
    first.registration(1).await;
    drop(first);
    second.lead(2);
    second.attachment(1).await;
    assert_eq!(second.headers().len(), 1, "not before it led");
}

#[tokio::test]
async fn an_agent_finds_masters_that_it_was_not_started_with() {
    let (old, new) = (Master::start().await, Master::start().await);
    old.name_masters(vec![new.address.clone()]);
    let mut rig = Rig::start(&old).await;
    old.registration(1).await;
    new.set_epoch(2);
    drop(old);
    new.registration(1).await;
    // Once it has answered, it has taken in that it is registered there.
    new.send(event::Type::Ping, |_| {}).await;
    new.call(call::Type::Pong).await;
    // So does its next run, which is started with the old list.
    rig.stop_agent().await;
    rig.start_agent(|_| {}).await;
    assert_eq!(new.registration(2).await.epoch(), 2);
}
