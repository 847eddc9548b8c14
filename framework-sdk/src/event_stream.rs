//! A stream of events: RecordIO over the body of an answer.
//!
//! Owns cutting the body into records and decoding them, and the bound on a record's length. It does not reconnect.

use std::marker::PhantomData;

use tepui_proto::wire::{self, DecodeError, WireMessage};
use tepui_proto::{MediaType, recordio};
use thiserror::Error;

use crate::transport::innermost;

/// Longest event that is held in memory; the state in a SUBSCRIBED event of the operator stream may be large.
const RECORD_LIMIT_BYTES: usize = 512 << 20;

/// Why a stream cannot be read on.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The connection broke.
    #[error("connection broken: {0}")]
    Connection(String),
    /// The bytes are not RecordIO.
    #[error(transparent)]
    Record(#[from] recordio::RecordError),
    /// A record is not the message it should be.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

/// Events of one type from one master.
#[derive(Debug)]
pub struct EventStream<M> {
    response: reqwest::Response,
    decoder: recordio::Decoder,
    encoding: MediaType,
    event: PhantomData<fn() -> M>,
}

impl<M: WireMessage> EventStream<M> {
    /// Reads events from an answer whose head has arrived.
    pub fn new(response: reqwest::Response, encoding: MediaType) -> Self {
        EventStream {
            response,
            decoder: recordio::Decoder::new(RECORD_LIMIT_BYTES),
            encoding,
            event: PhantomData,
        }
    }

    /// Returns a header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Returns the next event, or `None` when the master ended the stream. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<M>, StreamError> {
        loop {
            if let Some(record) = self.decoder.next_record()? {
                return Ok(Some(wire::decode(self.encoding, &record)?));
            }
            match self.response.chunk().await {
                Ok(Some(piece)) => self.decoder.push(&piece),
                Ok(None) => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
                Err(error) => return Err(StreamError::Connection(innermost(&error))),
            }
        }
    }
}
