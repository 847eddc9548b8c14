//! A framework of short tasks that each leave one line in a file, and the book of what became of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tepui_sdk::scheduler::{Driver, Event, Events, Handle, Outcome};
use tepui_sdk::v1::{self, TaskState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::harness::{PATIENCE, task};

/// What the framework was told of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) ran: bool,
    pub(super) end: Option<TaskState>,
    /// The launch certainly had no effect.
    pub(super) never: bool,
}

/// All tasks by their ids.
pub(super) type Book = BTreeMap<String, Told>;

/// The framework.
pub(super) struct Tasks {
    book: Arc<Mutex<Book>>,
    orders: mpsc::UnboundedSender<String>,
    work: JoinSet<()>,
    marks: PathBuf,
    /// Whether tasks are launched steadily now.
    steady: Arc<AtomicBool>,
    ids: Ids,
}

/// Under which ids the framework was subscribed: one, if nobody ever gave it up.
type Ids = Arc<Mutex<BTreeSet<String>>>;

impl Tasks {
    /// Subscribes.
    ///
    /// # Errors
    /// When the framework cannot be made.
    pub(super) fn start(masters: Vec<String>, marks: &Path) -> anyhow::Result<Self> {
        let info = v1::FrameworkInfo {
            user: Some("root".to_owned()),
            name: Some("short tasks".to_owned()),
            failover_timeout: Some(3_600.0),
            checkpoint: Some(true),
            ..v1::FrameworkInfo::default()
        };
        let (driver, handle, events) = Driver::builder(info).masters(masters).build()?;
        let book = Arc::<Mutex<Book>>::default();
        let (orders, queue) = mpsc::unbounded_channel();
        let ids = Ids::default();
        let actor = Actor {
            ids: ids.clone(),
            book: book.clone(),
            handle,
            events,
            queue,
            waiting: VecDeque::new(),
            offers: VecDeque::new(),
            marks: marks.to_path_buf(),
        };
        let mut work = JoinSet::new();
        work.spawn(async move {
            if let Err(error) = driver.run().await {
                tracing::error!(%error, "the framework's driver ended");
            }
        });
        work.spawn(actor.run());
        let steady = Arc::<AtomicBool>::default();
        Ok(Tasks { book, orders, work, marks: marks.to_path_buf(), steady, ids })
    }

    /// From now on a task is wanted again and again, with this pause, whenever [`Tasks::go_on`] says so.
    pub(super) fn launch_steadily(&mut self, pause: Duration) {
        let (book, orders, steady) = (self.book.clone(), self.orders.clone(), self.steady.clone());
        self.work.spawn(async move {
            for number in 0_u64.. {
                tokio::time::sleep(pause).await;
                if steady.load(Ordering::Relaxed) {
                    let id = format!("s{number}");
                    lock(&book).insert(id.clone(), Told::default());
                    let _ended = orders.send(id);
                }
            }
        });
    }

    /// Begins or ends steady launches.
    pub(super) fn go_on(&self, steady: bool) {
        self.steady.store(steady, Ordering::Relaxed);
    }

    /// Wants a task run.
    pub(super) fn launch(&self, id: &str) {
        lock(&self.book).insert(id.to_owned(), Told::default());
        // Refused only if the framework has ended, which the next settlement finds.
        let _ended = self.orders.send(id.to_owned());
    }

    /// Under which ids the framework was subscribed so far.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until something final is known of every task.
    ///
    /// # Errors
    /// Names the tasks of which nothing is known.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let open: Vec<String> = lock(&self.book)
                .iter()
                .filter(|(_, told)| told.end.is_none() && !told.never)
                .map(|(id, _)| id.clone())
                .collect();
            if open.is_empty() {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "nothing is known of {open:?} after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Holds the book against the file and empties both. Returns what became of the tasks, and every contradiction.
    ///
    /// # Errors
    /// When the file cannot be read or emptied.
    pub(super) fn check(&self, agent_died: bool) -> anyhow::Result<(Tally, Vec<String>)> {
        let text = std::fs::read_to_string(&self.marks).unwrap_or_default();
        let book = std::mem::take(&mut *lock(&self.book));
        std::fs::write(&self.marks, "")?;
        Ok(judge(&book, &text, agent_died))
    }

    /// Ends the framework's part in this process.
    pub(super) async fn stop(mut self) {
        self.work.shutdown().await;
    }
}

/// What became of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) finished: usize,
    /// Reported as never run.
    pub(super) dropped: usize,
}

/// Compares what was told with what was run.
fn judge(book: &Book, marks: &str, agent_died: bool) -> (Tally, Vec<String>) {
    let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
    for line in marks.lines() {
        *runs.entry(line).or_default() += 1;
    }
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for (id, told) in book {
        let times = runs.remove(id.as_str()).unwrap_or(0);
        if times > 1 {
            wrong.push(format!("task {id} ran {times} times"));
        }
        match told.end {
            Some(TaskState::TaskFinished) if times == 0 => {
                wrong.push(format!("task {id} finished without having run"))
            }
            Some(TaskState::TaskFinished) => tally.finished += 1,
            // A command that its supervising process did not outlive is reported as failed, and may have run.
            Some(TaskState::TaskFailed) if agent_died => tally.dropped += 1,
            Some(state) if times > 0 => wrong.push(format!("task {id} ran, but is {}", state.as_str_name())),
            Some(state) if told.ran => {
                wrong.push(format!("task {id} was running, but is {}", state.as_str_name()))
            }
            None if times > 0 => wrong.push(format!("task {id} ran, but was never launched")),
            Some(_) | None => tally.dropped += 1,
        }
    }
    wrong.extend(runs.keys().map(|id| format!("task {id} ran, but nobody wanted it")));
    (tally, wrong)
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Actor {
    ids: Ids,
    book: Arc<Mutex<Book>>,
    handle: Handle,
    events: Events,
    queue: mpsc::UnboundedReceiver<String>,
    waiting: VecDeque<String>,
    offers: VecDeque<v1::Offer>,
    marks: PathBuf,
}

impl Actor {
    async fn run(mut self) {
        loop {
            let gone = tokio::select! {
                Some(id) = self.queue.recv() => {
                    self.waiting.push_back(id);
                    // Refused offers come back for this.
                    self.handle.revive(Vec::new()).await.is_err()
                }
                event = self.events.next() => match event {
                    Some(event) => self.hear(event).await.is_err(),
                    None => true,
                },
            };
            if gone || self.spend().await.is_err() {
                return;
            }
        }
    }

    async fn hear(&mut self, event: Event) -> Result<(), tepui_sdk::scheduler::DriverGone> {
        match event {
            Event::Subscribed { framework_id, .. } => {
                let id = framework_id.value().to_owned();
                self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            }
            Event::Offers(offers) => self.offers.extend(offers),
            Event::Rescind(id) => self.offers.retain(|offer| offer.id.as_ref() != Some(&id)),
            Event::Disconnected { .. } => self.offers.clear(),
            Event::Update(status) => {
                let id = status.task_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default();
                if let Some(told) = lock(&self.book).get_mut(&id) {
                    told.ran |= status.state() == TaskState::TaskRunning;
                    if status.state().is_terminal() && told.end != Some(TaskState::TaskFinished) {
                        told.end = Some(status.state());
                    }
                }
            }
            Event::CallFailed(failed) if !matches!(failed.outcome, Outcome::Unknown { .. }) => {
                for id in failed.task_ids {
                    if let Some(told) = lock(&self.book).get_mut(id.value()) {
                        told.never = true;
                    }
                }
            }
            _other => {}
        }
        Ok(())
    }

    /// Uses offers for what waits, and gives back those that nobody needs: the driver must find room, too.
    async fn spend(&mut self) -> Result<(), tepui_sdk::scheduler::DriverGone> {
        while let Some(offer) = self.offers.pop_front() {
            let offers = offer.id.clone().into_iter().collect();
            let Some(id) = self.waiting.pop_front() else {
                self.handle.decline(offers, Some(3_600.0)).await?;
                continue;
            };
            let command = format!("echo {id} >> {}", self.marks.display());
            let wanted = v1::TaskInfo { agent_id: offer.agent_id, ..task(&id, &command) };
            let launch = v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch as i32),
                launch: Some(v1::offer::operation::Launch { task_infos: vec![wanted] }),
                ..v1::offer::Operation::default()
            };
            let rest = v1::Filters { refuse_seconds: Some(0.0) };
            self.handle.accept(offers, vec![launch], Some(rest)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ran: bool, end: Option<TaskState>) -> Told {
        Told { ran, end, never: end.is_none() }
    }

    #[test]
    fn every_contradiction_between_word_and_deed_is_found() {
        let finished = Some(TaskState::TaskFinished);
        let lost = Some(TaskState::TaskLost);
        let failed = Some(TaskState::TaskFailed);
        for (what, told, marks, agent_died, good) in [
            ("finished", told(true, finished), "t\n", false, true),
            ("finished twice", told(true, finished), "t\nt\n", false, false),
            ("finished without running", told(true, finished), "", false, false),
            ("dropped", told(false, lost), "", false, true),
            ("dropped, but ran", told(false, lost), "t\n", false, false),
            ("lost while running", told(true, lost), "", false, false),
            ("never sent", told(false, None), "", false, true),
            ("never sent, but ran", told(false, None), "t\n", false, false),
            ("failed", told(true, failed), "t\n", false, false),
            ("failed with its agent", told(true, failed), "t\n", true, true),
        ] {
            let book = Book::from([("t".to_owned(), told)]);
            let (tally, wrong) = judge(&book, marks, agent_died);
            assert_eq!(wrong.is_empty(), good, "{what}: {wrong:?}");
            if good {
                assert_eq!(tally.finished + tally.dropped, 1, "{what}");
            }
        }
        assert!(!judge(&Book::new(), "stray\n", false).1.is_empty());
    }
}
