//! Who leads, as the masters themselves say: a stream at each of them, over the connection on which the agent would register there.
//!
//! Owns these streams and the choice between what they say: only a master's word about itself counts, and of two leading ones the
//! higher epoch. Decides nothing about the link.
//!
//! ```text
//!   flags, checkpoint, masters ─► Scouts ─► one task a master ─GET /tepui/v1/masters─► News ─► Sight (watched by the link)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode};
use tepui_proto::MediaType;
use tepui_proto::recordio::Decoder;
use tepui_proto::tepui::masters::News;
use tepui_proto::wire;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PATH: &str = "/tepui/v1/masters";
/// First and longest pause before a master that did not answer is asked again, unless another one names it as the leader.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Pause where the master does not know the question.
const PAUSE_UNKNOWN: Duration = Duration::from_secs(30);
/// Masters repeat themselves; one that was silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(60);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Masters that are listened to; no cluster has as many.
const SCOUTS_MAX: usize = 64;

/// A master that says that it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    /// As it is reached from here.
    pub(crate) address: String,
    pub(crate) epoch: u64,
    /// Over how long agents should spread that come now.
    pub(crate) spread: Duration,
}

/// What the masters say at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) leader: Option<Leader>,
    /// How many masters are being listened to.
    pub(crate) open: usize,
}

/// What one stream brought; `None` at its end.
type Heard = (String, Option<News>);

/// Listens at all masters.
pub(crate) struct Scouts {
    client: Client,
    heard: mpsc::Sender<Heard>,
    inbox: mpsc::Receiver<Heard>,
    sight: watch::Sender<Sight>,
    addresses: watch::Receiver<Vec<String>>,
    scouts: BTreeMap<String, Scout>,
    tasks: JoinSet<()>,
}

struct Scout {
    /// Ends the pause before the next attempt.
    poke: Arc<Notify>,
    stop: CancellationToken,
    /// The last that was heard on a stream that is open.
    news: Option<News>,
}

impl Scouts {
    pub(crate) fn new(
        client: Client,
        addresses: watch::Receiver<Vec<String>>,
    ) -> (Self, watch::Receiver<Sight>) {
        let (heard, inbox) = mpsc::channel(64);
        let (sight, seen) = watch::channel(Sight::default());
        let (scouts, tasks) = (BTreeMap::new(), JoinSet::new());
        (Self { client, heard, inbox, sight, addresses, scouts, tasks }, seen)
    }

    /// Listens until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        self.addresses.mark_changed();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.addresses.changed() => self.follow_list(),
                Some((address, news)) = self.inbox.recv() => self.take(address, news),
                Some(_ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
        }
    }

    fn follow_list(&mut self) {
        let list = self.addresses.borrow_and_update().clone();
        self.scouts.retain(|address, scout| {
            let stays = list.contains(address);
            if !stays {
                scout.stop.cancel();
            }
            stays
        });
        for address in list {
            self.listen_at(address);
        }
        self.publish();
    }

    fn listen_at(&mut self, address: String) {
        if self.scouts.contains_key(&address) || self.scouts.len() >= SCOUTS_MAX {
            return;
        }
        let (poke, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let task = listen(self.client.clone(), address.clone(), self.heard.clone(), poke.clone());
        let ends = stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = ends.cancelled() => {}
            }
        });
        self.scouts.insert(address, Scout { poke, stop, news: None });
    }

    fn take(&mut self, address: String, news: Option<News>) {
        let Some(scout) = self.scouts.get_mut(&address) else { return };
        scout.news.clone_from(&news);
        if let Some(leader) = news.filter(|news| !news.serving()).and_then(|news| news.leader) {
            // Only hearsay, but a reason to ask that one.
            match self.scouts.get(&leader) {
                Some(scout) if scout.news.is_none() => scout.poke.notify_one(),
                Some(_) => {}
                None => self.listen_at(leader),
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let said = self.scouts.iter().filter_map(|(address, scout)| Some((address, scout.news.as_ref()?)));
        let open = said.clone().count();
        let leading = said.filter(|(_, news)| news.serving()).max_by_key(|(_, news)| news.epoch());
        let leader = leading.map(|(address, news)| Leader {
            address: address.clone(),
            epoch: news.epoch(),
            spread: Duration::from_millis(news.spread_ms().into()),
        });
        let sight = Sight { leader, open };
        self.sight.send_if_modified(|seen| {
            let changed = *seen != sight;
            *seen = sight;
            changed
        });
    }
}

/// Listens at one master, again and again.
async fn listen(client: Client, address: String, heard: mpsc::Sender<Heard>, poke: Arc<Notify>) {
    let mut pause = PAUSE_MIN;
    loop {
        let known = attempt(&client, &address, &heard, &mut pause).await;
        if heard.send((address.clone(), None)).await.is_err() {
            return;
        }
        let longest = if known { pause } else { PAUSE_UNKNOWN };
        let wait = longest.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = poke.notified(), if known => pause = PAUSE_MIN,
        }
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

/// Returns whether the master knows the question, as far as anybody can tell.
async fn attempt(client: &Client, address: &str, heard: &mpsc::Sender<Heard>, pause: &mut Duration) -> bool {
    let request = client.get(format!("http://{address}{PATH}")).header(ACCEPT, MediaType::Protobuf.as_str());
    let Ok(Ok(mut response)) = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await else {
        return true;
    };
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return false,
        _ => return true,
    }
    let mut decoder = Decoder::new(RECORD_BYTES_MAX);
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(SILENCE, response.chunk()).await {
        decoder.push(&chunk);
        loop {
            let record = match decoder.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(_) => return true,
            };
            let Ok(news) = wire::decode::<News>(MediaType::Protobuf, &record) else { return true };
            *pause = PAUSE_MIN;
            if heard.send((address.to_owned(), Some(news))).await.is_err() {
                return true;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scouts(addresses: &[&str]) -> (Scouts, watch::Receiver<Sight>, watch::Sender<Vec<String>>) {
        // Another test may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let list = addresses.iter().map(|one| (*one).to_owned()).collect();
        let (sender, receiver) = watch::channel(list);
        let (mut scouts, sight) = Scouts::new(Client::new(), receiver);
        scouts.follow_list();
        (scouts, sight, sender)
    }

    fn serving(epoch: u64) -> Option<News> {
        Some(News { serving: Some(true), epoch: Some(epoch), ..News::default() })
    }

    fn led_by(sight: &watch::Receiver<Sight>) -> Option<(String, u64)> {
        sight.borrow().leader.as_ref().map(|leader| (leader.address.clone(), leader.epoch))
    }

    #[tokio::test]
    async fn only_what_a_master_says_of_itself_counts_and_the_highest_epoch_wins() {
        let (mut scouts, sight, _list) = scouts(&["127.0.0.1:1", "127.0.0.1:2"]);
        let hearsay = News { leader: Some("127.0.0.1:2".to_owned()), ..News::default() };
        scouts.take("127.0.0.1:1".to_owned(), Some(hearsay));
        assert_eq!((led_by(&sight), sight.borrow().open), (None, 1));
        scouts.take("127.0.0.1:2".to_owned(), serving(4));
        assert_eq!(led_by(&sight), Some(("127.0.0.1:2".to_owned(), 4)));
        scouts.take("127.0.0.1:1".to_owned(), serving(5));
        assert_eq!(led_by(&sight), Some(("127.0.0.1:1".to_owned(), 5)));
        scouts.take("127.0.0.1:1".to_owned(), None);
        assert_eq!(led_by(&sight), Some(("127.0.0.1:2".to_owned(), 4)));
        scouts.take("127.0.0.1:2".to_owned(), Some(News::default()));
        assert_eq!(led_by(&sight), None);
    }

    #[tokio::test]
    async fn a_leader_that_others_name_is_listened_to_and_the_list_decides_who_stays() {
        let (mut scouts, _sight, list) = scouts(&["127.0.0.1:1"]);
        let hearsay = News { leader: Some("127.0.0.1:3".to_owned()), ..News::default() };
        scouts.take("127.0.0.1:1".to_owned(), Some(hearsay));
        let listening = |scouts: &Scouts| scouts.scouts.keys().cloned().collect::<Vec<_>>();
        assert_eq!(listening(&scouts), ["127.0.0.1:1", "127.0.0.1:3"]);
        list.send_replace(vec!["127.0.0.1:3".to_owned(), "127.0.0.1:4".to_owned()]);
        scouts.follow_list();
        assert_eq!(listening(&scouts), ["127.0.0.1:3", "127.0.0.1:4"]);
        scouts.take("127.0.0.1:1".to_owned(), serving(9));
        assert!(scouts.sight.borrow().leader.is_none(), "nobody listens there any more");
    }
}
