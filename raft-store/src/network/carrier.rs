//! The seam between a message and the way it goes: bytes with headers there, a status and bytes back.
//!
//! Owns the vocabulary and the real carrier over HTTP/2. Knows nothing of what is in a message.

use std::io;
use std::time::Duration;

use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::client::client_builder;
use crate::config::Timing;

const WINDOW: u32 = 4 << 20;

/// Messages in different lanes never wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Entries,
    Control,
    Snapshots,
}

/// One message on its way.
pub(crate) struct Letter {
    pub(crate) lane: Lane,
    /// `host:port` of the peer's listener.
    pub(crate) to: String,
    pub(crate) path: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
    /// How long to wait for the whole answer; for ever if none.
    pub(crate) deadline: Option<Duration>,
}

pub(crate) enum Content {
    Whole(Vec<u8>),
    Pieces(BoxStream<'static, io::Result<Bytes>>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undelivered {
    /// It surely did not arrive.
    #[error("not reachable: {0}")]
    Unreachable(String),
    #[error("no answer in time")]
    TimedOut,
    /// It may have arrived.
    #[error("connection lost: {0}")]
    Broken(String),
}

/// Carries messages to peers.
pub(crate) trait Carrier: Send + Sync + 'static {
    fn carry(&self, letter: Letter) -> BoxFuture<'static, Result<Response<Bytes>, Undelivered>>;
}

/// HTTP/2 over TCP, one connection for each lane and peer.
pub(crate) struct Http {
    entries: reqwest::Client,
    control: reqwest::Client,
    snapshots: reqwest::Client,
}

impl Http {
    pub(crate) fn new(timing: &Timing) -> Result<Http, reqwest::Error> {
        let connect = Duration::from_millis((timing.election_min_ms / 2).max(50));
        let client = || {
            client_builder()
                .connect_timeout(connect)
                .http2_initial_stream_window_size(WINDOW)
                .http2_initial_connection_window_size(WINDOW)
                .http2_keep_alive_interval(Duration::from_secs(1))
                .http2_keep_alive_timeout(Duration::from_secs(2))
                .http2_keep_alive_while_idle(true)
                .build()
        };
        Ok(Http { entries: client()?, control: client()?, snapshots: client()? })
    }
}

impl Carrier for Http {
    fn carry(&self, letter: Letter) -> BoxFuture<'static, Result<Response<Bytes>, Undelivered>> {
        let client = match letter.lane {
            Lane::Entries => &self.entries,
            Lane::Control => &self.control,
            Lane::Snapshots => &self.snapshots,
        };
        let mut request = client.post(format!("http://{}{}", letter.to, letter.path)).headers(letter.headers);
        if let Some(deadline) = letter.deadline {
            request = request.timeout(deadline);
        }
        let request = match letter.content {
            Content::Whole(bytes) => request.body(bytes),
            Content::Pieces(pieces) => request.body(reqwest::Body::wrap_stream(pieces)),
        };
        Box::pin(async move {
            let response = request.send().await.map_err(|e| undelivered(&e))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut answer = Response::new(response.bytes().await.map_err(|e| undelivered(&e))?);
            (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
            Ok(answer)
        })
    }
}

fn undelivered(e: &reqwest::Error) -> Undelivered {
    if e.is_connect() {
        return Undelivered::Unreachable(chain(e));
    }
    if e.is_timeout() {
        return Undelivered::TimedOut;
    }
    Undelivered::Broken(chain(e))
}

/// An error and what led to it.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
