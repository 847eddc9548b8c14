//! Plain HTTP requests to one server: no redirects followed, no retries, whole answers. Knows no call by its meaning.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use tepui_proto::MediaType;
use tepui_proto::v1::master;
use tepui_proto::wire::{self, WireMessage};

use super::stream::Stream;

/// How long one whole answer may take; a stream where an answer belongs ends in this, too.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A client that speaks one encoding.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    pub(crate) media: MediaType,
}

/// An answer that was read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What was asked, for messages.
    asked: String,
}

/// Headers of a request.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

impl Http {
    pub(crate) fn new(media: MediaType) -> anyhow::Result<Self> {
        tepui_sdk::transport::install_crypto();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .build()
            .context("make an HTTP client")?;
        Ok(Http { client, media })
    }

    /// The same client in the other encoding or in the same.
    pub(crate) fn speaking(&self, media: MediaType) -> Self {
        Http { client: self.client.clone(), media }
    }

    /// Any request with any body.
    pub(crate) async fn send(
        &self,
        method: &str,
        address: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<reqwest::Body>,
    ) -> anyhow::Result<Answer> {
        let asked = format!("{method} {path}");
        let exchange = async {
            let response = self.request(method, address, path, headers, body).await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.bytes().await.with_context(|| format!("read the answer to {asked}"))?;
            Ok(Answer { status, headers, body, asked: asked.clone() })
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange)
            .await
            .with_context(|| format!("no whole answer to {asked} within {ANSWER_TIMEOUT:?}"))?
    }

    pub(crate) async fn get(&self, address: &str, path: &str) -> anyhow::Result<Answer> {
        self.send("GET", address, path, &[], Bytes::new()).await
    }

    /// A GET whose answer is JSON.
    pub(crate) async fn get_json(&self, address: &str, path: &str) -> anyhow::Result<serde_json::Value> {
        self.get(address, path).await?.expect(200)?.json()
    }

    /// A message in this client's encoding, the answer asked for in the same.
    pub(crate) async fn post<M: WireMessage>(
        &self,
        address: &str,
        path: &str,
        headers: Headers<'_>,
        message: &M,
    ) -> anyhow::Result<Answer> {
        let own = [("content-type", self.media.as_str()), ("accept", self.media.as_str())];
        let headers: Vec<_> = own.into_iter().chain(headers.iter().copied()).collect();
        self.send("POST", address, path, &headers, wire::encode(self.media, message)).await
    }

    /// Opens a stream with a message in this client's encoding.
    pub(crate) async fn open<M: WireMessage>(
        &self,
        address: &str,
        path: &str,
        headers: Headers<'_>,
        message: &M,
    ) -> anyhow::Result<Stream> {
        let own = [("content-type", self.media.as_str()), ("accept", self.media.as_str())];
        let headers: Vec<_> = own.into_iter().chain(headers.iter().copied()).collect();
        self.open_raw(address, path, &headers, wire::encode(self.media, message), self.media).await
    }

    /// Opens a stream with any body and exactly these headers; `media` is the encoding that the records must have.
    pub(crate) async fn open_raw(
        &self,
        address: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<reqwest::Body>,
        media: MediaType,
    ) -> anyhow::Result<Stream> {
        let opening = self.request("POST", address, path, headers, body);
        let response = tokio::time::timeout(ANSWER_TIMEOUT, opening)
            .await
            .with_context(|| format!("no head of an answer to POST {path} within {ANSWER_TIMEOUT:?}"))??;
        if response.status() != 200 {
            let status = response.status();
            anyhow::bail!(
                "POST {path}: {status} instead of a stream: {}",
                response.text().await.unwrap_or_default()
            );
        }
        Stream::new(response, media)
    }

    async fn request(
        &self,
        method: &str,
        address: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<reqwest::Body>,
    ) -> anyhow::Result<reqwest::Response> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request = self.client.request(method.clone(), format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method != "GET" {
            request = request.body(body);
        }
        request.send().await.with_context(|| format!("{method} {path} at {address}"))
    }

    /// An operator call and its answer.
    pub(crate) async fn operator(
        &self,
        address: &str,
        call: &master::Call,
    ) -> anyhow::Result<master::Response> {
        self.post(address, "/api/v1", &[], call).await?.expect(200)?.message(self.media)
    }

    /// An operator call that needs nothing but its type.
    pub(crate) async fn ask(
        &self,
        address: &str,
        kind: master::call::Type,
    ) -> anyhow::Result<master::Response> {
        // The one read whose member must be there, though nothing in it must.
        let get_metrics = (kind == master::call::Type::GetMetrics).then(Default::default);
        let call = master::Call { r#type: Some(kind as i32), get_metrics, ..Default::default() };
        self.operator(address, &call).await
    }
}

impl Answer {
    /// Passes the answer on if it has this status.
    pub(crate) fn expect(self, status: u16) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.status == status,
            "{}: {} instead of {status}: {}",
            self.asked,
            self.status,
            self.text().chars().take(300).collect::<String>()
        );
        Ok(self)
    }

    /// Passes the answer on if its body has this word.
    pub(crate) fn saying(self, word: &str) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.text().contains(word),
            "{}: the reason does not name {word:?}: {}",
            self.asked,
            self.text().chars().take(300).collect::<String>()
        );
        Ok(self)
    }

    /// Passes an answer on that refuses with this status and a text for people that is not JSON.
    pub(crate) fn refuses(self, status: u16) -> anyhow::Result<Self> {
        let answer = self.expect(status)?;
        let text = answer.text();
        anyhow::ensure!(!text.trim().is_empty(), "{}: {status} without a reason", answer.asked);
        anyhow::ensure!(!text.starts_with('{'), "{}: reasons are plain text, not {text}", answer.asked);
        Ok(answer)
    }

    /// Passes the answer on if it is an empty one without a type, as some clients need it.
    pub(crate) fn empty(self) -> anyhow::Result<Self> {
        anyhow::ensure!(self.body.is_empty(), "{}: a body where none belongs: {}", self.asked, self.text());
        anyhow::ensure!(self.header("content-type").is_none(), "{}: an empty answer has a type", self.asked);
        Ok(self)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: not JSON: {}", self.asked, self.text()))
    }

    /// The body as a message, with the headers that a single answer must have.
    pub(crate) fn message<M: WireMessage>(&self, media: MediaType) -> anyhow::Result<M> {
        anyhow::ensure!(
            self.header("content-type") == Some(media.as_str()),
            "{}: type {:?} instead of {media}",
            self.asked,
            self.header("content-type")
        );
        anyhow::ensure!(
            self.header("content-length") == Some(&self.body.len().to_string()),
            "{}: a single answer needs its length, which is how some clients tell it from a stream",
            self.asked
        );
        wire::decode(media, &self.body).with_context(|| format!("{}: {}", self.asked, self.text()))
    }
}
