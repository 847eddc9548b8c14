//! SUBSCRIBE: a framework comes, comes back, or fails over to a new instance.

use tepui_proto::v1;
use tepui_proto::v1::scheduler::{Call, Event, event};

use super::core::{Master, Party};
use super::effect::{Level, LocalChange};
use super::input::ConnectionId;
use super::pipeline::{Pending, Subscription};
use super::timers::Timer;
use crate::ids::{self, DRIVERS_FRAMEWORK, FrameworkId};
use crate::registry::{AdmitFramework, Operation, Outcome, UpdateFramework};
use crate::validation;

impl Master {
    pub(super) fn on_subscribe(
        &mut self,
        connection: ConnectionId,
        stream_id: String,
        call: Call,
        principal: Option<String>,
        driver_token: Option<&str>,
    ) {
        if !self.serving() {
            self.close(connection);
            return;
        }
        match self.check_subscription(&call, principal.as_deref(), driver_token) {
            Err(message) => self.refuse_stream(connection, message),
            Ok((framework, operation)) => {
                self.connections.insert(connection, Party::Framework(framework.clone()));
                self.frameworks.entry(framework.clone()).or_default().subscribing += 1;
                self.propose(
                    operation,
                    Pending::Subscription(Subscription {
                        framework,
                        connection,
                        stream_id,
                        driver_token: driver_token.map(str::to_owned),
                    }),
                );
            }
        }
    }

    fn check_subscription(
        &mut self,
        call: &Call,
        principal: Option<&str>,
        driver_token: Option<&str>,
    ) -> Result<(FrameworkId, Operation), String> {
        validation::call(call).map_err(|rejection| rejection.reason)?;
        let subscribe = call.subscribe.as_ref().ok_or("'subscribe' is not set")?;
        let info = subscribe.framework_info.as_ref().ok_or("'subscribe.framework_info' is not set")?;
        let checked = validation::framework(
            info,
            &subscribe.suppressed_roles,
            subscribe.offer_constraints.as_ref(),
            principal,
        )
        .map_err(|rejection| rejection.reason)?;
        self.check_listed("framework_info.roles", checked.roles.iter().map(String::as_str))
            .map_err(|rejection| rejection.reason)?;
        let (mut info, suppressed_roles) = (checked.info, checked.suppressed_roles);
        if !self.config.root_submissions && info.user() == "root" {
            return Err(
                "'framework_info.user' is 'root', which this cluster does not allow (--root_submissions)"
                    .to_owned(),
            );
        }
        let offer_constraints = subscribe.offer_constraints.clone();
        let id: FrameworkId = ids::of(info.id.as_ref());
        if id.as_str().is_empty() {
            let id = self.mint_framework_id();
            info.id = Some(id.to_proto());
            let admit = AdmitFramework { info: Some(info), suppressed_roles, offer_constraints };
            return Ok((id, Operation::AdmitFramework(admit)));
        }
        if id.as_str() == DRIVERS_FRAMEWORK {
            return Err(format!("framework id {id} belongs to the masters"));
        }
        self.supervisor.authorize(&self.registry, &id, driver_token)?;
        let session = self.frameworks.get(&id);
        // One whose removal is proposed is not removed yet: the subscription stands behind the removal in the log, and is answered
        // by what becomes of that.
        if self.registry.completed(&id).is_some() {
            return Err(format!("framework {id} has been removed"));
        }
        if let Some(record) = self.registry.frameworks.get(&id) {
            let known = record.info.as_ref().and_then(|info| info.principal.as_deref());
            if !record.recovered && known != info.principal.as_deref() {
                return Err(format!("principal of framework {id} cannot be changed"));
            }
        } else if session.is_none_or(|session| session.subscribing == 0) {
            // Any id is accepted, even one that no master ever issued.
            let admit = AdmitFramework { info: Some(info), suppressed_roles, offer_constraints };
            return Ok((id, Operation::AdmitFramework(admit)));
        }
        let update =
            UpdateFramework { info: Some(info), suppressed_roles, offer_constraints, in_place: false };
        Ok((id, Operation::UpdateFramework(update)))
    }

    fn mint_framework_id(&mut self) -> FrameworkId {
        let id = format!("{}-{:04}", self.identity.master_id, self.minted_frameworks);
        self.minted_frameworks += 1;
        FrameworkId::from(id)
    }

    pub(super) fn subscribed(&mut self, subscription: Subscription, outcome: &Outcome) {
        let Subscription { framework: id, connection, stream_id, driver_token } = subscription;
        self.subscription_ended(&id);
        if let Outcome::Refused(refusal) = outcome {
            let message = match refusal {
                _ if self.registry.completed(&id).is_some() => format!("framework {id} has been removed"),
                other => format!("framework {id} was not admitted: {other}"),
            };
            if self.connections.contains_key(&connection) {
                self.refuse_stream(connection, message);
            }
            return;
        }
        if self.frameworks.get(&id).is_some_and(|session| session.removing) {
            // Without an ERROR: the removal may yet fail.
            if self.connections.contains_key(&connection) {
                self.close(connection);
            }
            return;
        }
        // The next generation of a driver may have been launched meanwhile.
        if let Err(message) = self.supervisor.authorize(&self.registry, &id, driver_token.as_deref()) {
            if self.connections.contains_key(&connection) {
                self.refuse_stream(connection, message);
            }
            self.framework_is_away(&id);
            return;
        }
        if let Some(old) = self.live(&id) {
            self.part_from(&id);
            self.refuse_stream(old, "framework failed over");
        }
        if !self.connections.contains_key(&connection) {
            // It left before it was admitted.
            self.framework_is_away(&id);
            return;
        }
        self.frameworks.entry(id.clone()).or_default().live =
            Some(super::frameworks::Live { connection, stream_id });
        self.timers.cancel(&Timer::Framework(id.clone()));
        self.view.connected_frameworks.insert(id.clone());
        self.tell_allocator_framework(&id);
        if outcome.described_anew() {
            self.tell_agents_of(&id);
        }
        let event = self.subscribed_event(&id);
        self.send_to_framework(connection, event);
        self.send_heartbeat(connection);
        self.tell_operations(&id);
        self.note(Level::Info, "framework subscribed", vec![("framework_id", id.to_string())]);
        self.changed(LocalChange::Framework(id));
    }

    /// A proposal of a subscription is settled, one way or the other.
    fn subscription_ended(&mut self, id: &FrameworkId) {
        if let Some(session) = self.frameworks.get_mut(id) {
            session.subscribing = session.subscribing.saturating_sub(1);
        }
        let idle = |session: &super::frameworks::FrameworkSession| {
            session.live.is_none() && session.subscribing == 0 && !session.removing
        };
        if !self.registry.frameworks.contains_key(id) && self.frameworks.get(id).is_some_and(idle) {
            self.frameworks.remove(id);
        }
    }

    pub(super) fn subscription_failed(&mut self, subscription: &Subscription) {
        self.subscription_ended(&subscription.framework);
        if self.connections.contains_key(&subscription.connection) {
            // Without an ERROR: the framework should try again.
            self.close(subscription.connection);
        }
        let id = &subscription.framework;
        match self.registry.frameworks.get(id) {
            Some(record) if self.registry.framework_connected(record) => self.framework_is_away(id),
            // It was away before: trying to come back does not shorten its time, nor extend it.
            _ => self.arm_framework_deadline(id),
        }
    }

    fn subscribed_event(&self, id: &FrameworkId) -> Event {
        let subscribed = event::Subscribed {
            framework_id: Some(id.to_proto()),
            heartbeat_interval_seconds: Some(self.config.heartbeat_interval_ms as f64 / 1000.0),
            master_info: self.registry.leader.as_deref().map(super::view::master_info),
        };
        Event {
            r#type: Some(event::Type::Subscribed as i32),
            subscribed: Some(subscribed),
            ..Default::default()
        }
    }

    /// Agents that run something of this framework use its new description for launches to come.
    pub(super) fn tell_agents_of(&mut self, id: &FrameworkId) {
        let Some(info) = self.registry.frameworks.get(id).and_then(|record| record.info.clone()) else {
            return;
        };
        for agent in self.agents_running(id) {
            self.send_to_agent(&agent, update_framework(info.clone()));
        }
    }

    /// Agents with tasks of this framework, live or not yet forgotten, or with an executor of it: one can wait without tasks.
    pub(super) fn agents_running(&self, id: &FrameworkId) -> std::collections::BTreeSet<ids::AgentId> {
        let tasks = self.registry.tasks_of(id);
        let tasks = tasks.iter().filter_map(|key| Some(self.registry.tasks.get(key)?.agent_id()));
        let executors = self.registry.executors.keys().filter(|key| key.framework == *id);
        tasks.chain(executors.map(|key| key.agent.clone())).collect()
    }
}

fn update_framework(info: v1::FrameworkInfo) -> tepui_proto::tepui::agent_link::Event {
    use tepui_proto::tepui::agent_link::{Event, event::Type};
    Event { r#type: Some(Type::UpdateFramework as i32), update_framework: Some(info), ..Default::default() }
}
