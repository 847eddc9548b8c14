//! The whole scheduler API without sockets: the router in front of a real core, whose log commits at once.

use tepui_proto::MediaType;
use tepui_proto::wire;
use tepui_scheduler_core::Input;
use tepui_scheduler_core::testing::{FrameworkPeer, Harness, framework_info};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::fixture::Fixture;
use crate::runtime::handle::{Message, Opened};
use crate::runtime::streams::{Bounds, Streams};

pub(super) struct World {
    pub(super) fixture: Fixture,
    /// A framework with a live stream.
    pub(super) live: FrameworkPeer,
    /// One whose stream has ended, and which may come back.
    pub(super) away: FrameworkPeer,
    /// One that has been torn down.
    pub(super) ended: FrameworkPeer,
    _core: JoinSet<()>,
}

impl World {
    pub(super) fn new(mut fixture: Fixture) -> World {
        let mut harness = Harness::new();
        harness.agent("cpus:4;mem:1024");
        let mut info = framework_info("live");
        info.principal = Some("alice".to_owned());
        let live = harness.framework_with(info);
        let away = harness.framework("away");
        harness.break_stream(away.connection);
        let ended = harness.framework("ended");
        harness.bare(&ended, tepui_proto::v1::scheduler::call::Type::Teardown);
        let messages = std::mem::replace(&mut fixture.messages, mpsc::channel(1).1);
        let mut core = JoinSet::new();
        core.spawn(serve(messages, harness));
        World { fixture, live, away, ended, _core: core }
    }

    /// Puts the ids of this world into a text that names them `$LIVE`, `$AWAY` and `$ENDED`.
    pub(super) fn named(&self, text: &str) -> String {
        let ids = [("$LIVE", &self.live), ("$AWAY", &self.away), ("$ENDED", &self.ended)];
        ids.iter().fold(text.to_owned(), |text, (name, peer)| text.replace(name, peer.id.as_str()))
    }
}

async fn serve(mut messages: mpsc::Receiver<Message>, mut harness: Harness) {
    let (mut streams, _gone) = Streams::new(Bounds { records: 1024, bytes: 1 << 24 });
    while let Some(message) = messages.recv().await {
        match message {
            Message::Call { call, stream_id, principal, reply } => {
                let request = harness.next_id();
                harness.input(Input::Call { request, stream_id, call: *call, principal });
                if let Some(answer) = harness.reply(request) {
                    let _ = reply.send(answer);
                }
            }
            Message::Subscribe { call, principal, driver_token, media, opened } => {
                let (id, inlet) = streams.open(media);
                let connection = harness.next_id();
                let stream_id = format!("stream-{connection}");
                let info =
                    call.subscribe.as_ref().and_then(|it| it.framework_info.clone()).unwrap_or_default();
                let peer = FrameworkPeer { id: "".into(), connection, stream_id: stream_id.clone(), info };
                let call = *call;
                let stream = stream_id.clone();
                harness.input(Input::Subscribe {
                    connection,
                    stream_id: stream,
                    call,
                    principal,
                    driver_token,
                });
                while let Some(event) = harness.try_event(&peer) {
                    let pushed = streams.push(id, wire::encode_record(media, &event));
                    assert!(pushed.is_ok(), "the stream holds a few records");
                }
                if harness.is_closed(connection) {
                    streams.close(id);
                }
                let _ = opened.send(Opened { stream_id, inlet });
            }
            _ => panic!("not a message of the scheduler API"),
        }
    }
}

/// Both encodings of a message that is written as JSON; the second only if the text is such a message at all, required fields aside.
pub(super) fn encodings<M: wire::WireMessage>(text: &str) -> Vec<(MediaType, Vec<u8>)> {
    let mut bodies = vec![(MediaType::Json, text.as_bytes().to_vec())];
    if let Ok(message) = serde_json::from_str::<M>(text) {
        bodies.push((MediaType::Protobuf, message.encode_to_vec()));
    }
    bodies
}
