//! One HTTP client for everything the SDK sends.
//!
//! Owns the client's settings (no proxy, no automatic redirects or retries, bounded bodies and times) and tells what is known
//! about a failure: that nothing was sent, or that nobody can say. It decides nothing about who leads.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use thiserror::Error;

use tepui_proto::{MediaType, basic};

use crate::environment::{PRINCIPAL, SECRET};

/// Header that ties later calls to their subscription.
pub const STREAM_ID: &str = "mesos-stream-id";
/// Header with a supervised driver's token.
pub const DRIVER_TOKEN: &str = "tepui-driver-token";
/// Header of a 202 that says what of the call has no effect.
pub const WARNING: &str = "tepui-warning";
/// Header with the list of masters on what the leading one answers.
pub const MASTERS: &str = "tepui-masters";
/// Header that asks a stand-by to answer by itself instead of redirecting.
pub const LOCAL_READ: &str = "tepui-read";

/// A connection is opened within this time or counts as refused.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The default time for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read; a full state of a large cluster is a few hundred megabytes.
const BODY_LIMIT_BYTES: usize = 1 << 30;
/// A server that is too busy is not waited for longer than this at a time.
const LONGEST_RETRY_AFTER_SECS: u64 = 60;
/// Longest piece of an error body that is kept for messages.
const REASON_LIMIT_CHARS: usize = 500;

/// A request, addressed to no one yet.
#[derive(Debug, Clone)]
pub struct Request {
    path: String,
    headers: HeaderMap,
    /// Absent for GET.
    body: Option<Bytes>,
    timeout: Duration,
}

impl Request {
    /// Begins a GET of a path with its query.
    pub fn get(path: impl Into<String>) -> Self {
        Request { path: path.into(), headers: HeaderMap::new(), body: None, timeout: ANSWER_TIMEOUT }
    }

    /// Begins a POST of a message that is already encoded; the answer is asked for in the same encoding.
    pub fn post(path: impl Into<String>, encoding: MediaType, body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_static(encoding.as_str());
        headers.insert(CONTENT_TYPE, media_type.clone());
        headers.insert(ACCEPT, media_type);
        Request { path: path.into(), headers, body: Some(body), timeout: ANSWER_TIMEOUT }
    }

    /// Adds a header, unless the value cannot stand in one (the server then reports it as missing).
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Limits the time for the whole answer, or for its head if the answer is a stream.
    pub fn answer_within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the time limit.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// An answer that was read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Location`, of redirects.
    pub location: Option<String>,
    /// How long to wait before the next attempt: `Retry-After` if it is in seconds, at most a minute.
    pub retry_after: Option<Duration>,
    /// `Content-Type`, without its parameters.
    pub content_type: Option<String>,
    /// All masters, if the leading one has named them.
    pub masters: Vec<String>,
    /// The body, at most 1 GiB.
    pub body: Bytes,
}

impl Answer {
    /// Returns the body as a short text for messages.
    pub fn reason(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(REASON_LIMIT_CHARS).collect()
    }
}

/// A failed exchange, by what is known about the request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransportError {
    /// The request certainly had no effect.
    #[error("cannot reach {address}: {reason}")]
    NotSent {
        /// Whom it was for.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The request may or may not have had its effect.
    #[error("no answer from {address}: {reason}")]
    Unknown {
        /// Whom it was for.
        address: String,
        /// What happened instead of an answer.
        reason: String,
    },
}

impl TransportError {
    /// Returns whether the request certainly had no effect.
    pub fn is_not_sent(&self) -> bool {
        matches!(self, TransportError::NotSent { .. })
    }
}

/// The shared client; clones use the same connections.
#[derive(Debug, Clone)]
pub struct Transport {
    client: reqwest::Client,
    /// Shown with every request.
    authorization: Option<HeaderValue>,
}

/// Chooses the program's TLS implementation, once. Every HTTP client needs it, plain ones too; [`Transport::new`] does it.
pub fn install_crypto() {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // Refused only if the program has installed a provider of its own, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// The HTTP client could not be made.
#[derive(Debug, Error)]
#[error("set up the HTTP client")]
pub struct SetupError(#[source] reqwest::Error);

impl Transport {
    /// Makes a client. If the variables `TEPUI_PRINCIPAL` and `TEPUI_SECRET` are set, it shows them with every request.
    pub fn new() -> Result<Self, SetupError> {
        install_crypto();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(SetupError)?;
        let principal = std::env::var(PRINCIPAL).ok().filter(|principal| !principal.is_empty());
        let authorization = principal
            .and_then(|principal| authorization(&principal, &std::env::var(SECRET).unwrap_or_default()));
        Ok(Transport { client, authorization })
    }

    /// Shows these credentials with every request, whatever the environment says.
    pub fn credentials(mut self, principal: &str, secret: &str) -> Self {
        self.authorization = authorization(principal, secret);
        self
    }

    /// Sends a request to `address` (`host:port`) and reads the whole answer.
    pub async fn send(&self, address: &str, request: &Request) -> Result<Answer, TransportError> {
        let exchange = async {
            let response = self.start(address, request).await?;
            read(address, response).await
        };
        within(address, request.timeout, exchange).await
    }

    /// Sends a request whose answer may be a stream: a 200 is handed out as soon as its head is there, anything else is
    /// read to its end.
    pub async fn open(&self, address: &str, request: &Request) -> Result<Opened, TransportError> {
        let exchange = async {
            let response = self.start(address, request).await?;
            if response.status() == 200 {
                return Ok(Opened::Stream(response));
            }
            read(address, response).await.map(Opened::Answer)
        };
        within(address, request.timeout, exchange).await
    }

    async fn start(&self, address: &str, request: &Request) -> Result<reqwest::Response, TransportError> {
        let url = format!("http://{address}{}", request.path);
        let builder = match &request.body {
            Some(body) => self.client.post(url).body(body.clone()),
            None => self.client.get(url),
        };
        let builder = match &self.authorization {
            Some(value) => builder.header(AUTHORIZATION, value.clone()),
            None => builder,
        };
        builder.headers(request.headers.clone()).send().await.map_err(|error| classify(address, &error))
    }
}

/// The header that shows the pair; marked so that it never appears in a log.
fn authorization(principal: &str, secret: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&basic::authorization(principal, secret)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What [`Transport::open`] got.
#[derive(Debug)]
pub enum Opened {
    /// A 200 whose body has not been read.
    Stream(reqwest::Response),
    /// Any other answer.
    Answer(Answer),
}

async fn within<T>(
    address: &str,
    timeout: Duration,
    exchange: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| {
        Err(TransportError::Unknown {
            address: address.to_owned(),
            reason: format!("silent for {timeout:?}"),
        })
    })
}

async fn read(address: &str, mut response: reqwest::Response) -> Result<Answer, TransportError> {
    let header = |name| {
        let value: &HeaderValue = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let location = header(LOCATION);
    let seconds = header(RETRY_AFTER).and_then(|value| value.trim().parse::<u64>().ok());
    let retry_after = seconds.map(|seconds| Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER_SECS)));
    let content_type =
        header(CONTENT_TYPE).map(|value| value.split(';').next().unwrap_or_default().trim().to_owned());
    let masters = header(HeaderName::from_static(MASTERS)).unwrap_or_default();
    let masters =
        masters.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect();
    let status = response.status().as_u16();
    if let Some(warning) = header(HeaderName::from_static(WARNING)) {
        tracing::warn!(address, warning, "the master took a call that is in vain, at least in part");
    }
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| classify(address, &error))? {
        if body.len() + piece.len() > BODY_LIMIT_BYTES {
            let reason = format!("the answer is longer than {BODY_LIMIT_BYTES} bytes");
            return Err(TransportError::Unknown { address: address.to_owned(), reason });
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, location, retry_after, content_type, masters, body: body.freeze() })
}

fn classify(address: &str, error: &reqwest::Error) -> TransportError {
    let (address, reason) = (address.to_owned(), innermost(error));
    if error.is_connect() || error.is_builder() {
        TransportError::NotSent { address, reason }
    } else {
        TransportError::Unknown { address, reason }
    }
}

/// The outer layers of an HTTP client's error repeat the address and say "error sending request"; the cause is inside.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
