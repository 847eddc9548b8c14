//! One connection to a driver: both prove who they are, then slots are run and answered until it ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::HighestGeneration;
use crate::batch::slot::SlotRunner;
use crate::batch::{SlotFailure, SlotTask};
use crate::files::Disk;
use crate::job::Job;
use crate::wire::auth::{self, JobKey};
use crate::wire::{
    FrameError, FromExecutor, HANDSHAKE_TIMEOUT, SILENCE, ToExecutor, read_frame, write_frame,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Answers that wait to be sent.
const OUTBOX: usize = 64;

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The driver is gone, or cannot be talked to; a successor may be.
    Lost(String),
    /// The driver does not need this executor any more.
    Dismissed(String),
}

/// What an executor is, for all sessions.
pub(super) struct Worker {
    job: Job,
    name: String,
    capacity: u32,
    disk: Disk,
    /// Runners that nobody uses. They keep input files open.
    idle: Arc<Mutex<Vec<SlotRunner>>>,
}

impl Worker {
    pub(super) fn new(job: &Job, name: &str, capacity: u32, disk: Disk) -> Self {
        Self { job: job.clone(), name: name.to_owned(), capacity, disk, idle: Arc::default() }
    }

    /// Connects and serves one driver until the connection ends. `proved` is called once both sides have proved who they are.
    pub(super) async fn serve(
        &self,
        address: &str,
        highest: &mut HighestGeneration,
        proved: impl FnOnce(),
    ) -> SessionEnd {
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return SessionEnd::Lost(format!("connect to {address}: {error}")),
            Err(_) => return SessionEnd::Lost(format!("connect to {address}: no answer")),
        };
        drop(stream.set_nodelay(true));
        match timeout(HANDSHAKE_TIMEOUT, self.greet(stream, highest)).await {
            Ok(Ok((stream, generation))) => {
                info!(address, generation, "driver found");
                proved();
                self.work(stream, generation).await
            }
            Ok(Err(reason)) => SessionEnd::Lost(reason),
            Err(_) => SessionEnd::Lost("the driver does not answer".to_owned()),
        }
    }

    async fn greet(
        &self,
        mut stream: TcpStream,
        highest: &mut HighestGeneration,
    ) -> Result<(TcpStream, u64), String> {
        let broken = |error: FrameError| error.to_string();
        let key = JobKey::load(&self.job.checkpoint.path).map_err(|error| error.to_string())?;
        let mine = auth::nonce();
        let hello = FromExecutor::Hello {
            job: self.job.name.clone(),
            topology_hash: self.job.topology_hash(),
            executor: self.name.clone(),
            capacity: self.capacity,
            highest_generation: highest.get(),
            nonce: mine.clone(),
        };
        write_frame(&mut stream, &hello).await.map_err(broken)?;
        let welcome = read_frame(&mut stream).await.map_err(broken)?;
        let ToExecutor::Welcome { generation, nonce: theirs, mac } = welcome else {
            return Err("the driver does not begin with a greeting".to_owned());
        };
        let text = generation.to_string();
        if !key.verify(&auth::welcome_parts(&self.job.name, &text, &mine, &theirs), &mac) {
            return Err("the driver does not know the job's key".to_owned());
        }
        if !highest.raise(generation).map_err(|error| error.to_string())? {
            return Err(format!("a driver of generation {generation} is a left-over of {}", highest.get()));
        }
        let mac = key.mac(&auth::proof_parts(&self.job.name, &self.name, &theirs, &mine));
        write_frame(&mut stream, &FromExecutor::Proof { mac }).await.map_err(broken)?;
        Ok((stream, generation))
    }

    async fn work(&self, stream: TcpStream, generation: u64) -> SessionEnd {
        let (reader, writer) = stream.into_split();
        let (answers, outbox) = mpsc::channel(OUTBOX);
        tokio::select! {
            end = self.receive(reader, generation, answers) => end,
            reason = send(writer, outbox) => SessionEnd::Lost(reason),
        }
    }

    async fn receive(
        &self,
        mut reader: OwnedReadHalf,
        generation: u64,
        answers: mpsc::Sender<FromExecutor>,
    ) -> SessionEnd {
        // Dropped with the session: what still runs for this driver then answers to nobody.
        let mut slots = JoinSet::new();
        loop {
            while let Some(ended) = slots.try_join_next() {
                if let Err(error) = ended {
                    warn!(%error, "a slot ended badly");
                }
            }
            let message = match timeout(SILENCE, read_frame(&mut reader)).await {
                Err(_) => return SessionEnd::Lost(format!("the driver has been silent for {SILENCE:?}")),
                Ok(Err(error)) => return SessionEnd::Lost(error.to_string()),
                Ok(Ok(message)) => message,
            };
            match message {
                ToExecutor::Ping => {
                    // A full outbox is traffic enough.
                    let _ = answers.try_send(FromExecutor::Pong);
                }
                ToExecutor::Run { task } if task.generation == generation => {
                    debug!(batch = task.batch, slot = task.slot, "slot begins");
                    slots.spawn(self.run(task, answers.clone()));
                }
                ToExecutor::Run { task } => {
                    return SessionEnd::Lost(format!("it orders work of generation {}", task.generation));
                }
                ToExecutor::Stop { reason, exit: true } => return SessionEnd::Dismissed(reason),
                ToExecutor::Stop { reason, exit: false } => return SessionEnd::Lost(reason),
                ToExecutor::Welcome { .. } => return SessionEnd::Lost("it greets twice".to_owned()),
            }
        }
    }

    fn run(&self, task: SlotTask, answers: mpsc::Sender<FromExecutor>) -> impl Future<Output = ()> + use<> {
        let (idle, job, disk) = (Arc::clone(&self.idle), self.job.clone(), self.disk);
        async move {
            let attempt = task.attempt.clone();
            let ran = tokio::task::spawn_blocking(move || {
                let kept = lock(&idle).pop();
                let mut runner = kept.unwrap_or_else(|| SlotRunner::new(&job, disk));
                let result = runner.run(&task);
                lock(&idle).push(runner);
                result
            });
            let result = ran
                .await
                .unwrap_or_else(|error| Err(SlotFailure::fatal(format!("the slot panicked: {error}"))));
            let answer = match result {
                Ok(done) => FromExecutor::Done { done },
                Err(failure) => FromExecutor::Failed { attempt, failure },
            };
            if answers.send(answer).await.is_err() {
                debug!("the driver that asked is gone");
            }
        }
    }
}

fn lock(idle: &Mutex<Vec<SlotRunner>>) -> std::sync::MutexGuard<'_, Vec<SlotRunner>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send(mut writer: OwnedWriteHalf, mut outbox: mpsc::Receiver<FromExecutor>) -> String {
    while let Some(message) = outbox.recv().await {
        if let Err(error) = write_frame(&mut writer, &message).await {
            return error.to_string();
        }
    }
    "the session is over".to_owned()
}
