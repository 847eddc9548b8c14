//! Which master an agent follows, and which it refuses.

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
    stale.registration(1).await;
    let again = current.registration(2).await;
    assert_eq!(again.epoch(), 7);
    stale.set_epoch(8);
    stale.set_cluster("elsewhere");
    current.close_stream();
    stale.registration(2).await;
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
