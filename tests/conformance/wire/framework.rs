//! A framework on the bare wire. Remembers everything it hears; acknowledges only if it is told to; decides nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context;
use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::scheduler::{Call, Event, event};

use super::http::{Answer, Http};
use super::messages::{Named, accept, acknowledge, decline, filters, framework_id, kill, launch, of};
use super::stream::Stream;
use crate::conformance::PATIENCE;

/// Path of the scheduler API.
pub(crate) const SCHEDULER: &str = "/api/v1/scheduler";

/// A subscribed framework.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) id: String,
    pub(crate) stream_id: String,
    /// `host:port` of the master it is subscribed at.
    pub(crate) master: String,
    /// Offers that are out, oldest first.
    pub(crate) offers: VecDeque<v1::Offer>,
    /// All updates, in order.
    pub(crate) updates: Vec<v1::TaskStatus>,
    /// Everything else, in order.
    pub(crate) heard: Vec<Event>,
    /// The stream has ended.
    pub(crate) ended: bool,
    /// Whether updates are acknowledged as they come.
    pub(crate) acknowledges: bool,
    http: Http,
    stream: Stream,
}

impl Framework {
    /// Subscribes at one master.
    pub(crate) async fn subscribe(http: &Http, master: &str, call: &Call) -> anyhow::Result<Self> {
        let mut stream = http.open(master, SCHEDULER, &[], call).await?;
        let stream_id = stream.header("mesos-stream-id").context("no stream id")?;
        let first: Event = next_in_time(&mut stream).await?.context("the stream ended before SUBSCRIBED")?;
        let subscribed = match first.r#type() {
            event::Type::Subscribed => first.subscribed.context("SUBSCRIBED without its member")?,
            _other => anyhow::bail!("{first:?} instead of SUBSCRIBED"),
        };
        Ok(Framework {
            id: subscribed.framework_id.named().to_owned(),
            stream_id,
            master: master.to_owned(),
            offers: VecDeque::new(),
            updates: Vec::new(),
            heard: Vec::new(),
            ended: false,
            acknowledges: true,
            http: http.clone(),
            stream,
        })
    }

    /// Sends a call as it is and returns the answer.
    pub(crate) async fn post(&self, call: &Call) -> anyhow::Result<Answer> {
        self.http.post(&self.master, SCHEDULER, &[("mesos-stream-id", &self.stream_id)], call).await
    }

    /// Sends a call with this framework's id, which must be taken.
    pub(crate) async fn call(&self, call: Call) -> anyhow::Result<()> {
        let call = Call { framework_id: Some(framework_id(&self.id)), ..call };
        self.post(&call).await?.expect(202)?.empty()?;
        Ok(())
    }

    /// Reads the next event, whatever it is, until the instant. Nothing: none came, or the stream has ended.
    async fn read(&mut self, until: Instant) -> anyhow::Result<Option<Event>> {
        if self.ended {
            return Ok(None);
        }
        let left = until.saturating_duration_since(Instant::now());
        let Ok(next) = tokio::time::timeout(left, self.stream.next::<Event>()).await else { return Ok(None) };
        let Some(event) = next? else {
            self.ended = true;
            return Ok(None);
        };
        self.note(event.clone()).await?;
        Ok(Some(event))
    }

    async fn note(&mut self, event: Event) -> anyhow::Result<()> {
        match event.r#type() {
            event::Type::Offers => self.offers.extend(event.offers.unwrap_or_default().offers),
            event::Type::Update => {
                let status =
                    event.update.and_then(|update| update.status).context("UPDATE without a status")?;
                self.updates.push(status.clone());
                if self.acknowledges {
                    self.acknowledge(&status).await?;
                }
            }
            event::Type::Rescind => {
                let id = event.rescind.as_ref().and_then(|rescind| rescind.offer_id.clone());
                self.offers.retain(|offer| offer.id != id);
                self.heard.push(event);
            }
            _other => self.heard.push(event),
        }
        Ok(())
    }

    /// Acknowledges one update, if it asks for it.
    pub(crate) async fn acknowledge(&self, status: &v1::TaskStatus) -> anyhow::Result<()> {
        let Some(uuid) = status.uuid.clone() else { return Ok(()) };
        let call = acknowledge(status.agent_id.named(), status.task_id.named(), uuid);
        let call = Call { framework_id: Some(framework_id(&self.id)), ..call };
        // A stream that has just been replaced refuses it, which is for the scenario to judge.
        self.post(&call).await?;
        Ok(())
    }

    /// Reads events until `found` finds something in what was heard.
    pub(crate) async fn wait<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(&mut Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            anyhow::ensure!(!self.ended, "the stream ended before {what}; heard {}", self.summary());
            anyhow::ensure!(Instant::now() < until, "no {what} after {PATIENCE:?}; heard {}", self.summary());
            self.read(until).await?;
        }
    }

    /// Reads events for this long, or until the stream ends.
    pub(crate) async fn listen(&mut self, span: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + span;
        while Instant::now() < until && !self.ended {
            self.read(until).await?;
        }
        Ok(())
    }

    /// Reads until the stream ends.
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.ended {
            anyhow::ensure!(Instant::now() < until, "no end of the stream; heard {}", self.summary());
            self.read(until).await?;
        }
        Ok(())
    }

    /// Takes the oldest offer that is out, waiting for one.
    pub(crate) async fn offer(&mut self) -> anyhow::Result<v1::Offer> {
        self.wait("an offer", |this| this.offers.pop_front()).await
    }

    /// Takes the oldest offer of one agent.
    pub(crate) async fn offer_of(&mut self, agent: &str) -> anyhow::Result<v1::Offer> {
        self.wait("an offer of that agent", |this| {
            let at = this.offers.iter().position(|offer| offer.agent_id.named() == agent)?;
            this.offers.remove(at)
        })
        .await
    }

    /// Takes one offer of each of so many different agents.
    pub(crate) async fn offers_of_agents(&mut self, count: usize) -> anyhow::Result<Vec<v1::Offer>> {
        let mut taken: Vec<v1::Offer> = Vec::new();
        while taken.len() < count {
            let known: Vec<String> = taken.iter().map(|offer| offer.agent_id.named().to_owned()).collect();
            let offer = self
                .wait("an offer of another agent", |this| {
                    let new = |offer: &v1::Offer| !known.iter().any(|known| known == offer.agent_id.named());
                    let at = this.offers.iter().position(new)?;
                    this.offers.remove(at)
                })
                .await?;
            taken.push(offer);
        }
        Ok(taken)
    }

    /// Launches tasks on an offer and gives back the rest.
    pub(crate) async fn launch_on(&self, offer: &v1::Offer, tasks: Vec<v1::TaskInfo>) -> anyhow::Result<()> {
        self.call(launching(offer, tasks, None)).await
    }

    /// Launches tasks on an offer and refuses its rest for an hour.
    pub(crate) async fn launch_apart(
        &self,
        offer: &v1::Offer,
        tasks: Vec<v1::TaskInfo>,
    ) -> anyhow::Result<()> {
        self.call(launching(offer, tasks, Some(filters(3_600.0)))).await
    }

    /// Launches tasks on the next offer, refusing its rest for an hour, and waits until all are running. Returns the agent.
    pub(crate) async fn run(&mut self, mut tasks: Vec<v1::TaskInfo>) -> anyhow::Result<String> {
        let offer = self.offer().await?;
        let agent = offer.agent_id.named().to_owned();
        for task in &mut tasks {
            task.agent_id.clone_from(&offer.agent_id);
        }
        let ids: Vec<String> = tasks.iter().map(|task| task.task_id.named().to_owned()).collect();
        let mut call = accept(&[&offer], vec![launch(tasks)]);
        if let Some(accept) = &mut call.accept {
            accept.filters = Some(filters(3_600.0));
        }
        self.call(call).await?;
        for id in ids {
            self.state(&id, TaskState::TaskRunning).await?;
        }
        Ok(agent)
    }

    /// Declines an offer for so many seconds.
    pub(crate) async fn decline(&self, offer: &v1::Offer, seconds: f64) -> anyhow::Result<()> {
        self.call(decline(&[offer], Some(filters(seconds)))).await
    }

    /// Declines all offers that are out for so many seconds.
    pub(crate) async fn decline_all(&mut self, seconds: f64) -> anyhow::Result<()> {
        let offers: Vec<_> = self.offers.drain(..).collect();
        for offer in &offers {
            self.decline(offer, seconds).await?;
        }
        Ok(())
    }

    /// Kills a task with its own grace.
    pub(crate) async fn kill(&self, task: &str) -> anyhow::Result<()> {
        self.call(kill(task, None, None)).await
    }

    /// Gives up the framework and waits for the end of the stream.
    pub(crate) async fn tear_down(&mut self) -> anyhow::Result<()> {
        self.call(of(v1::scheduler::call::Type::Teardown)).await?;
        self.end().await
    }

    /// Waits until a task is reported in this state and returns the update.
    pub(crate) async fn state(&mut self, task: &str, state: TaskState) -> anyhow::Result<v1::TaskStatus> {
        let what = format!("{} of {task}", state.as_str_name());
        self.wait(&what, |this| this.updates_of(task).find(|status| status.state() == state).cloned()).await
    }

    /// Waits for the next update of a task beyond the first `known` ones.
    pub(crate) async fn next_update(&mut self, task: &str, known: usize) -> anyhow::Result<v1::TaskStatus> {
        self.wait(&format!("one more update of {task}"), |this| this.updates_of(task).nth(known).cloned())
            .await
    }

    /// All updates of one task.
    pub(crate) fn updates_of(&self, task: &str) -> impl Iterator<Item = &v1::TaskStatus> {
        self.updates.iter().filter(move |status| status.task_id.named() == task)
    }

    /// The states of one task in the order of its updates.
    pub(crate) fn states_of(&self, task: &str) -> Vec<TaskState> {
        self.updates_of(task).map(v1::TaskStatus::state).collect()
    }

    /// All reports about one operation.
    pub(crate) fn operation_updates(&self, id: &str) -> Vec<v1::OperationStatus> {
        let updates = self.heard.iter().filter_map(|event| event.update_operation_status.as_ref());
        let statuses = updates.filter_map(|update| update.status.clone());
        let is_it = |status: &v1::OperationStatus| {
            status.operation_id.as_ref().is_some_and(|operation| operation.value() == id)
        };
        statuses.filter(is_it).collect()
    }

    /// Waits for the next report about an operation beyond the first `known` ones.
    pub(crate) async fn operation(&mut self, id: &str, known: usize) -> anyhow::Result<v1::OperationStatus> {
        let what = format!("one more report about operation {id}");
        self.wait(&what, |this| this.operation_updates(id).into_iter().nth(known)).await
    }

    /// Waits for an ERROR and returns its message.
    pub(crate) async fn error(&mut self) -> anyhow::Result<String> {
        self.wait("ERROR", |this| {
            this.heard.iter().find_map(|event| Some(event.error.as_ref()?.message().to_owned()))
        })
        .await
    }

    /// Waits for a FAILURE of this agent.
    pub(crate) async fn failure(&mut self, agent: &str) -> anyhow::Result<event::Failure> {
        self.wait("FAILURE", |this| {
            let failures = this.heard.iter().filter_map(|event| event.failure.as_ref());
            failures.into_iter().find(|failure| failure.agent_id.named() == agent).cloned()
        })
        .await
    }

    /// The rescinded offers so far.
    pub(crate) fn rescinded(&self) -> Vec<String> {
        let rescinds = self.heard.iter().filter_map(|event| event.rescind.as_ref());
        rescinds.map(|rescind| rescind.offer_id.named().to_owned()).collect()
    }

    fn summary(&self) -> String {
        let updates: Vec<String> = self
            .updates
            .iter()
            .map(|status| {
                format!("{} {} {}", status.task_id.named(), status.state().as_str_name(), status.message())
            })
            .collect();
        let others: Vec<&str> = self.heard.iter().map(|event| event.r#type().as_str_name()).collect();
        format!("updates {updates:?}, {} offers, {others:?}", self.offers.len())
    }
}

/// The next message of a stream that has to come.
pub(crate) async fn next_in_time<M: tepui_proto::wire::WireMessage>(
    stream: &mut Stream,
) -> anyhow::Result<Option<M>> {
    tokio::time::timeout(PATIENCE, stream.next())
        .await
        .with_context(|| format!("no event after {PATIENCE:?}"))?
}

fn launching(offer: &v1::Offer, mut tasks: Vec<v1::TaskInfo>, filters: Option<v1::Filters>) -> Call {
    for task in &mut tasks {
        task.agent_id.clone_from(&offer.agent_id);
    }
    let mut call = accept(&[offer], vec![launch(tasks)]);
    if let (Some(accept), Some(filters)) = (&mut call.accept, filters) {
        accept.filters = Some(filters);
    }
    call
}
