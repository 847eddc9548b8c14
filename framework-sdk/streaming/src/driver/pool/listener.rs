//! Accepts executors and makes sure of both ends: that they belong to this job, and that they get to know this generation.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::connection::Connection;
use super::{ConnectionId, OUTBOX, PoolEvent, Roster};
use crate::job::Job;
use crate::wire::auth::{self, JobKey};
use crate::wire::{FrameError, FromExecutor, HANDSHAKE_TIMEOUT, ToExecutor, read_frame, write_frame};

/// Connections at one time; more wait in the operating system's queue.
const MAX_CONNECTIONS: usize = 2048;

/// What the listener needs to know to let somebody in.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) job: String,
    pub(crate) topology_hash: String,
    pub(crate) generation: u64,
    pub(crate) key: JobKey,
}

impl Gate {
    pub(crate) fn new(job: &Job, generation: u64, key: JobKey) -> Self {
        Self { job: job.name.clone(), topology_hash: job.topology_hash(), generation, key }
    }
}

/// An executor that has been let in.
struct Guest {
    executor: String,
    capacity: u32,
    stream: TcpStream,
}

/// Accepts executors for as long as it is polled.
pub(crate) struct Listener {
    listener: TcpListener,
    gate: Gate,
    roster: Roster,
    events: mpsc::Sender<PoolEvent>,
}

impl Listener {
    pub(crate) fn new(
        listener: TcpListener,
        gate: Gate,
        roster: Roster,
        events: mpsc::Sender<PoolEvent>,
    ) -> Self {
        Self { listener, gate, roster, events }
    }

    /// Runs until dropped; all connections end with it.
    pub(crate) async fn run(self) {
        let mut connections = JoinSet::new();
        let mut next = 0;
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, peer)) => {
                        next += 1;
                        let (gate, roster, events) = (self.gate.clone(), self.roster.clone(), self.events.clone());
                        connections.spawn(serve(ConnectionId(next), stream, peer, gate, roster, events));
                    }
                    Err(error) => {
                        warn!(%error, "cannot accept an executor");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "an executor's connection ended badly");
                    }
                }
            }
        }
    }
}

async fn serve(
    id: ConnectionId,
    stream: TcpStream,
    peer: SocketAddr,
    gate: Gate,
    roster: Roster,
    events: mpsc::Sender<PoolEvent>,
) {
    let guest = match timeout(HANDSHAKE_TIMEOUT, admit(stream, &gate)).await {
        Ok(Ok(guest)) => guest,
        Ok(Err(reason)) => return info!(%peer, %reason, "executor refused"),
        Err(_) => return info!(%peer, "executor refused: it says nothing"),
    };
    let (outbox, frames) = mpsc::channel(OUTBOX);
    let Guest { executor, capacity, stream } = guest;
    info!(executor, capacity, %peer, "executor connected");
    roster.join(id, &executor, outbox.clone());
    let joined = PoolEvent::Joined { connection: id, executor: executor.clone(), capacity, outbox };
    let reason = if events.send(joined).await.is_ok() {
        Connection::new(id, stream, frames, events.clone()).run().await
    } else {
        "the driver is ending".to_owned()
    };
    roster.leave(id);
    info!(executor, reason, "executor disconnected");
    if events.send(PoolEvent::Left { connection: id }).await.is_err() {
        debug!(executor, "nobody is interested any more");
    }
}

async fn admit(mut stream: TcpStream, gate: &Gate) -> Result<Guest, String> {
    let broken = |error: FrameError| error.to_string();
    drop(stream.set_nodelay(true));
    let hello = read_frame(&mut stream).await.map_err(broken)?;
    let FromExecutor::Hello { job, topology_hash, executor, capacity, highest_generation, nonce: theirs } =
        hello
    else {
        return Err("it does not begin with a greeting".to_owned());
    };
    let refusal = if job != gate.job {
        Some((format!("it belongs to job {job}"), false))
    } else if highest_generation > gate.generation {
        Some((format!("it has worked for generation {highest_generation}"), false))
    } else if topology_hash != gate.topology_hash {
        // It was launched for an older description of the job and can do nothing for this one.
        Some(("its job description is another one".to_owned(), true))
    } else {
        None
    };
    let (generation, mine) = (gate.generation.to_string(), auth::nonce());
    let mac = gate.key.mac(&auth::welcome_parts(&gate.job, &generation, &theirs, &mine));
    let welcome = ToExecutor::Welcome { generation: gate.generation, nonce: mine.clone(), mac };
    write_frame(&mut stream, &welcome).await.map_err(broken)?;
    let FromExecutor::Proof { mac } = read_frame(&mut stream).await.map_err(broken)? else {
        return Err("it proves nothing".to_owned());
    };
    if !gate.key.verify(&auth::proof_parts(&gate.job, &executor, &mine, &theirs), &mac) {
        return Err("it does not know the job's key".to_owned());
    }
    if let Some((reason, exit)) = refusal {
        write_frame(&mut stream, &ToExecutor::Stop { reason: reason.clone(), exit }).await.map_err(broken)?;
        return Err(reason);
    }
    Ok(Guest { executor, capacity: capacity.clamp(1, 1024), stream })
}
