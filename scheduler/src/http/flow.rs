//! A long answer on its way: written piece by piece on a thread of its own while it is being sent.
//!
//! Owns the turns. Only a few threads write at a time, each for one piece before the next one in the queue has its turn, and none holds a
//! turn while it waits for its reader: a slow one costs a thread that sleeps and two pieces of memory, and is given up when it takes nothing
//! for a while. Knows nothing of what is written.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// The size of a piece, in bytes.
const PIECE: usize = 64 << 10;
/// Pieces that wait for the reader.
const AHEAD: usize = 2;
/// A reader that takes nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where an answer is written: into memory, or in pieces to its reader.
pub(crate) struct Sink {
    piece: Vec<u8>,
    outlet: Option<Outlet>,
}

enum Outlet {
    Plain(Pieces),
    Packed(GzEncoder<Pieces>),
}

impl Sink {
    /// Keeps everything.
    pub(crate) fn memory() -> Sink {
        Sink { piece: Vec::with_capacity(1024), outlet: None }
    }

    /// What was kept.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.piece.into()
    }

    fn flowing(pieces: Pieces, gzip: bool) -> Sink {
        let outlet = if gzip {
            // Fast: the answers are read once, and the processor has better things to do.
            Outlet::Packed(GzEncoder::new(pieces, Compression::fast()))
        } else {
            Outlet::Plain(pieces)
        };
        Sink { piece: Vec::with_capacity(PIECE), outlet: Some(outlet) }
    }

    fn pass(&mut self) -> io::Result<()> {
        match &mut self.outlet {
            None => Ok(()),
            Some(Outlet::Plain(pieces)) => {
                pieces.send(std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE)).into())
            }
            Some(Outlet::Packed(encoder)) => {
                encoder.write_all(&self.piece)?;
                self.piece.clear();
                encoder.get_mut().pass()
            }
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.pass()?;
        match self.outlet {
            Some(Outlet::Packed(encoder)) => encoder.finish()?.last(),
            _ => Ok(()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE && self.outlet.is_some() { self.pass() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends pieces, and lets others have their turn between them.
struct Pieces {
    packed: Vec<u8>,
    reader: mpsc::Sender<io::Result<Bytes>>,
    turns: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    stop: CancellationToken,
    runtime: Handle,
}

impl Pieces {
    fn take_turn(&mut self) -> io::Result<()> {
        let turns = Arc::clone(&self.turns);
        let turn = self.runtime.block_on(turns.acquire_owned());
        self.turn = Some(turn.map_err(|_| gone())?);
        Ok(())
    }

    fn send(&mut self, piece: Bytes) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.turn = None;
        let sent = async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(gone()),
                sent = tokio::time::timeout(PATIENCE, self.reader.send(Ok(piece))) => match sent {
                    Ok(sent) => sent.map_err(|_| gone()),
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
                },
            }
        };
        self.runtime.block_on(sent)?;
        self.take_turn()
    }

    /// Sends what has been packed, unless it is hardly anything.
    fn pass(&mut self) -> io::Result<()> {
        if self.packed.len() < PIECE / 8 { Ok(()) } else { self.last() }
    }

    fn last(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.packed);
        self.send(piece.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.packed.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

/// Who may write, and how many answers may be on their way.
#[derive(Clone)]
pub(crate) struct Flows {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Flows {
    /// `writers` answers are written at a time, `readers` may be on their way. All end when `stop` is cancelled.
    pub(crate) fn new(writers: usize, readers: usize, stop: CancellationToken) -> Flows {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Flows { turns: semaphore(writers), places: semaphore(readers), stop }
    }

    /// Lets `write` fill a body on a thread of its own; nothing if too many do already. The body breaks off if `write` fails, so that its reader
    /// does not take a part for the whole.
    pub(crate) fn open<F>(&self, gzip: bool, write: F) -> Option<Body>
    where
        F: FnOnce(&mut Sink) -> io::Result<()> + Send + 'static,
    {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let (reader, pieces) = mpsc::channel(AHEAD);
        let failed = reader.clone();
        let mut out = Pieces {
            packed: Vec::new(),
            reader,
            turns: Arc::clone(&self.turns),
            turn: None,
            stop: self.stop.clone(),
            runtime: Handle::current(),
        };
        tokio::task::spawn_blocking(move || {
            let written = out.take_turn().and_then(|()| {
                let mut sink = Sink::flowing(out, gzip);
                write(&mut sink)?;
                sink.finish()
            });
            if let Err(error) = written {
                tracing::debug!(%error, "an answer was not sent to its end");
                // A reader that is gone need not be told.
                drop(failed.try_send(Err(error)));
            }
            drop(place);
        });
        let pieces = futures::stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
        Some(Body::from_stream(pieces))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use futures::StreamExt;
    use http_body_util::BodyExt;

    use super::*;

    const LINES: usize = 40_000;

    fn flows(readers: usize) -> Flows {
        Flows::new(1, readers, CancellationToken::new())
    }

    fn lines(sink: &mut Sink) -> io::Result<()> {
        (0..LINES).try_for_each(|line| writeln!(sink, "line {line}"))
    }

    fn expected() -> Vec<u8> {
        let mut sink = Sink::memory();
        lines(&mut sink).unwrap();
        sink.into_bytes().to_vec()
    }

    #[tokio::test]
    async fn what_was_written_arrives_packed_or_not() {
        let plain = flows(1).open(false, lines).unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(plain, expected());
        let packed = flows(1).open(true, lines).unwrap().collect().await.unwrap().to_bytes();
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == expected() && packed.len() < unpacked.len() / 3);
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_keeps_nobody_waiting() {
        let flows = flows(2);
        let mut slow = flows.open(false, lines).unwrap().into_data_stream();
        slow.next().await.unwrap().unwrap();
        let quick = flows.open(false, lines).unwrap();
        assert!(flows.open(false, lines).is_none(), "a third one has no place");
        assert_eq!(quick.collect().await.unwrap().to_bytes(), expected());
        let mut rest = 0;
        while let Some(piece) = slow.next().await {
            rest += piece.unwrap().len();
        }
        assert!(rest > 0);
    }

    #[tokio::test]
    async fn what_breaks_off_is_no_whole_answer() {
        let fails = |sink: &mut Sink| {
            lines(sink)?;
            Err(io::Error::other("no more"))
        };
        assert!(flows(1).open(false, fails).unwrap().collect().await.is_err());
    }

    #[tokio::test]
    async fn a_stop_ends_what_nobody_reads() {
        let stop = CancellationToken::new();
        let flows = Flows::new(1, 1, stop.clone());
        let unread = flows.open(false, lines).unwrap();
        stop.cancel();
        while flows.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(unread.collect().await.is_err());
    }
}
