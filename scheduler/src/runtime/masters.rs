//! Who leads and which masters there are, as this master tells those who follow it: agents, schedulers and drivers that want to be
//! with the next leader at once.
//!
//! Owns the news and when they are published. That this master serves is told at once; what it only heard of others is told a little
//! later, because the leader itself tells it first to everybody who listens to all masters. Looks into no connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use tepui_proto::MediaType;
use tepui_proto::tepui::masters::News;
use tepui_proto::wire;
use tepui_raft_store::Members;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::runtime::board::Board;
use crate::runtime::handle::Handle;
use crate::runtime::role::Role;

/// What was only heard is told after this.
const HEARSAY_DELAY: Duration = Duration::from_millis(250);
/// How many agents there are is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many agents can be taken back in a millisecond.
const AGENTS_PER_MS: usize = 20;
/// Nobody is asked to wait any longer.
const SPREAD_MAX_MS: usize = 2_000;

/// The news in all the forms in which they are sent.
#[derive(Debug)]
pub(crate) struct Told {
    news: News,
    json: Bytes,
    protobuf: Bytes,
    /// The list of masters for a header; absent while it is not this master's to give.
    header: Option<HeaderValue>,
}

impl Told {
    pub(crate) fn new(news: News) -> Told {
        // Never nothing at all: an empty record is none.
        let news = News { serving: Some(news.serving()), ..news };
        let record = |media| wire::encode_record(media, &news);
        let (json, protobuf) = (record(MediaType::Json), record(MediaType::Protobuf));
        let list = Some(news.masters.join(",")).filter(|list| news.serving() && !list.is_empty());
        let header = list.and_then(|list| HeaderValue::from_str(&list).ok());
        Told { news, json, protobuf, header }
    }

    /// Nothing is known yet.
    pub(crate) fn nothing() -> Arc<Told> {
        Arc::new(Told::new(News::default()))
    }

    /// One record.
    pub(crate) fn record(&self, media: MediaType) -> Bytes {
        match media {
            MediaType::Json => self.json.clone(),
            MediaType::Protobuf => self.protobuf.clone(),
        }
    }

    /// The list of masters as the value of a header, if this master leads.
    pub(crate) fn header(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }
}

/// Keeps the news.
pub(crate) struct Announcer {
    pub(crate) api_address: String,
    pub(crate) board: Arc<Board>,
    pub(crate) members: watch::Receiver<Members>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) handle: Handle,
    pub(crate) told: watch::Sender<Arc<Told>>,
}

impl Announcer {
    /// Publishes until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut hearsay_at: Option<Instant> = None;
        let mut list_told = None;
        loop {
            let hearsay = async move {
                match hearsay_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let due = tokio::select! {
                () = stop.cancelled() => return,
                changed = self.role.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                Ok(()) = self.members.changed() => false,
                _ = looks.tick() => false,
                () = hearsay => true,
            };
            let now = self.news();
            if now.serving() && list_told.as_ref() != Some(&(now.epoch(), now.masters.clone())) {
                // The core tells it to agents, and to drivers that it starts.
                if self.handle.masters(now.masters.clone()).await.is_ok() {
                    list_told = Some((now.epoch(), now.masters.clone()));
                }
            }
            let before = self.told.borrow().news.clone();
            if now == before {
                hearsay_at = None;
            } else if due || is_urgent(&before, &now) {
                hearsay_at = None;
                self.told.send_replace(Arc::new(Told::new(now)));
            } else {
                hearsay_at.get_or_insert_with(|| Instant::now() + HEARSAY_DELAY);
            }
        }
    }

    fn news(&mut self) -> News {
        let role = self.role.borrow_and_update().clone();
        let members = self.members.borrow_and_update().clone();
        let addresses = members.list.into_values().map(|member| member.peer.api_addr);
        let masters: BTreeSet<String> = addresses.filter(|address| !address.is_empty()).collect();
        let masters = masters.into_iter().collect();
        match role {
            Role::Serving { .. } => {
                let newest = self.board.newest();
                let spread = (newest.registry.agents.len() / AGENTS_PER_MS).min(SPREAD_MAX_MS);
                News {
                    leader: Some(self.api_address.clone()),
                    serving: Some(true),
                    epoch: Some(newest.registry.epoch),
                    masters,
                    // Coarse, so that not every agent that comes is news.
                    spread_ms: u32::try_from(spread.next_multiple_of(50)).ok(),
                }
            }
            Role::Following { leader } => News { leader, masters, ..News::default() },
            Role::Recovering | Role::Draining => News { masters, ..News::default() },
        }
    }
}

/// Whether others wait for this, and nobody else tells it.
fn is_urgent(before: &News, now: &News) -> bool {
    now.serving() && (!before.serving() || before.epoch != now.epoch || before.masters != now.masters)
        || before.serving() && !now.serving()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_master_knows_is_urgent_and_hearsay_is_not() {
        let serving = |epoch, masters: &[&str]| News {
            leader: Some("a:1".into()),
            serving: Some(true),
            epoch: Some(epoch),
            masters: masters.iter().map(|one| (*one).to_owned()).collect(),
            spread_ms: Some(0),
        };
        let heard = |leader: Option<&str>| News { leader: leader.map(str::to_owned), ..News::default() };
        assert!(is_urgent(&heard(Some("b:2")), &serving(1, &["a:1"])));
        assert!(is_urgent(&serving(1, &["a:1"]), &serving(2, &["a:1"])));
        assert!(is_urgent(&serving(1, &["a:1"]), &serving(1, &["a:1", "b:2"])));
        assert!(is_urgent(&serving(1, &["a:1"]), &heard(None)));
        assert!(!is_urgent(&heard(None), &heard(Some("b:2"))));
        assert!(!is_urgent(&serving(1, &[]), &News { spread_ms: Some(50), ..serving(1, &[]) }));
    }

    #[test]
    fn only_a_leading_master_gives_its_list_in_headers() {
        let masters = vec!["a:1".to_owned(), "b:2".to_owned()];
        let leading = News { serving: Some(true), masters: masters.clone(), ..News::default() };
        assert_eq!(Told::new(leading).header().unwrap(), "a:1,b:2");
        assert!(Told::new(News { masters, ..News::default() }).header().is_none());
    }
}
