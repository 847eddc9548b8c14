//! Writes the journal beside the event loop: whatever has gathered while one batch was made durable is the next batch.
//! Owns the only thread that waits for the disk.

use tepui_agent_core::checkpoint::Record;
use tokio::sync::{mpsc, watch};

use super::JournalFile;
use crate::Error;

/// Records that wait for the disk before the event loop waits too.
const QUEUE: usize = 4096;
const BATCH: usize = 512;

/// Where the event loop puts records.
pub(crate) struct Journal {
    records: mpsc::Sender<(u64, Record)>,
}

impl Journal {
    /// Returns the journal, the number of the newest durable record, and the work to be done on a thread of its own; the
    /// work ends when the journal is dropped.
    pub(crate) fn new(
        file: JournalFile,
    ) -> (Self, watch::Receiver<u64>, impl FnOnce() -> Result<(), Error> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (durable, newest) = watch::channel(0);
        (Self { records: sender }, newest, move || write(file, receiver, &durable))
    }

    /// Hands a record over. Returns `false` if nobody writes any more.
    pub(crate) async fn append(&self, id: u64, record: Record) -> bool {
        self.records.send((id, record)).await.is_ok()
    }
}

fn write(
    mut file: JournalFile,
    mut records: mpsc::Receiver<(u64, Record)>,
    durable: &watch::Sender<u64>,
) -> Result<(), Error> {
    let mut batch = Vec::new();
    while let Some((mut last, record)) = records.blocking_recv() {
        batch.push(record);
        while batch.len() < BATCH {
            let Ok((id, record)) = records.try_recv() else { break };
            last = id;
            batch.push(record);
        }
        file.append(&batch)?;
        batch.clear();
        durable.send_replace(last);
    }
    Ok(())
}
