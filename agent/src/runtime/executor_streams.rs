//! The open streams of executors: a number, a bounded queue and an encoding each. Owns the way from an event of the core to
//! the body of an HTTP answer. An executor that lets its queue run full is disconnected, never waited for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use tepui_agent_core::{ExecutorKey, Input};
use tepui_proto::v1::executor::Event;
use tepui_proto::{MediaType, wire};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Handle;

/// What may wait for one executor. A launch can carry 50 MB of an executor's data.
const RECORDS_MAX: usize = 16_384;
const BYTES_MAX: usize = 512 << 20;

/// Access to all streams.
#[derive(Clone)]
pub(crate) struct ExecutorStreams {
    table: Arc<Mutex<Table>>,
    /// Each stream sends its number here once, so the number of streams bounds the queue.
    gone: mpsc::UnboundedSender<u64>,
}

#[derive(Default)]
struct Table {
    last: u64,
    open: BTreeMap<u64, Outlet>,
    owners: BTreeMap<u64, ExecutorKey>,
}

struct Outlet {
    records: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    media: MediaType,
}

/// The reading end of a stream: one record an item. Dropping it tells that the executor went away.
pub(crate) struct Inlet {
    id: u64,
    records: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    gone: mpsc::UnboundedSender<u64>,
}

impl ExecutorStreams {
    /// Returns no streams yet, and where the numbers of those that ended come out.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<u64>) {
        let (gone, ended) = mpsc::unbounded_channel();
        (Self { table: Arc::default(), gone }, ended)
    }

    /// Opens a stream whose events are written in `media`.
    pub(crate) fn open(&self, executor: ExecutorKey, media: MediaType) -> (u64, Inlet) {
        let (sender, records) = mpsc::channel(RECORDS_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut table = self.table();
        table.last += 1;
        let id = table.last;
        table.open.insert(id, Outlet { records: sender, waiting: waiting.clone(), media });
        table.owners.insert(id, executor);
        (id, Inlet { id, records, waiting, gone: self.gone.clone() })
    }

    /// Queues an event; a stream that cannot take it is closed, which is told like any other end.
    pub(crate) fn push(&self, id: u64, event: &Event) {
        let mut table = self.table();
        let Some(outlet) = table.open.get(&id) else { return };
        let record = wire::encode_record(outlet.media, event);
        // One that is too long for the queue may pass if nothing else waits.
        let (bytes, waiting) = (record.len(), outlet.waiting.load(Ordering::Relaxed));
        let fits = waiting == 0 || waiting.saturating_add(bytes) <= BYTES_MAX;
        outlet.waiting.fetch_add(bytes, Ordering::Relaxed);
        if !fits || outlet.records.try_send(record).is_err() {
            tracing::warn!(connection = id, "an executor does not take its events");
            table.open.remove(&id);
        }
    }

    /// Ends a stream after what was queued.
    pub(crate) fn close(&self, id: u64) {
        self.table().open.remove(&id);
    }

    /// Tells the core of every stream that ends, until `stop`; then ends all.
    pub(crate) async fn watch(
        self,
        mut ended: mpsc::UnboundedReceiver<u64>,
        handle: Handle,
        stop: CancellationToken,
    ) {
        loop {
            let id = tokio::select! {
                id = ended.recv() => id,
                () = stop.cancelled() => None,
            };
            let Some(id) = id else { break };
            let executor = {
                let mut table = self.table();
                table.open.remove(&id);
                table.owners.remove(&id)
            };
            if let Some(executor) = executor {
                handle.input(Input::ExecutorDisconnected { executor, connection: id }).await;
            }
        }
        self.table().open.clear();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held, and the table would be whole even then.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for Inlet {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.records.poll_recv(context).map(|record| {
            let record = record?;
            self.waiting.fetch_sub(record.len(), Ordering::Relaxed);
            Some(Ok(record))
        })
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // Nobody listens only if the agent stops.
        let _unheard = self.gone.send(self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tepui_proto::v1::executor::event::Type;

    use super::*;

    fn event() -> Event {
        Event { r#type: Some(Type::Shutdown.into()), ..Default::default() }
    }

    #[tokio::test]
    async fn events_come_in_order_and_the_end_behind_them() {
        let (streams, mut ended) = ExecutorStreams::new();
        let (id, mut inlet) = streams.open(ExecutorKey::new("f", "e"), MediaType::Json);
        streams.push(id, &event());
        streams.close(id);
        streams.push(id, &event());
        assert_eq!(inlet.next().await.unwrap().unwrap(), &b"19\n{\"type\":\"SHUTDOWN\"}"[..]);
        assert!(inlet.next().await.is_none());
        drop(inlet);
        assert_eq!(ended.recv().await, Some(id));
    }

    #[test]
    fn one_that_does_not_read_is_cut_off() {
        let (streams, mut ended) = ExecutorStreams::new();
        let (id, inlet) = streams.open(ExecutorKey::new("f", "e"), MediaType::Json);
        for _ in 0..=RECORDS_MAX {
            streams.push(id, &event());
        }
        assert!(streams.table().open.is_empty());
        drop(inlet);
        assert_eq!(ended.try_recv(), Ok(id));
    }
}
