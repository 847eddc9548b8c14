//! Runs slots in this process, one after the other.

use crate::batch::slot::SlotRunner;
use crate::batch::{SlotDone, SlotFailure};
use crate::driver::{BatchWork, Point, Probe, Slots};
use crate::files::Disk;
use crate::job::Job;

/// Runs slots on a thread of this process.
pub(crate) struct LocalSlots<P> {
    job: Job,
    disk: Disk,
    runner: Option<SlotRunner>,
    probe: P,
}

impl<P> LocalSlots<P> {
    pub(crate) fn new(job: &Job, disk: Disk, probe: P) -> Self {
        Self { job: job.clone(), disk, runner: None, probe }
    }
}

impl<P: Probe> Slots for LocalSlots<P> {
    async fn run(&mut self, work: BatchWork) -> Result<Vec<SlotDone>, SlotFailure> {
        let mut done = Vec::new();
        for mut task in work.tasks {
            task.attempt = uuid::Uuid::new_v4().to_string();
            let mut runner = self.runner.take().unwrap_or_else(|| SlotRunner::new(&self.job, self.disk));
            let ran = tokio::task::spawn_blocking(move || {
                let result = runner.run(&task);
                (runner, result)
            });
            let (runner, result) = ran.await.map_err(|error| SlotFailure::transient(error.to_string()))?;
            self.runner = Some(runner);
            done.push(result?);
            let stopped = self.probe.reach(Point::MidSlots, work.batch).await;
            stopped.map_err(|stopped| SlotFailure::transient(stopped.to_string()))?;
        }
        Ok(done)
    }
}
