//! Open streaming connections: a number, a bounded queue and a media type each.
//!
//! Owns the way from an effect of the core to the queue of the connection. A consumer that lets its queue run full is
//! disconnected, never waited for. Decides nothing about frameworks or agents.
//!
//! ```text
//!   Streams::push ─▶ [ bounded queue ] ─▶ Inlet (in the HTTP body)
//!        ▲                                   │ dropped: the client went away
//!        └──────────── Closed ◀──────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tepui_proto::MediaType;
use tokio::sync::mpsc;

/// Number of a connection, unique in this process.
pub(crate) type ConnectionId = u64;

/// How much may wait for one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// The writing ends of all open connections.
pub(crate) struct Streams {
    next: ConnectionId,
    bounds: Bounds,
    open: BTreeMap<ConnectionId, Outlet>,
    /// Each connection sends its number here exactly once, so the number of open connections bounds the queue.
    gone: mpsc::UnboundedSender<ConnectionId>,
}

struct Outlet {
    /// Records, and what each counts.
    records: mpsc::Sender<(Bytes, usize)>,
    queued_bytes: Arc<AtomicUsize>,
    media: MediaType,
}

/// The reading end of a connection; dropping it reports the connection as gone.
pub(crate) struct Inlet {
    id: ConnectionId,
    records: mpsc::Receiver<(Bytes, usize)>,
    queued_bytes: Arc<AtomicUsize>,
    gone: mpsc::UnboundedSender<ConnectionId>,
}

/// The consumer was too slow and has been disconnected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

impl Streams {
    /// No connections yet. The receiver yields the number of every connection whose client went away or that was closed.
    pub(crate) fn new(bounds: Bounds) -> (Streams, mpsc::UnboundedReceiver<ConnectionId>) {
        let (gone, closed) = mpsc::unbounded_channel();
        (Streams { next: 1, bounds, open: BTreeMap::new(), gone }, closed)
    }

    /// Opens a connection whose records are in `media`.
    pub(crate) fn open(&mut self, media: MediaType) -> (ConnectionId, Inlet) {
        let id = self.next;
        self.next += 1;
        let (sender, receiver) = mpsc::channel(self.bounds.records);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        self.open.insert(id, Outlet { records: sender, queued_bytes: queued_bytes.clone(), media });
        (id, Inlet { id, records: receiver, queued_bytes, gone: self.gone.clone() })
    }

    /// The media type of an open connection.
    pub(crate) fn media(&self, id: ConnectionId) -> Option<MediaType> {
        self.open.get(&id).map(|outlet| outlet.media)
    }

    /// Queues one record. A connection that is no longer open swallows it: its client is gone anyway.
    ///
    /// # Errors
    /// [`TooSlow`] if the queue was full; the connection is closed then.
    pub(crate) fn push(&mut self, id: ConnectionId, record: Bytes) -> Result<(), TooSlow> {
        let Some(outlet) = self.open.get(&id) else { return Ok(()) };
        // A record longer than all of the queue is let in where nothing else waits, else it could never be delivered; it hardly
        // counts, else nothing could follow it before it has left.
        let alone = outlet.queued_bytes.load(Ordering::Relaxed) == 0;
        let length = if alone && record.len() > self.bounds.bytes { 1 } else { record.len() };
        let queued = outlet.queued_bytes.fetch_add(length, Ordering::Relaxed);
        if queued + length > self.bounds.bytes {
            self.open.remove(&id);
            return Err(TooSlow);
        }
        match outlet.records.try_send((record, length)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.open.remove(&id);
                Err(TooSlow)
            }
        }
    }

    /// Ends a connection after everything that was queued. Returns whether it was open.
    pub(crate) fn close(&mut self, id: ConnectionId) -> bool {
        self.open.remove(&id).is_some()
    }

    /// Ends all connections.
    pub(crate) fn close_all(&mut self) {
        self.open.clear();
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}

impl Inlet {
    /// The next record, `None` at the end.
    pub(crate) fn poll_record(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.records.poll_recv(context).map(|record| {
            let (bytes, counted) = record?;
            self.queued_bytes.fetch_sub(counted, Ordering::Relaxed);
            Some(bytes)
        })
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // Fails only when the event loop is gone, and then nobody needs to know.
        let _ = self.gone.send(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn streams(records: usize, bytes: usize) -> (Streams, mpsc::UnboundedReceiver<ConnectionId>) {
        Streams::new(Bounds { records, bytes })
    }

    #[tokio::test]
    async fn records_arrive_in_order_and_the_end_comes_after_them() {
        let (mut streams, mut closed) = streams(8, 1000);
        let (id, mut inlet) = streams.open(MediaType::Json);
        streams.push(id, Bytes::from_static(b"one")).unwrap();
        streams.push(id, Bytes::from_static(b"two")).unwrap();
        assert!(streams.close(id));
        assert_eq!(poll_fn(|cx| inlet.poll_record(cx)).await.unwrap(), "one");
        assert_eq!(poll_fn(|cx| inlet.poll_record(cx)).await.unwrap(), "two");
        assert_eq!(poll_fn(|cx| inlet.poll_record(cx)).await, None);
        drop(inlet);
        assert_eq!(closed.recv().await, Some(id));
    }

    #[test]
    fn a_full_queue_disconnects_by_count_and_by_bytes() {
        let (mut by_count, _closed) = streams(2, 1000);
        let (id, _inlet) = by_count.open(MediaType::Json);
        by_count.push(id, Bytes::from_static(b"x")).unwrap();
        by_count.push(id, Bytes::from_static(b"x")).unwrap();
        assert_eq!(by_count.push(id, Bytes::from_static(b"x")), Err(TooSlow));
        assert_eq!(by_count.len(), 0);

        let (mut by_bytes, _closed) = streams(100, 10);
        let (id, _inlet) = by_bytes.open(MediaType::Json);
        by_bytes.push(id, Bytes::from(vec![0; 50])).unwrap();
        by_bytes.push(id, Bytes::from(vec![0; 9])).unwrap();
        assert_eq!(by_bytes.push(id, Bytes::from_static(b"x")), Err(TooSlow));
    }

    #[test]
    fn pushing_to_a_closed_connection_is_harmless() {
        let (mut streams, mut closed) = streams(2, 1000);
        let (id, inlet) = streams.open(MediaType::Json);
        drop(inlet);
        assert_eq!(closed.try_recv(), Ok(id));
        streams.push(id, Bytes::from_static(b"x")).unwrap();
        assert!(streams.close(id));
        assert!(!streams.close(id));
        streams.push(id, Bytes::from_static(b"x")).unwrap();
    }
}
