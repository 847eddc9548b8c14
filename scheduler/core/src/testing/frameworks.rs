//! A framework as a test plays it.

use tepui_proto::v1::scheduler::{Call, Event, call, event};
use tepui_proto::v1::{self, TaskState};

use super::builders::{framework_info, launch};
use super::harness::Harness;
use crate::ids::FrameworkId;
use crate::master::{ConnectionId, Input, Reply};

/// One instance of a framework, with its stream.
#[derive(Clone, Debug)]
pub struct FrameworkPeer {
    pub id: FrameworkId,
    pub connection: ConnectionId,
    pub stream_id: String,
    pub info: v1::FrameworkInfo,
}

impl Harness {
    /// Subscribes a new framework and takes its first two events.
    pub fn framework(&mut self, name: &str) -> FrameworkPeer {
        self.framework_with(framework_info(name))
    }

    /// Subscribes and takes the first two events.
    pub fn framework_with(&mut self, info: v1::FrameworkInfo) -> FrameworkPeer {
        let mut peer = self.subscribe(info, None);
        let subscribed = self.event(&peer);
        assert_eq!(subscribed.r#type(), event::Type::Subscribed, "first event: {subscribed:?}");
        let id = subscribed.subscribed.unwrap().framework_id.unwrap();
        peer.id = FrameworkId::from(&id);
        peer.info.id = Some(id);
        assert_eq!(self.event(&peer).r#type(), event::Type::Heartbeat, "second event");
        peer
    }

    /// Opens a stream and looks at nothing.
    pub fn subscribe(&mut self, info: v1::FrameworkInfo, driver_token: Option<&str>) -> FrameworkPeer {
        let connection = self.next_id();
        let stream_id = format!("stream-{connection}");
        let call = Call {
            framework_id: info.id.clone(),
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(call::Subscribe { framework_info: Some(info.clone()), ..Default::default() }),
            ..Default::default()
        };
        self.to_frameworks.entry(connection).or_default();
        self.input(Input::Subscribe {
            connection,
            stream_id: stream_id.clone(),
            call,
            principal: None,
            driver_token: driver_token.map(str::to_owned),
        });
        let id = crate::ids::of(info.id.as_ref());
        FrameworkPeer { id, connection, stream_id, info }
    }

    /// Subscribes another time with the same id.
    pub fn resubscribe(&mut self, peer: &FrameworkPeer) -> FrameworkPeer {
        self.framework_with(peer.info.clone())
    }

    /// Makes a call; returns the reply, unless it waits for a held log.
    pub fn ask(&mut self, peer: &FrameworkPeer, mut call: Call) -> Option<Reply> {
        call.framework_id = Some(peer.id.to_proto());
        let request = self.next_id();
        let stream_id = Some(peer.stream_id.clone());
        self.input(Input::Call { request, stream_id, call, principal: None });
        self.reply(request)
    }

    /// Makes a call; returns its status.
    pub fn call(&mut self, peer: &FrameworkPeer, call: Call) -> u16 {
        match self.ask(peer, call) {
            Some(Reply::Accepted | Reply::Warned(_)) => 202,
            Some(Reply::Ok) => 200,
            Some(Reply::Rejected { status, .. }) => status,
            other => panic!("no plain reply: {other:?}"),
        }
    }

    /// Takes the next event.
    pub fn event(&mut self, peer: &FrameworkPeer) -> Event {
        self.try_event(peer).expect("an event for the framework")
    }

    pub fn try_event(&mut self, peer: &FrameworkPeer) -> Option<Event> {
        self.to_frameworks.get_mut(&peer.connection)?.pop_front()
    }

    /// Takes all events that are there, without heartbeats.
    pub fn events(&mut self, peer: &FrameworkPeer) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.try_event(peer) {
            if event.r#type() != event::Type::Heartbeat {
                events.push(event);
            }
        }
        events
    }

    /// Takes the next event, which must be an ERROR, and returns its text.
    pub fn error(&mut self, peer: &FrameworkPeer) -> String {
        let event = self.event(peer);
        assert_eq!(event.r#type(), event::Type::Error, "{event:?}");
        event.error.unwrap().message.unwrap()
    }

    /// Lets the allocator run and takes all offers; nothing else may have come.
    pub fn offers(&mut self, peer: &FrameworkPeer) -> Vec<v1::Offer> {
        self.advance(self.config.allocation_delay_ms);
        let mut offers = Vec::new();
        for event in self.events(peer) {
            assert_eq!(event.r#type(), event::Type::Offers, "{event:?}");
            offers.extend(event.offers.unwrap().offers);
        }
        offers
    }

    /// Like [`Harness::offers`] for exactly one.
    pub fn offer(&mut self, peer: &FrameworkPeer) -> v1::Offer {
        let mut offers = self.offers(peer);
        assert_eq!(offers.len(), 1, "one offer: {offers:?}");
        offers.remove(0)
    }

    /// Takes the only update that is there; nothing but offers may have come besides.
    pub fn update(&mut self, peer: &FrameworkPeer) -> v1::TaskStatus {
        let mut statuses = self.statuses(peer);
        assert_eq!(statuses.len(), 1, "one update: {statuses:?}");
        statuses.remove(0)
    }

    /// Takes all updates that are there as (task, state); nothing but offers may have come besides.
    pub fn updates(&mut self, peer: &FrameworkPeer) -> Vec<(String, TaskState)> {
        let statuses = self.statuses(peer);
        let told = statuses.iter().map(|one| (one.task_id.as_ref().unwrap().value().to_owned(), one.state()));
        told.collect()
    }

    /// Takes all updates that are there; nothing but offers may have come besides.
    pub fn statuses(&mut self, peer: &FrameworkPeer) -> Vec<v1::TaskStatus> {
        let mut statuses = Vec::new();
        for event in self.events(peer) {
            match event.r#type() {
                event::Type::Offers => {}
                event::Type::Update => statuses.push(event.update.unwrap().status.unwrap()),
                other => panic!("{other:?} among updates"),
            }
        }
        statuses
    }

    /// Launches tasks on the agent of these offers; nothing of the rest is refused.
    pub fn accept(&mut self, peer: &FrameworkPeer, offers: &[&v1::Offer], tasks: Vec<v1::TaskInfo>) -> u16 {
        let agent_id = offers.first().and_then(|offer| offer.agent_id.clone());
        let tasks = tasks.into_iter().map(|mut task| {
            task.agent_id = task.agent_id.or_else(|| agent_id.clone());
            task
        });
        self.accept_with(peer, offers, vec![launch(tasks.collect())], Some(0.0))
    }

    pub fn accept_with(
        &mut self,
        peer: &FrameworkPeer,
        offers: &[&v1::Offer],
        operations: Vec<v1::offer::Operation>,
        refuse_seconds: Option<f64>,
    ) -> u16 {
        let accept = call::Accept {
            offer_ids: offers.iter().filter_map(|offer| offer.id.clone()).collect(),
            operations,
            filters: Some(v1::Filters { refuse_seconds }),
        };
        self.call(
            peer,
            Call { r#type: Some(call::Type::Accept as i32), accept: Some(accept), ..Default::default() },
        )
    }

    pub fn decline(&mut self, peer: &FrameworkPeer, offer: &v1::Offer, refuse_seconds: f64) -> u16 {
        let decline = call::Decline {
            offer_ids: offer.id.iter().cloned().collect(),
            filters: Some(v1::Filters { refuse_seconds: Some(refuse_seconds) }),
        };
        self.call(
            peer,
            Call { r#type: Some(call::Type::Decline as i32), decline: Some(decline), ..Default::default() },
        )
    }

    pub fn kill(&mut self, peer: &FrameworkPeer, task: &str) -> u16 {
        let task_id = Some(v1::TaskId { value: Some(task.to_owned()) });
        self.call(
            peer,
            Call {
                r#type: Some(call::Type::Kill as i32),
                kill: Some(call::Kill { task_id, ..Default::default() }),
                ..Default::default()
            },
        )
    }

    pub fn acknowledge(&mut self, peer: &FrameworkPeer, status: &v1::TaskStatus) -> u16 {
        let acknowledge = call::Acknowledge {
            agent_id: status.agent_id.clone(),
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone(),
        };
        self.call(
            peer,
            Call {
                r#type: Some(call::Type::Acknowledge as i32),
                acknowledge: Some(acknowledge),
                ..Default::default()
            },
        )
    }

    /// Asks for these tasks (with or without an agent), or for all if none is named.
    pub fn reconcile(&mut self, peer: &FrameworkPeer, tasks: &[(&str, Option<&str>)]) -> u16 {
        let tasks = tasks.iter().map(|(task, agent)| call::reconcile::Task {
            task_id: Some(v1::TaskId { value: Some((*task).to_owned()) }),
            agent_id: agent.map(|agent| v1::AgentId { value: Some(agent.to_owned()) }),
        });
        let reconcile = call::Reconcile { tasks: tasks.collect() };
        self.call(
            peer,
            Call {
                r#type: Some(call::Type::Reconcile as i32),
                reconcile: Some(reconcile),
                ..Default::default()
            },
        )
    }

    /// Makes a call that needs nothing but its type.
    pub fn bare(&mut self, peer: &FrameworkPeer, kind: call::Type) -> u16 {
        self.call(peer, Call { r#type: Some(kind as i32), ..Default::default() })
    }
}
