//! An event stream as a client reads it: records put together from any cutting, each checked for what real clients rely on.

use anyhow::Context;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use tepui_proto::MediaType;
use tepui_proto::recordio::Decoder;
use tepui_proto::wire::{self, WireMessage};

/// Longest record that is read.
const LIMIT_BYTES: usize = 64 << 20;

/// An open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    response: reqwest::Response,
    decoder: Decoder,
    media: MediaType,
    pub(crate) headers: HeaderMap,
}

impl Stream {
    /// Takes an answer over whose head must be that of a stream.
    pub(super) fn new(response: reqwest::Response, media: MediaType) -> anyhow::Result<Self> {
        let headers = response.headers().clone();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let found = header("content-type");
        anyhow::ensure!(found == Some(media.as_str()), "a stream of type {found:?} instead of {media}");
        anyhow::ensure!(header("content-length").is_none(), "a stream with a length");
        let coding = header("transfer-encoding");
        anyhow::ensure!(coding == Some("chunked"), "a stream that is not chunked: {coding:?}");
        Ok(Stream { response, decoder: Decoder::new(LIMIT_BYTES), media, headers })
    }

    /// A header of the answer.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    /// The next record; nothing at the end of the stream. Giving up waiting loses nothing.
    pub(crate) async fn record(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            if let Some(record) = self.decoder.next_record()? {
                return Ok(Some(record));
            }
            match self.response.chunk().await {
                Ok(Some(piece)) => self.decoder.push(&piece),
                Ok(None) => {
                    self.decoder.finish().context("the stream ended")?;
                    return Ok(None);
                }
                // A server that was killed ends its streams like this.
                Err(_broken) => return Ok(None),
            }
        }
    }

    /// The next message; nothing at the end of the stream.
    pub(crate) async fn next<M: WireMessage>(&mut self) -> anyhow::Result<Option<M>> {
        let Some(record) = self.record().await? else { return Ok(None) };
        check(self.media, &record)?;
        let message: M = wire::decode(self.media, &record)
            .with_context(|| format!("record {}", String::from_utf8_lossy(&record)))?;
        if self.media == MediaType::Json {
            // There are clients that refuse a whole event for one field that the protocol does not have.
            let again = wire::encode(self.media, &message);
            let (told, known) = (value(&record)?, value(&again)?);
            anyhow::ensure!(told == known, "the protocol knows {known}, but the record is {told}");
        }
        Ok(Some(message))
    }
}

/// What clients that split by lines and count characters need of each record.
pub(crate) fn check(media: MediaType, record: &[u8]) -> anyhow::Result<()> {
    if media == MediaType::Json {
        let shown = || String::from_utf8_lossy(record).into_owned();
        anyhow::ensure!(record.is_ascii(), "a record with other than ASCII: {}", shown());
        anyhow::ensure!(!record.contains(&b'\n'), "a record of several lines: {}", shown());
    }
    Ok(())
}

fn value(text: &[u8]) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::from_slice(text)?)
}
