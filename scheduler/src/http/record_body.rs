//! The body of a streaming answer: one record, one HTTP chunk.
//!
//! Owns nothing but the way from a connection's bounded queue to the socket. Who fills the queue is `runtime/streams.rs`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};

use crate::runtime::streams::Inlet;

/// Takes records from an [`Inlet`] as the socket wants them. Each record is one frame, which hyper writes as one chunk.
pub(crate) struct RecordBody {
    inlet: Inlet,
}

impl RecordBody {
    /// Wraps the reading end of a connection.
    pub(crate) fn new(inlet: Inlet) -> RecordBody {
        RecordBody { inlet }
    }

    /// The body as axum wants it.
    pub(crate) fn into_body(self) -> Body {
        Body::new(self)
    }
}

impl HttpBody for RecordBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.inlet.poll_record(context).map(|record| record.map(|bytes| Ok(Frame::data(bytes))))
    }
}
