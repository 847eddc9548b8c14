//! Branches of a driver's `select!` that may be absent: none of them is ever ready.

use futures::future::BoxFuture;
use tepui_proto::wire::WireMessage;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::event_stream::{EventStream, StreamError};

pub(crate) async fn poll_option<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

pub(crate) async fn next_event<M: WireMessage>(
    stream: Option<&mut EventStream<M>>,
) -> Result<Option<M>, StreamError> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

/// Returns false when the receiver is gone.
pub(crate) async fn has_room<T>(sender: &mpsc::Sender<T>) -> bool {
    sender.reserve().await.is_ok()
}

pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
