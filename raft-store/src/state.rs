//! The state machine as raft sees it: applies committed entries, freezes copies for snapshots, installs received ones.
//!
//! Owns the last applied entry, the last applied membership, and when the next snapshot is due. The state itself belongs to
//! the user's [`StateMachine`](crate::StateMachine). A panic in there is a fault of the replica, not of the process.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::EntryPayload;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};

use crate::cluster::Cluster;
use crate::error::OpenError;
use crate::fatal::Fatal;
use crate::machine::{Entry, Frozen, Machine};
use crate::meter::Meter;
use crate::mutants::{self, Mutant};
use crate::network::Answerer;
use crate::priority;
use crate::roster::Roster;
use crate::snapshot::{Header, SnapshotFile, Snapshots};
use crate::types::{Answer, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// So many entries are applied in one call at most, so that answers go out while a long log is applied.
const APPLY_AT_ONCE: usize = 1024;

/// See the module head.
pub(crate) struct Replica {
    machine: Arc<Mutex<Box<dyn Machine>>>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: Snapshots,
    cluster: Cluster,
    roster: Roster,
    meter: Arc<Meter>,
    fatal: Fatal,
}

impl Replica {
    /// Starts from the newest snapshot, if there is one.
    pub(crate) async fn open(
        machine: Box<dyn Machine>,
        snapshots: Snapshots,
        cluster: Cluster,
        roster: Roster,
        meter: Arc<Meter>,
        fatal: Fatal,
    ) -> Result<Replica, OpenError> {
        let mut replica = Replica {
            machine: Arc::new(Mutex::new(machine)),
            last_applied: None,
            membership: StoredMembership::default(),
            snapshots,
            cluster,
            roster,
            meter,
            fatal,
        };
        if let Some(file) = replica.snapshots.current() {
            let refused = |reason: String| OpenError::Install { file: file.path.clone(), reason };
            let meta = file.meta().map_err(|e| refused(e.to_string()))?;
            replica.meter.took(file.size());
            replica.load(file.clone()).await.map_err(|e| refused(e.to_string()))?;
            replica.last_applied = meta.last_log_id.filter(|_| !mutants::on(Mutant::ForgetPlace));
            replica.belong(meta.last_membership);
        }
        Ok(replica)
    }

    /// Where other replicas' questions are answered.
    pub(crate) fn answerer(&self) -> Answerer {
        Answerer(Arc::clone(&self.machine))
    }

    /// Hands a snapshot to the state machine, on a blocking thread.
    async fn load(&self, file: SnapshotFile) -> io::Result<()> {
        let machine = Arc::clone(&self.machine);
        let work = move || {
            let mut body = file.body()?;
            let mut machine = lock(&machine);
            let installed = catch_unwind(AssertUnwindSafe(|| {
                machine.install(&mut body, file.header.last_index().unwrap_or(0))
            }));
            match installed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(e)) => Err(io::Error::other(format!("{e:#}"))),
                Err(_) => Err(io::Error::other("the state machine panicked")),
            }
        };
        crate::blocking::run(work).await.unwrap_or_else(|e| Err(io::Error::other(e)))
    }

    fn apply_some(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let mut commands = Vec::with_capacity(batch.len());
        let mut responders: Vec<(Fate, Option<ApplyResponder<TypeConfig>>)> = Vec::with_capacity(batch.len());
        let mut bytes = 0;
        for (entry, responder) in batch {
            self.last_applied = Some(entry.log_id);
            let fate = match entry.payload {
                EntryPayload::Blank => Fate::NoCommand,
                EntryPayload::Normal(command)
                    if command.term != entry.log_id.leader_id.term && !mutants::on(Mutant::IgnoreTerm) =>
                {
                    Fate::Stale
                }
                EntryPayload::Normal(command) => {
                    bytes += command.bytes.len();
                    commands.push(Entry { index: entry.log_id.index, command: command.bytes });
                    Fate::Answered
                }
                EntryPayload::Membership(membership) => {
                    self.belong(StoredMembership::new(Some(entry.log_id), membership));
                    Fate::NoCommand
                }
            };
            responders.push((fate, responder));
        }
        let expected = commands.len();
        let mut answers = Vec::new();
        if expected > 0 {
            let mut machine = lock(&self.machine);
            answers = catch_unwind(AssertUnwindSafe(|| machine.apply(commands)))
                .map_err(|_| io::Error::other("the state machine panicked"))?;
        }
        if answers.len() != expected {
            let text = format!("the state machine gave {} answers to {expected} commands", answers.len());
            return Err(io::Error::other(text));
        }
        self.meter.applied(self.last_applied.map_or(0, |id| id.index), responders.len(), bytes);
        let mut answers = answers.into_iter();
        for (fate, responder) in responders {
            let answer = match fate {
                Fate::Answered => Answer::Applied(answers.next().unwrap_or_default()),
                Fate::NoCommand => Answer::Applied(Bytes::new()),
                Fate::Stale => Answer::Stale,
            };
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    fn belong(&mut self, membership: StoredMembership) {
        self.roster.applied(&membership);
        self.membership = membership;
    }

    fn fault<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(e) = &result {
            self.fatal.report(format!("{what}: {e}"));
        }
        result
    }
}

/// What an entry is to the state machine.
enum Fate {
    Answered,
    NoCommand,
    Stale,
}

fn lock(machine: &Mutex<Box<dyn Machine>>) -> MutexGuard<'_, Box<dyn Machine>> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RaftStateMachine<TypeConfig> for Replica {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut batches = entries.ready_chunks(APPLY_AT_ONCE);
        while let Some(batch) = batches.next().await {
            let batch = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
            let applied = self.apply_some(batch);
            self.fault("committed entries could not be applied", applied)?;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        // Nothing applied: nothing to write. Only a log that was purged forces a snapshot, and then there is something.
        (force || self.last_applied.is_some()).then_some(())?;
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.meter.reset();
        Builder {
            frozen: Mutex::new(Some(lock(&self.machine).freeze())),
            meta: SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() },
            snapshots: self.snapshots.clone(),
            cluster_id: self.cluster.id().unwrap_or_default(),
            meter: Arc::clone(&self.meter),
            fatal: self.fatal.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let loaded =
            if mutants::on(Mutant::SkipInstall) { Ok(()) } else { self.load(snapshot.clone()).await };
        self.fault("a received snapshot could not be installed", loaded)?;
        self.meter.took(snapshot.size());
        let snapshots = self.snapshots.clone();
        let kept = crate::blocking::run(move || snapshots.keep(snapshot)).await;
        self.fault(
            "a received snapshot could not be kept",
            kept.unwrap_or_else(|e| Err(io::Error::other(e))),
        )?;
        self.last_applied = meta.last_log_id;
        self.belong(meta.last_membership.clone());
        self.meter.reset();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let Some(file) = self.snapshots.current() else { return Ok(None) };
        let meta = file.meta().map_err(io::Error::other)?;
        Ok(Some(Snapshot { meta, snapshot: file }))
    }
}

/// Writes one frozen copy to disk.
pub(crate) struct Builder {
    frozen: Mutex<Option<Frozen>>,
    meta: SnapshotMeta,
    snapshots: Snapshots,
    cluster_id: String,
    meter: Arc<Meter>,
    fatal: Fatal,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let frozen = self.frozen.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let frozen = frozen.ok_or_else(|| io::Error::other("this copy was written already"))?;
        let header = Header {
            cluster_id: self.cluster_id.clone(),
            last: self.meta.last_log_id.map(Into::into),
            membership: (&self.meta.last_membership).into(),
        };
        let snapshots = self.snapshots.clone();
        let work = move || {
            catch_unwind(AssertUnwindSafe(|| snapshots.write(&header, frozen)))
                .unwrap_or_else(|_| Err(io::Error::other("the state machine panicked")))
        };
        let written = priority::in_background("snapshot", work).await;
        let snapshot =
            written.inspect_err(|e| self.fatal.report(format!("a snapshot could not be written: {e}")))?;
        self.meter.took(snapshot.size());
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::List;
    use crate::types::{Command, RaftEntry, log_id};

    #[tokio::test]
    async fn a_command_of_another_term_has_no_effect_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let log =
            crate::log::open(dir.path(), 1, crate::log::faults::Faults::default(), Fatal::new()).unwrap();
        let snapshots = Snapshots::open(&dir.path().join("snapshots")).unwrap();
        let cluster = Cluster::new(1, None, log);
        let meter = Arc::new(Meter::new(u64::MAX, u64::MAX));
        let list = List::default();
        let applied = list.shared();
        let mut replica = Replica::open(
            Box::new(list),
            snapshots,
            cluster,
            Roster::new(1, crate::seat::Incarnation::draw(), Fatal::new()),
            meter,
            Fatal::new(),
        )
        .await
        .unwrap();
        let entry = |index, term| {
            let command = Command { term, bytes: format!("{index}").into() };
            (RaftEntry { log_id: log_id(5, 1, index), payload: EntryPayload::Normal(command) }, None)
        };
        let entries = [entry(0, 5), entry(1, 4), entry(2, 6), entry(3, 5)];
        replica.apply(futures::stream::iter(entries.into_iter().map(Ok))).await.unwrap();
        assert_eq!(*applied.lock().unwrap(), ["0", "3"]);
        assert_eq!(replica.applied_state().await.unwrap().0, Some(log_id(5, 1, 3)));
    }
}
