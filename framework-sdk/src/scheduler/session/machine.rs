//! The state machine itself: phases, events and commands.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::calls;
use super::super::event::{CallFailed, Event, Outcome};
use super::input::{Action, Command, Input, SessionConfig};
use super::lane::{Lane, kind_of};
use super::roles::Roles;
use super::tasks::{Tasks, Verdict};
use crate::backoff::Backoff;
use crate::v1;
use crate::v1::scheduler::call::Type;
use crate::v1::scheduler::event::Type as EventType;
use crate::v1::scheduler::{Call, Event as WireEvent};

/// Mesos' heartbeat interval, for masters that do not name theirs.
const DEFAULT_HEARTBEAT_MS: u64 = 15_000;
/// A subscription that lived this long ends a row of failures.
const SETTLED_MS: u64 = 1_000;

/// One framework's view of its subscription.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    pub(super) phase: Phase,
    backoff: Backoff,
    random: SmallRng,
    roles: Roles,
    pub(super) tasks: Tasks,
    pub(super) lane: Lane,
    /// Counts subscriptions, so that answers are told from those of earlier ones.
    pub(super) subscription: u64,
    pub(super) tearing_down: bool,
    abandoned: bool,
    /// The framework had an id before this process, so there may be tasks that only the master knows.
    inherits: bool,
    reconcile_wait_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    Waiting {
        until_ms: u64,
    },
    Opening,
    Greeting {
        stream_id: String,
        until_ms: u64,
    },
    Subscribed {
        stream_id: String,
        since_ms: u64,
        interval_ms: u64,
        heard_at_ms: u64,
        ask_at_ms: Option<u64>,
    },
    Ended,
}

impl Session {
    /// Begins a session; `seed` spreads its waits. The first input should be [`Input::Tick`].
    pub fn new(config: SessionConfig, seed: u64) -> Self {
        let milliseconds = Duration::from_millis;
        Session {
            phase: Phase::Waiting { until_ms: 0 },
            backoff: Backoff::new(milliseconds(config.retry_initial_ms), milliseconds(config.retry_max_ms)),
            random: SmallRng::seed_from_u64(seed),
            roles: Roles::new(&config.framework, &config.suppressed_roles),
            tasks: Tasks::default(),
            lane: Lane::default(),
            subscription: 0,
            tearing_down: false,
            abandoned: false,
            inherits: config.framework.id.as_ref().is_some_and(|id| !id.value().is_empty()),
            reconcile_wait_ms: config.reconcile_initial_ms,
            config,
        }
    }

    /// Takes one input at `now_ms`, which never goes backwards, and returns what to do.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.phase == Phase::Ended {
            return actions;
        }
        match input {
            Input::Tick => {}
            Input::Opened { stream_id } => self.on_opened(now_ms, stream_id),
            Input::OpenFailed { reason, fatal: true } => self.refused(reason, &mut actions),
            Input::OpenFailed { reason, fatal: false } | Input::StreamEnded { reason } => {
                self.lost(now_ms, &reason, &mut actions);
            }
            Input::Event(event) => self.on_event(now_ms, *event, &mut actions),
            Input::Answered { token, answer } => self.on_answered(now_ms, token, answer, &mut actions),
            Input::Command(command) => self.on_command(command, &mut actions),
        }
        self.on_time(now_ms, &mut actions);
        self.send_what_may_go(&mut actions);
        let is_subscribed = matches!(self.phase, Phase::Subscribed { .. });
        if self.abandoned && !self.tearing_down && !(is_subscribed && self.lane.is_busy()) {
            self.end(Ok(()), &mut actions);
        }
        actions
    }

    /// Returns when the next [`Input::Tick`] is due at the latest.
    pub fn wake_at_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Waiting { until_ms } | Phase::Greeting { until_ms, .. } => Some(*until_ms),
            Phase::Subscribed { interval_ms, heard_at_ms, ask_at_ms, .. } => {
                let silent_at_ms = heard_at_ms.saturating_add(self.silence_ms(*interval_ms));
                Some(ask_at_ms.map_or(silent_at_ms, |ask_at_ms| ask_at_ms.min(silent_at_ms)))
            }
            Phase::Opening | Phase::Ended => None,
        }
    }

    /// Returns whether more commands may come in; otherwise the framework has to wait.
    pub fn wants_commands(&self) -> bool {
        !self.lane.is_full()
    }

    /// Tells that nothing was read from the stream on purpose until now, so silence proves nothing.
    pub fn was_not_listening(&mut self, now_ms: u64) {
        if let Phase::Subscribed { heard_at_ms, .. } = &mut self.phase {
            *heard_at_ms = now_ms;
        }
    }

    fn silence_ms(&self, interval_ms: u64) -> u64 {
        interval_ms.saturating_mul(u64::from(self.config.missed_heartbeats))
    }

    fn on_time(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Waiting { until_ms } if *until_ms <= now_ms => {
                self.phase = Phase::Opening;
                let call = calls::subscribe(self.config.framework.clone(), self.roles.suppressed());
                actions.push(Action::Open { call: Box::new(call) });
            }
            Phase::Greeting { until_ms, .. } if *until_ms <= now_ms => {
                self.lost(now_ms, "the master did not answer the subscription", actions);
            }
            Phase::Subscribed { interval_ms, heard_at_ms, .. } => {
                let silent_at_ms = heard_at_ms
                    .saturating_add(interval_ms.saturating_mul(u64::from(self.config.missed_heartbeats)));
                if silent_at_ms <= now_ms {
                    let reason = format!("no heartbeat for {} ms", now_ms - *heard_at_ms);
                    self.lost(now_ms, &reason, actions);
                } else {
                    self.ask_again(now_ms);
                }
            }
            _ => {}
        }
    }

    /// Masters leave questions unanswered whose agent has not come back yet.
    fn ask_again(&mut self, now_ms: u64) {
        let Phase::Subscribed { ask_at_ms, .. } = &mut self.phase else { return };
        if ask_at_ms.is_none_or(|ask_at_ms| ask_at_ms > now_ms) {
            return;
        }
        if self.tasks.has_unanswered() {
            self.reconcile_wait_ms = (self.reconcile_wait_ms * 2).min(self.config.reconcile_max_ms);
            *ask_at_ms = Some(now_ms.saturating_add(self.reconcile_wait_ms));
            let questions = self.tasks.questions();
            self.lane.push_first(questions.into_iter().map(Box::new));
        } else {
            *ask_at_ms = None;
        }
    }

    fn on_opened(&mut self, now_ms: u64, stream_id: String) {
        let until_ms = now_ms.saturating_add(self.config.greeting_ms);
        self.phase = Phase::Greeting { stream_id, until_ms };
    }

    fn on_event(&mut self, now_ms: u64, event: WireEvent, actions: &mut Vec<Action>) {
        if let Phase::Subscribed { heard_at_ms, .. } = &mut self.phase {
            *heard_at_ms = now_ms;
        }
        let kind = event.r#type.and_then(|kind| EventType::try_from(kind).ok()).unwrap_or(EventType::Unknown);
        let deliver = match kind {
            EventType::Subscribed => {
                return self.on_subscribed(now_ms, event.subscribed.unwrap_or_default(), actions);
            }
            EventType::Error => {
                let message = event.error.and_then(|error| error.message);
                return self.refused(message.unwrap_or_else(|| "no reason given".to_owned()), actions);
            }
            EventType::Update => {
                return self.on_update(event.update.and_then(|update| update.status), actions);
            }
            EventType::Offers => event.offers.map(|offers| Event::Offers(offers.offers)),
            EventType::InverseOffers => {
                event.inverse_offers.map(|offers| Event::InverseOffers(offers.inverse_offers))
            }
            EventType::Rescind => event.rescind.and_then(|rescind| rescind.offer_id).map(Event::Rescind),
            EventType::RescindInverseOffer => event
                .rescind_inverse_offer
                .and_then(|rescind| rescind.inverse_offer_id)
                .map(Event::RescindInverseOffer),
            EventType::UpdateOperationStatus => event
                .update_operation_status
                .and_then(|update| update.status)
                .map(|status| Event::OperationUpdate(Box::new(status))),
            EventType::Message => event.message.map(Event::Message),
            EventType::Failure => event.failure.map(Event::Failure),
            // Kinds of a later protocol are nothing to act on.
            EventType::Heartbeat | EventType::Unknown => None,
        };
        actions.extend(deliver.map(Action::Deliver));
    }

    fn on_subscribed(
        &mut self,
        now_ms: u64,
        subscribed: v1::scheduler::event::Subscribed,
        actions: &mut Vec<Action>,
    ) {
        let Phase::Greeting { stream_id, .. } = &self.phase else { return };
        let interval_ms = match subscribed.heartbeat_interval_seconds {
            Some(seconds) if seconds.is_finite() && seconds > 0.0 => (seconds * 1000.0) as u64,
            _ => DEFAULT_HEARTBEAT_MS,
        };
        let framework_id = subscribed.framework_id.unwrap_or_default();
        self.config.framework.id = Some(framework_id.clone());
        self.reconcile_wait_ms = self.config.reconcile_initial_ms;
        self.tasks.ask_about_all();
        let mut questions = self.tasks.questions();
        if self.subscription == 0 && self.inherits {
            questions.push(calls::reconcile(Vec::new()));
        }
        let ask_at_ms = self.tasks.has_unanswered().then(|| now_ms.saturating_add(self.reconcile_wait_ms));
        self.lane.push_first(questions.into_iter().map(Box::new));
        let again = self.subscription > 0;
        self.subscription += 1;
        let stream_id = stream_id.clone();
        self.phase =
            Phase::Subscribed { stream_id, since_ms: now_ms, interval_ms, heard_at_ms: now_ms, ask_at_ms };
        let master = subscribed.master_info.map(Box::new);
        actions.push(Action::Deliver(Event::Subscribed { framework_id, master, again }));
    }

    fn on_update(&mut self, status: Option<v1::TaskStatus>, actions: &mut Vec<Action>) {
        let Some(status) = status else { return };
        match self.tasks.on_update(&status) {
            Verdict::Deliver => actions.push(Action::Deliver(Event::Update(Box::new(status)))),
            Verdict::AcknowledgeAgain(command) => self.on_command(command, actions),
            Verdict::Drop => {}
        }
    }

    fn on_command(&mut self, command: Command, actions: &mut Vec<Action>) {
        match command {
            Command::Stop => self.end(Ok(()), actions),
            Command::Abandon => self.abandoned = true,
            Command::Acknowledge { agent_id, task_id, uuid } => {
                self.tasks.taken(&uuid);
                // While there is no subscription the agent repeats the update, and this is said then.
                if matches!(self.phase, Phase::Subscribed { .. }) {
                    self.lane.push(Box::new(calls::acknowledge(agent_id, task_id, uuid)));
                }
            }
            Command::Call(call) => self.on_call(call, actions),
        }
    }

    fn on_call(&mut self, call: Box<Call>, actions: &mut Vec<Action>) {
        let kind = kind_of(&call);
        let is_subscribed = matches!(self.phase, Phase::Subscribed { .. });
        match kind {
            Type::Suppress => self.roles.suppress(call.suppress.as_ref().map_or(&[], |call| &call.roles)),
            Type::Revive => self.roles.revive(call.revive.as_ref().map_or(&[], |call| &call.roles)),
            Type::Reconcile => self.tasks.framework_asks(&call),
            Type::Teardown => {
                self.tearing_down = true;
                if self.config.framework.id.is_none() && !is_subscribed {
                    return self.end(Ok(()), actions);
                }
            }
            Type::Accept if is_subscribed => self.tasks.launching(&calls::launched(&call)),
            // The offers that this call names died with the last subscription.
            Type::Accept | Type::Message | Type::Unknown if !is_subscribed => {
                let outcome = Outcome::NotSent { reason: "not subscribed".to_owned() };
                let failed = CallFailed { call: kind, task_ids: calls::concerned(&call), outcome };
                return actions.push(Action::Deliver(Event::CallFailed(failed)));
            }
            Type::Decline if !is_subscribed => return,
            _ => {}
        }
        self.lane.push(call);
    }

    pub(super) fn send_what_may_go(&mut self, actions: &mut Vec<Action>) {
        let Phase::Subscribed { stream_id, .. } = &self.phase else { return };
        while let Some((token, mut call)) = self.lane.next(self.subscription) {
            call.framework_id = self.config.framework.id.clone();
            actions.push(Action::Send { token, stream_id: stream_id.clone(), call });
        }
    }

    /// Gives the subscription up and plans the next one.
    pub(super) fn lost(&mut self, now_ms: u64, reason: &str, actions: &mut Vec<Action>) {
        match &self.phase {
            Phase::Subscribed { since_ms, .. } => {
                if now_ms.saturating_sub(*since_ms) >= SETTLED_MS {
                    self.backoff.reset();
                }
                actions.push(Action::Close);
                for failed in self.lane.lost(reason) {
                    let launched: Vec<_> = failed.task_ids.iter().map(|id| (id.clone(), None)).collect();
                    self.tasks.not_launched(&launched);
                    actions.push(Action::Deliver(Event::CallFailed(failed)));
                }
                actions.push(Action::Deliver(Event::Disconnected { reason: reason.to_owned() }));
            }
            Phase::Greeting { .. } => actions.push(Action::Close),
            Phase::Opening => {}
            Phase::Waiting { .. } | Phase::Ended => return,
        }
        let wait_ms = self.backoff.next(self.random.random()).as_millis();
        let until_ms = now_ms.saturating_add(u64::try_from(wait_ms).unwrap_or(u64::MAX));
        self.phase = Phase::Waiting { until_ms };
    }

    fn refused(&mut self, message: String, actions: &mut Vec<Action>) {
        // A framework that asked to be removed and is told that it was has what it wanted.
        if self.tearing_down && self.subscription > 0 {
            return self.end(Ok(()), actions);
        }
        actions.push(Action::Deliver(Event::Error(message.clone())));
        self.end(Err(message), actions);
    }

    pub(super) fn end(&mut self, result: Result<(), String>, actions: &mut Vec<Action>) {
        if self.phase == Phase::Ended {
            return;
        }
        if matches!(self.phase, Phase::Greeting { .. } | Phase::Subscribed { .. }) {
            actions.push(Action::Close);
        }
        self.phase = Phase::Ended;
        actions.push(Action::End(result));
    }
}
