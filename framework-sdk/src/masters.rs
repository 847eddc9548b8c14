//! What masters say about themselves: who leads, and which masters there are, as it changes.
//!
//! Owns one stream at each master (`GET /tepui/v1/masters`), opened again when it ends. Judges nothing: whoever listens decides whom to
//! believe.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream, SelectAll};
use tepui_proto::MediaType;
use tepui_proto::tepui::masters::News;

use crate::event_stream::EventStream;
use crate::transport::{Opened, Request, Transport};

const PATH: &str = "/tepui/v1/masters";
/// First and longest pause before a master that did not answer is asked again, give or take a half.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Pause where the master does not know the question.
const PAUSE_UNKNOWN: Duration = Duration::from_secs(30);
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Masters repeat themselves; one that was silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Masters that are listened to; no cluster has as many.
const MASTERS_MAX: usize = 64;

/// What was heard of one master.
#[derive(Debug)]
pub(crate) enum Said {
    News(News),
    /// Nothing can be heard there now.
    Gone,
    /// It does not know the question.
    Unknown,
}

/// Listens at several masters.
pub(crate) struct Listener {
    transport: Transport,
    heard: SelectAll<BoxStream<'static, (String, Said)>>,
    addresses: BTreeSet<String>,
}

impl Listener {
    pub(crate) fn new(transport: &Transport, masters: Vec<String>) -> Self {
        let (heard, addresses) = (SelectAll::new(), BTreeSet::new());
        let mut listener = Self { transport: transport.clone(), heard, addresses };
        masters.into_iter().for_each(|master| listener.add(master));
        listener
    }

    /// Listens there too.
    pub(crate) fn add(&mut self, address: String) {
        if self.addresses.len() < MASTERS_MAX && self.addresses.insert(address.clone()) {
            self.heard.push(listen(self.transport.clone(), address).boxed());
        }
    }

    /// Returns what is heard next, and of whom. May be dropped and called again: nothing is lost. Without masters it never returns.
    pub(crate) async fn next(&mut self) -> (String, Said) {
        match self.heard.next().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

struct One {
    transport: Transport,
    address: String,
    open: Option<Box<EventStream<News>>>,
    pause: Duration,
    /// Before the next attempt.
    wait: Duration,
}

fn listen(transport: Transport, address: String) -> impl futures::Stream<Item = (String, Said)> + Send {
    let one = One { transport, address, open: None, pause: PAUSE_MIN, wait: Duration::ZERO };
    stream::unfold(one, |mut one| async move {
        let said = one.hear().await;
        Some(((one.address.clone(), said), one))
    })
}

impl One {
    async fn hear(&mut self) -> Said {
        if self.open.is_none() {
            tokio::time::sleep(std::mem::take(&mut self.wait)).await;
            let media = MediaType::Protobuf;
            let request = Request::get(PATH).header("accept", media.as_str()).answer_within(OPEN_TIMEOUT);
            match self.transport.open(&self.address, &request).await {
                Ok(Opened::Stream(response)) => {
                    self.open = Some(Box::new(EventStream::new(response, media)));
                }
                Ok(Opened::Answer(answer)) if matches!(answer.status, 404 | 405) => {
                    self.wait = PAUSE_UNKNOWN;
                    return Said::Unknown;
                }
                Ok(Opened::Answer(_)) | Err(_) => return self.gone(),
            }
        }
        let Some(stream) = &mut self.open else { return Said::Gone };
        match tokio::time::timeout(SILENCE, stream.next()).await {
            Ok(Ok(Some(news))) => {
                self.pause = PAUSE_MIN;
                Said::News(news)
            }
            _ => self.gone(),
        }
    }

    fn gone(&mut self) -> Said {
        self.open = None;
        self.wait = self.pause.mul_f64(0.5 + rand::random::<f64>());
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        Said::Gone
    }
}
