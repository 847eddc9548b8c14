//! All decisions of an executor's driver, without I/O: time and chance are arguments.
//!
//! ```text
//!            ┌── backoff ──┐
//!            ▼             │ failed
//! waiting ──────► opening ─┴──SUBSCRIBED──► subscribed ──stream or call broken──► waiting
//!    └── away for the recovery timeout, or not checkpointed ──► SHUTDOWN, ended
//! ```
//! An update is kept until its ACKNOWLEDGED and a task until its first one; both go along with every SUBSCRIBE, so an agent
//! that comes back knows what it missed. Calls are sent one at a time: updates arrive in order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::environment::ExecutorEnvironment;
use super::event::Event;
use crate::backoff::Backoff;
use crate::v1;
use crate::v1::executor::event::Type;
use crate::v1::executor::{Call, Event as WireEvent, call};

/// Updates that may wait for their acknowledgement before the executor has to wait.
const LIMIT: usize = 4096;
/// How long a stopped driver waits for acknowledgements.
const LINGER_MS: u64 = 5_000;
/// The first wait between two attempts to subscribe.
const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// What an executor says.
#[derive(Debug)]
pub(super) enum Command {
    Update(Box<v1::TaskStatus>),
    Message(Bytes),
    Stop,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    Tick,
    Opened,
    OpenFailed { reason: String },
    Event(Box<WireEvent>),
    StreamEnded { reason: String },
    Answered { epoch: u64, answer: Answer },
    Command(Command),
}

/// What became of a call.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted,
    /// No effect, and none if it is repeated.
    Refused {
        status: u16,
        reason: String,
    },
    /// May be repeated.
    Failed {
        reason: String,
    },
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Open(Box<Call>),
    Close,
    /// The answer comes back with the same epoch.
    Send {
        epoch: u64,
        call: Box<Call>,
    },
    Deliver(Event),
    End(Result<(), String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Until this time.
    Waiting(u64),
    Opening,
    /// The stream is open, SUBSCRIBED has not come.
    Open,
    Subscribed,
}

#[derive(Debug)]
pub(super) struct Session {
    framework_id: String,
    executor_id: String,
    checkpoint: bool,
    recovery_ms: u64,
    backoff: Backoff,
    link: Link,
    /// Since when there is no subscription.
    away_since_ms: Option<u64>,
    was_subscribed: bool,
    /// Counts streams, so that an answer to a call of an earlier one is known as such.
    epoch: u64,
    tasks: BTreeMap<String, v1::TaskInfo>,
    updates: VecDeque<v1::TaskStatus>,
    /// To be sent on this stream; the first is under way if `sending`.
    queue: VecDeque<Call>,
    sending: bool,
    stop_by_ms: Option<u64>,
    ended: bool,
}

impl Session {
    pub(super) fn new(environment: &ExecutorEnvironment) -> Self {
        let recovery_ms = environment.recovery_timeout.as_millis();
        Session {
            framework_id: environment.framework_id.clone(),
            executor_id: environment.executor_id.clone(),
            checkpoint: environment.checkpoint,
            recovery_ms: u64::try_from(recovery_ms).unwrap_or(u64::MAX),
            backoff: Backoff::new(BACKOFF_MIN, environment.subscription_backoff_max),
            link: Link::Waiting(0),
            away_since_ms: Some(0),
            was_subscribed: false,
            epoch: 0,
            tasks: BTreeMap::new(),
            updates: VecDeque::new(),
            queue: VecDeque::new(),
            sending: false,
            stop_by_ms: None,
            ended: false,
        }
    }

    /// Whether commands may come now; otherwise the executor waits.
    pub(super) fn wants_commands(&self) -> bool {
        self.updates.len() < LIMIT && self.queue.len() < LIMIT
    }

    /// When a tick is wanted, milliseconds.
    pub(super) fn wake_at_ms(&self) -> Option<u64> {
        let attempt = match self.link {
            Link::Waiting(at_ms) => Some(at_ms),
            _ => None,
        };
        [attempt, self.given_up_at_ms(), self.stop_by_ms].into_iter().flatten().min()
    }

    fn given_up_at_ms(&self) -> Option<u64> {
        self.away_since_ms.map(|since_ms| since_ms.saturating_add(self.recovery_ms))
    }

    /// Takes one input. `random` in `[0, 1)` spreads the waits.
    pub(super) fn handle(&mut self, now_ms: u64, random: f64, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.ended {
            return actions;
        }
        match input {
            Input::Tick => {}
            Input::Opened => self.link = Link::Open,
            Input::OpenFailed { reason } => self.wait(now_ms, random, &reason, &mut actions),
            Input::StreamEnded { reason } => self.lost(now_ms, random, reason, &mut actions),
            Input::Event(event) => self.on_event(*event, &mut actions),
            Input::Answered { epoch, answer } if epoch == self.epoch => {
                self.on_answer(now_ms, random, answer, &mut actions);
            }
            Input::Answered { .. } => {}
            Input::Command(command) => self.on_command(now_ms, command),
        }
        self.go_on(now_ms, &mut actions);
        actions
    }

    fn go_on(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        if let Some(by_ms) = self.stop_by_ms {
            let is_done = self.updates.is_empty() && self.queue.is_empty();
            if is_done || now_ms >= by_ms {
                self.end(Ok(()), actions);
                return;
            }
        }
        if self.given_up_at_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            actions.push(Action::Deliver(Event::Shutdown));
            self.end(Err("the agent did not come back within the recovery timeout".to_owned()), actions);
            return;
        }
        match self.link {
            Link::Waiting(at_ms) if now_ms >= at_ms => {
                self.link = Link::Opening;
                actions.push(Action::Open(Box::new(self.subscribe())));
            }
            Link::Subscribed if !self.sending => {
                if let Some(call) = self.queue.front() {
                    self.sending = true;
                    actions.push(Action::Send { epoch: self.epoch, call: Box::new(call.clone()) });
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, result: Result<(), String>, actions: &mut Vec<Action>) {
        self.ended = true;
        actions.push(Action::End(result));
    }

    fn call(&self, kind: call::Type) -> Call {
        Call {
            framework_id: Some(v1::FrameworkId { value: Some(self.framework_id.clone()) }),
            executor_id: Some(v1::ExecutorId { value: Some(self.executor_id.clone()) }),
            r#type: Some(kind as i32),
            ..Default::default()
        }
    }

    fn subscribe(&self) -> Call {
        let update = |status: &v1::TaskStatus| call::Update { status: Some(status.clone()) };
        let subscribe = call::Subscribe {
            unacknowledged_tasks: self.tasks.values().cloned().collect(),
            unacknowledged_updates: self.updates.iter().map(update).collect(),
        };
        Call { subscribe: Some(subscribe), ..self.call(call::Type::Subscribe) }
    }

    fn on_command(&mut self, now_ms: u64, command: Command) {
        match command {
            Command::Update(mut status) => {
                status.source = Some(v1::task_status::Source::Executor as i32);
                status.executor_id = Some(v1::ExecutorId { value: Some(self.executor_id.clone()) });
                self.updates.push_back((*status).clone());
                // What is said before the next SUBSCRIBE goes along with it.
                if !matches!(self.link, Link::Waiting(_)) {
                    let update = call::Update { status: Some(*status) };
                    self.queue.push_back(Call { update: Some(update), ..self.call(call::Type::Update) });
                }
            }
            Command::Message(data) if self.link == Link::Subscribed => {
                let message = call::Message { data: Some(data) };
                self.queue.push_back(Call { message: Some(message), ..self.call(call::Type::Message) });
            }
            Command::Message(_) => {}
            Command::Stop => _ = self.stop_by_ms.get_or_insert(now_ms.saturating_add(LINGER_MS)),
        }
    }

    fn on_event(&mut self, event: WireEvent, actions: &mut Vec<Action>) {
        let kind = event.r#type();
        match (kind, event) {
            (Type::Subscribed, WireEvent { subscribed: Some(info), .. }) => {
                self.link = Link::Subscribed;
                self.away_since_ms = None;
                self.backoff.reset();
                let again = std::mem::replace(&mut self.was_subscribed, true);
                actions.push(Action::Deliver(Event::Subscribed { info: Box::new(info), again }));
            }
            (Type::Launch, WireEvent { launch: Some(launch), .. }) => {
                if let Some(task) = launch.task
                    && self.is_new(&task)
                {
                    actions.push(Action::Deliver(Event::Launch(Box::new(task))));
                }
            }
            (Type::LaunchGroup, WireEvent { launch_group: Some(launch), .. }) => {
                let tasks = launch.task_group.map(|group| group.tasks).unwrap_or_default();
                let new: Vec<_> = tasks.into_iter().filter(|task| self.is_new(task)).collect();
                if !new.is_empty() {
                    actions.push(Action::Deliver(Event::LaunchGroup(new)));
                }
            }
            (Type::Kill, WireEvent { kill: Some(kill), .. }) => {
                let grace = kill.kill_policy.and_then(|policy| policy.grace_period);
                let grace = grace
                    .map(|time| Duration::from_nanos(u64::try_from(time.nanoseconds()).unwrap_or_default()));
                let task_id = kill.task_id.unwrap_or_default();
                actions.push(Action::Deliver(Event::Kill { task_id, grace }));
            }
            (Type::Acknowledged, WireEvent { acknowledged: Some(acknowledged), .. }) => {
                self.updates.retain(|status| status.uuid != acknowledged.uuid);
                self.tasks.remove(acknowledged.task_id.unwrap_or_default().value());
            }
            (Type::Message, WireEvent { message: Some(message), .. }) => {
                actions.push(Action::Deliver(Event::Message(message.data.unwrap_or_default())));
            }
            (Type::Shutdown, _) => actions.push(Action::Deliver(Event::Shutdown)),
            (Type::Error, WireEvent { error: Some(error), .. }) => {
                self.end(Err(error.message.unwrap_or_default()), actions);
            }
            // A heartbeat, something newer than this program, or something without its content.
            _ => {}
        }
    }

    /// Notes a task; false for one that was launched already and is told again.
    fn is_new(&mut self, task: &v1::TaskInfo) -> bool {
        let id = task.task_id.clone().unwrap_or_default();
        self.tasks.insert(id.value().to_owned(), task.clone()).is_none()
    }

    fn on_answer(&mut self, now_ms: u64, random: f64, answer: Answer, actions: &mut Vec<Action>) {
        self.sending = false;
        match answer {
            Answer::Accepted => drop(self.queue.pop_front()),
            Answer::Refused { status, reason } => {
                let update = self.queue.pop_front().and_then(|call| call.update);
                if let Some(refused) = update.and_then(|update| update.status) {
                    self.updates.retain(|update| update.uuid != refused.uuid);
                    let task_id = refused.task_id;
                    actions.push(Action::Deliver(Event::Refused { task_id, status, reason }));
                }
            }
            Answer::Failed { reason } => self.lost(now_ms, random, reason, actions),
        }
    }

    fn lost(&mut self, now_ms: u64, random: f64, reason: String, actions: &mut Vec<Action>) {
        let was_subscribed = self.link == Link::Subscribed;
        actions.push(Action::Close);
        self.wait(now_ms, random, &reason, actions);
        if was_subscribed && !self.ended {
            self.away_since_ms = Some(now_ms);
            actions.push(Action::Deliver(Event::Disconnected { reason }));
        }
    }

    fn wait(&mut self, now_ms: u64, random: f64, reason: &str, actions: &mut Vec<Action>) {
        self.epoch += 1;
        self.queue.clear();
        self.sending = false;
        if self.was_subscribed && !self.checkpoint {
            actions.push(Action::Deliver(Event::Shutdown));
            self.end(
                Err(format!("the agent is gone, and this executor is not to outlive it: {reason}")),
                actions,
            );
            return;
        }
        let pause_ms = u64::try_from(self.backoff.next(random).as_millis()).unwrap_or(u64::MAX);
        self.link = Link::Waiting(now_ms.saturating_add(pause_ms));
    }
}

#[cfg(test)]
mod tests;
