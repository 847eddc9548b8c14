//! Bodies of calls: how long they may be, how slowly they may come, and how much memory all of them take together. Owns these bounds;
//! looks into none.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::error::Refusal;

/// For all bodies that are being read, or whose calls are not handed over yet.
const ROOM_KIB: usize = 512 << 10;
/// Room is taken in pieces of this size.
const PIECE_KIB: u32 = 64;
/// A body that is long gets more time, at this pace.
const BYTES_PER_SECOND: u64 = 256 << 10;
/// How many times the limit of a body that is too long is read and thrown away: a client that is still sending when the
/// connection closes would not see the answer.
const DISCARDED_LIMITS: usize = 4;

pub(super) struct Bodies {
    room: Arc<Semaphore>,
    /// In which the first bytes have to come. Room is waited for a third of it.
    patience: Duration,
}

/// A body, and its share of the room until it is dropped.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(super) fn new(patience: Duration) -> Self {
        Self::with_room(patience, ROOM_KIB)
    }

    fn with_room(patience: Duration, kib: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(kib)), patience }
    }

    /// Reads a body of at most `limit` bytes.
    ///
    /// # Errors
    /// 413 above the limit, 408 if it comes too slowly, 503 if too many others are being read, 400 if it breaks off.
    pub(super) async fn read(&self, mut body: Body, limit: usize) -> Result<Whole, Refusal> {
        let start = Instant::now();
        let mut whole = Whole { bytes: Bytes::new(), room: None };
        let (mut bytes, mut length, mut paid) = (BytesMut::new(), 0_usize, 0_usize);
        while length <= limit.saturating_mul(DISCARDED_LIMITS) {
            let more = u64::try_from(length).unwrap_or(u64::MAX) / BYTES_PER_SECOND;
            let deadline = start + self.patience + Duration::from_secs(more);
            let piece = timeout_at(deadline, piece(&mut body)).await.map_err(|_| self.slow())??;
            let Some(data) = piece else { break };
            length = length.saturating_add(data.len());
            if length > limit {
                (bytes, whole.room) = (BytesMut::new(), None);
                continue;
            }
            while paid < length {
                let room = self.room.clone().acquire_many_owned(PIECE_KIB);
                let room =
                    tokio::time::timeout(self.patience / 3, room).await.map_err(|_| Refusal::crowded())?;
                let room = room.map_err(|_| Refusal::unavailable())?;
                match &mut whole.room {
                    Some(own) => own.merge(room),
                    None => whole.room = Some(room),
                }
                paid += 1024 * PIECE_KIB as usize;
            }
            bytes.extend_from_slice(&data);
        }
        if length > limit {
            let reason = format!("the body exceeds {limit} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        Ok(Whole { bytes: bytes.freeze(), ..whole })
    }

    /// How long the beginning of a body may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn slow(&self) -> Refusal {
        let reason =
            format!("the body did not come within {:?} and a second for each 256 KiB", self.patience);
        Refusal::new(StatusCode::REQUEST_TIMEOUT, reason)
    }
}

/// Returns the next piece of a body; trailers are none.
pub(super) async fn piece(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let Some(frame) = body.frame().await else { return Ok(None) };
        let frame =
            frame.map_err(|error| Refusal::bad_request(format!("failed to read the body: {error}")))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

#[cfg(test)]
mod unit {
    use axum::response::IntoResponse;
    use futures::{StreamExt, stream};

    use super::*;

    fn status(result: Result<Whole, Refusal>) -> u16 {
        result.map(|_| 200).unwrap_or_else(|refusal| refusal.into_response().status().as_u16())
    }

    #[tokio::test]
    async fn a_body_has_its_limit_and_its_pace() {
        let bodies = Bodies::new(Duration::from_millis(100));
        let of = |length: usize| bodies.read(Body::from(vec![b' '; length]), 1 << 20);
        assert_eq!(of(1 << 20).await.unwrap().bytes.len(), 1 << 20);
        assert_eq!(status(of((1 << 20) + 1).await), 413);
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(status(bodies.read(never, 9).await), 408);
        let drip = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
        });
        assert_eq!(status(bodies.read(Body::from_stream(drip), 1 << 30).await), 408, "it never stops");
        assert_eq!(bodies.room.available_permits(), ROOM_KIB, "all room is free again");
    }

    #[tokio::test]
    async fn all_bodies_share_a_room() {
        let bodies = Bodies::with_room(Duration::from_millis(100), 256);
        let quarter = 64 << 10;
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(bodies.read(Body::from(vec![0; quarter]), quarter).await.unwrap());
        }
        assert_eq!(status(bodies.read(Body::from("{}"), 9).await), 503);
        held.pop();
        assert_eq!(status(bodies.read(Body::from("{}"), 9).await), 200);
    }
}
