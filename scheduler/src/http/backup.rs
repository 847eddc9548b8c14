//! `GET /tepui/v1/backup`: a copy of the replicated state, from any master, the leader's event loop untouched.
//!
//! Owns the form of the answer and how many are carried away at once. The copy is written to disk first and read from there
//! piece by piece as the client takes it, so that memory is bounded whatever the state's size.

use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use tepui_raft_store::Backup;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::App;
use crate::http::error::Refusal;

/// Copies that may be on their way at once; each holds a file open.
pub(crate) const AT_ONCE: usize = 2;
/// Read and sent at once.
const PIECE_BYTES: usize = 256 << 10;
const INDEX: HeaderName = HeaderName::from_static("tepui-backup-index");

/// Answers one request.
pub(crate) async fn handle(app: &App, method: &Method) -> Result<Response, Refusal> {
    if method != Method::GET {
        return Err(Refusal::method("GET", method));
    }
    let permit = permit(&app.backups)?;
    let backup = app.replica.backup().await;
    let backup = backup.map_err(|error| Refusal::unavailable(format!("no backup now: {error}")))?;
    let (bytes, index) = (backup.info().bytes, backup.info().last.map_or(0, |last| last.index));
    let mut response = Response::new(body(&backup, permit));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(INDEX, HeaderValue::from(index));
    Ok(response)
}

fn permit(all: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    let busy = || Refusal::unavailable(format!("{AT_ONCE} backups are being taken here already"));
    all.clone().try_acquire_owned().map_err(|_| busy())
}

/// Pieces are read on blocking threads, the next one when the last has left.
fn body(backup: &Backup, permit: OwnedSemaphorePermit) -> Body {
    let pieces = futures::stream::try_unfold((backup.reader(), permit), |(mut input, permit)| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let length = input.read(&mut piece)?;
            piece.truncate(length);
            Ok::<_, std::io::Error>((piece, input))
        });
        let (piece, input) = read.await.map_err(std::io::Error::other)??;
        if piece.is_empty() {
            return Ok::<_, std::io::Error>(None);
        }
        Ok(Some((Bytes::from(piece), (input, permit))))
    });
    Body::from_stream(pieces)
}
