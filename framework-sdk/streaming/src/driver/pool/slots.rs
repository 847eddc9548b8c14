//! Runs a batch's slots on the connected executors.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval};
use tracing::{debug, info, warn};

use super::dispatch::Dispatch;
use super::{ConnectionId, PoolEvent};
use crate::batch::{SlotDone, SlotFailure};
use crate::driver::{BatchWork, Point, Probe, Slots};
use crate::wire::ToExecutor;

/// How often slow slots are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is said that nobody is there to run slots.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

struct Executor {
    name: String,
    capacity: u32,
    outbox: mpsc::Sender<ToExecutor>,
    /// Attempts it has not answered yet, those of earlier batches included.
    running: BTreeSet<String>,
}

/// The engine's slots over TCP.
pub(crate) struct PoolSlots<P> {
    events: mpsc::Receiver<PoolEvent>,
    executors: BTreeMap<ConnectionId, Executor>,
    slot_timeout_ms: u64,
    began: Instant,
    probe: P,
}

impl<P: Probe> PoolSlots<P> {
    pub(crate) fn new(events: mpsc::Receiver<PoolEvent>, slot_timeout: Duration, probe: P) -> Self {
        let slot_timeout_ms = u64::try_from(slot_timeout.as_millis()).unwrap_or(u64::MAX);
        Self { events, executors: BTreeMap::new(), slot_timeout_ms, began: Instant::now(), probe }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn start(&mut self, dispatch: &mut Dispatch) {
        let free = |executor: &Executor| {
            executor.capacity.saturating_sub(u32::try_from(executor.running.len()).unwrap_or(u32::MAX))
        };
        let mut room = self.executors.iter().map(|(id, executor)| (*id, free(executor))).collect();
        let new_name = || uuid::Uuid::new_v4().simple().to_string();
        for (connection, task) in dispatch.assign(self.now_ms(), &mut room, new_name) {
            let Some(executor) = self.executors.get_mut(&connection) else { continue };
            debug!(executor = executor.name, batch = task.batch, slot = task.slot, "slot started");
            executor.running.insert(task.attempt.clone());
            if executor.outbox.try_send(ToExecutor::Run { task }).is_err() {
                // Full or closed: either way it is of no use, and its connection ends by itself.
                dispatch.on_left(connection);
                self.executors.remove(&connection);
            }
        }
    }

    async fn on_event(
        &mut self,
        event: PoolEvent,
        dispatch: &mut Dispatch,
        batch: u64,
    ) -> Result<(), SlotFailure> {
        match event {
            PoolEvent::Joined { connection, executor, capacity, outbox } => {
                let joined = Executor { name: executor, capacity, outbox, running: BTreeSet::new() };
                self.executors.insert(connection, joined);
            }
            PoolEvent::Left { connection } => {
                if let Some(executor) = self.executors.remove(&connection)
                    && !executor.running.is_empty()
                {
                    info!(
                        executor = executor.name,
                        slots = executor.running.len(),
                        "its slots run elsewhere"
                    );
                }
                dispatch.on_left(connection);
            }
            PoolEvent::Done { connection, done } => {
                if let Some(executor) = self.executors.get_mut(&connection) {
                    executor.running.remove(&done.attempt);
                }
                dispatch.on_done(self.now_ms(), *done);
                let stopped = self.probe.reach(Point::MidSlots, batch).await;
                stopped.map_err(|stopped| SlotFailure::transient(stopped.to_string()))?;
            }
            PoolEvent::Failed { connection, attempt, failure } => {
                if let Some(executor) = self.executors.get_mut(&connection) {
                    executor.running.remove(&attempt);
                    warn!(executor = executor.name, batch, %failure, "slot failed");
                }
                dispatch.on_failed(&attempt, failure)?;
            }
        }
        Ok(())
    }
}

impl<P: Probe> Slots for PoolSlots<P> {
    async fn run(&mut self, work: BatchWork) -> Result<Vec<SlotDone>, SlotFailure> {
        let mut dispatch = Dispatch::new(work.tasks, self.slot_timeout_ms);
        let mut look = interval(LOOK_INTERVAL);
        let mut complain_at = Instant::now() + COMPLAINT_INTERVAL;
        loop {
            self.start(&mut dispatch);
            if let Some(done) = dispatch.finished() {
                return Ok(done);
            }
            if Instant::now() >= complain_at {
                complain_at += COMPLAINT_INTERVAL;
                let (waiting, executors) = (dispatch.waiting(), self.executors.len());
                warn!(
                    batch = work.batch,
                    waiting, executors, "slots are still running or waiting for executors"
                );
            }
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.on_event(event, &mut dispatch, work.batch).await?,
                    None => return Err(SlotFailure::transient("nobody accepts executors any more")),
                },
                _ = look.tick() => {}
            }
        }
    }
}
