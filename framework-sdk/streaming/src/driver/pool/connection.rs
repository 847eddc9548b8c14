//! One connected executor: passes frames both ways until either side is done or silent.

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::{ConnectionId, PoolEvent};
use crate::wire::{FromExecutor, PING_INTERVAL, SILENCE, ToExecutor, read_frame, write_frame};

pub(super) struct Connection {
    id: ConnectionId,
    stream: TcpStream,
    frames: mpsc::Receiver<ToExecutor>,
    events: mpsc::Sender<PoolEvent>,
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        stream: TcpStream,
        frames: mpsc::Receiver<ToExecutor>,
        events: mpsc::Sender<PoolEvent>,
    ) -> Self {
        Self { id, stream, frames, events }
    }

    /// Runs until the connection ends, and says why.
    pub(super) async fn run(self) -> String {
        let (reader, writer) = self.stream.into_split();
        // Reading and writing are futures of their own: a frame is never left half read because another one has to be sent.
        tokio::select! {
            reason = receive(self.id, reader, self.events) => reason,
            reason = send(writer, self.frames) => reason,
        }
    }
}

async fn receive(id: ConnectionId, mut reader: OwnedReadHalf, events: mpsc::Sender<PoolEvent>) -> String {
    loop {
        let message = match timeout(SILENCE, read_frame(&mut reader)).await {
            Err(_) => return format!("silent for {SILENCE:?}"),
            Ok(Err(error)) => return error.to_string(),
            Ok(Ok(message)) => message,
        };
        let event = match message {
            FromExecutor::Pong => continue,
            FromExecutor::Done { done } => PoolEvent::Done { connection: id, done: Box::new(done) },
            FromExecutor::Failed { attempt, failure } => {
                PoolEvent::Failed { connection: id, attempt, failure }
            }
            FromExecutor::Hello { .. } | FromExecutor::Proof { .. } => return "it greets twice".to_owned(),
        };
        if events.send(event).await.is_err() {
            return "the driver is ending".to_owned();
        }
    }
}

async fn send(mut writer: OwnedWriteHalf, mut frames: mpsc::Receiver<ToExecutor>) -> String {
    let mut pings = interval(PING_INTERVAL);
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => frame,
                None => return "the driver is ending".to_owned(),
            },
            _ = pings.tick() => ToExecutor::Ping,
        };
        if let Err(error) = write_frame(&mut writer, &frame).await {
            return error.to_string();
        }
        if let ToExecutor::Stop { reason, .. } = frame {
            return reason;
        }
    }
}
