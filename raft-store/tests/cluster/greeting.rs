//! Who may speak to a replica, and who is turned away with which words.

use std::time::Duration;

use tepui_raft_store::Leadership;

use crate::harness::{Cluster, until};

fn client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().tls_certs_only([]).build().unwrap()
}

struct Knock {
    cluster: String,
    from: String,
    to: String,
    secret: Option<&'static str>,
}

impl Knock {
    async fn at(self, cluster: &Cluster, id: u64, path: &str, body: Vec<u8>) -> (u16, String) {
        let mut request = client()
            .post(format!("http://{}{path}", cluster.store(id).peer_listen_addr()))
            .header("tepui-cluster", self.cluster)
            .header("tepui-from", self.from)
            .header("tepui-to", self.to)
            .body(body);
        if let Some(secret) = self.secret {
            request = request.header("tepui-cluster-secret", secret);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_turned_away_with_the_reason() {
    let cluster = Cluster::started(1, |config| config.secret = Some("s3cret".to_owned())).await;
    let (_, lead) = cluster.leader().await;
    let id = cluster.store(1).cluster_id().unwrap();
    let knock = |cluster: &str, from: &str, to: &str, secret| Knock {
        cluster: cluster.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        secret,
    };
    for (knock, words) in [
        (knock("another", "2", "1", Some("s3cret")), "belongs to cluster"),
        (knock(&id, "2", "1", Some("wrong")), "secret"),
        (knock(&id, "2", "1", None), "secret"),
        (knock(&id, "2", "7", Some("s3cret")), "this is replica 1, not 7"),
        (knock(&id, "1", "1", Some("s3cret")), "this very replica"),
        (knock(&id, "two", "1", Some("s3cret")), "no sender"),
    ] {
        let (status, text) = knock.at(&cluster, 1, "/raft/v1/vote", Vec::new()).await;
        assert_eq!(status, 403, "{text}");
        assert!(text.contains(words), "{text:?} does not say {words:?}");
    }
    for path in ["append", "vote", "pre_vote", "transfer", "snapshot"] {
        for body in [Vec::new(), vec![1], vec![9; 40], vec![1; 100_000]] {
            let knock = knock(&id, "2", "1", Some("s3cret"));
            let (status, text) = knock.at(&cluster, 1, &format!("/raft/v1/{path}"), body).await;
            assert_eq!(status, 400, "{path}: {text}");
        }
    }
    assert_eq!(cluster.leader().await.1, lead, "nothing happened to it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_another_cluster_is_not_taken_in() {
    let mut first = Cluster::started(1, |_| {}).await;
    let mut second = Cluster::started(1, |_| {}).await;
    first.write("first").await;
    second.write("second").await;
    // The first cluster tries to take in a replica that belongs to the second.
    let peer = first.add_peer(2);
    second.shutdown(1).await;
    let mut config = second.config(1);
    config.peer_listen = peer.peer_addr.parse().unwrap();
    let seen = crate::harness::Seen::default();
    let journal = crate::harness::Journal::new(&seen);
    let stranger = tepui_raft_store::RaftStore::open(config, journal).await.unwrap();
    let taken = first.store(1).add_member(2, peer, Duration::from_secs(3)).await;
    assert!(taken.is_err());
    let foreign = stranger.cluster_id();
    assert_ne!(foreign, first.store(1).cluster_id());
    assert_eq!(seen.lock().unwrap().len(), 1, "it has its own command only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_with_different_secrets_do_not_find_each_other() {
    let mut cluster = Cluster::with(3, |config| {
        config.secret = Some(if config.node_id == 3 { "other" } else { "same" }.to_owned());
    });
    for id in 1..=3 {
        cluster.start(id).await;
    }
    cluster.store(1).bootstrap(cluster.peers()).await.unwrap();
    cluster.write("x").await;
    let (leader, _) = cluster.leader().await;
    assert_ne!(leader, 3);
    until("replica 2", || (cluster.seen(2).len() == 1).then_some(())).await;
    assert_eq!(cluster.store(3).cluster_id(), None, "it was never properly greeted");
    assert!(cluster.seen(3).is_empty());
    assert!(matches!(&*cluster.store(3).leadership().borrow(), Leadership::Following { leader: None }));
}
