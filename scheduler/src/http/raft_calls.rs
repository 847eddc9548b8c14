//! RAFT_ADD, RAFT_REMOVE, RAFT_MOVE, RAFT_TRANSFER and RAFT_SNAPSHOT of our own operator calls: who the masters are, which of them
//! leads, and a snapshot now. Owns the way from the wire to the replicated store, which decides, and the statuses: 409 for what
//! makes no sense now, 503 for what may be tried again, 500 if nobody knows what became of it.

use std::time::Duration;

use hyper::{StatusCode, Uri};
use tepui_proto::tepui::operator::call::Type;
use tepui_proto::tepui::operator::response::{self, Type as Answer};
use tepui_proto::tepui::operator::{Call, Response as Message};
use tepui_raft_store::{HandOverError, Leadership, MembershipError, Peer, RaftStore};

use crate::http::error::Refusal;
use crate::http::redirect::{self, NotServing};
use crate::http::{App, answer};
use crate::runtime::role::Role;
use axum::response::Response;
use tepui_proto::MediaType;

/// How long one call works on a change; whoever wants more asks again.
const WITHIN: Duration = Duration::from_secs(5);

/// Answers one of these calls; nothing if it is another one.
pub(crate) async fn handle(
    app: &App,
    kind: Type,
    call: &Call,
    media: MediaType,
    uri: &Uri,
) -> Option<Result<Response, Refusal>> {
    let ours = matches!(
        kind,
        Type::RaftAdd | Type::RaftRemove | Type::RaftMove | Type::RaftTransfer | Type::RaftSnapshot
    );
    if !ours {
        return None;
    }
    let Some(store) = app.replica.store() else {
        return Some(Err(Refusal::not_implemented(kind.as_str_name())));
    };
    if kind != Type::RaftSnapshot
        && let Some(elsewhere) = elsewhere(&store, &app.role.borrow())
    {
        return Some(Ok(elsewhere.answer(uri)));
    }
    Some(perform(&store, kind, call).await.map(|message| answer::message(media, &message)))
}

/// A leader that does not serve yet can change members all the same: that may be what helps it.
fn elsewhere(store: &RaftStore, role: &Role) -> Option<NotServing> {
    match &*store.leadership().borrow() {
        Leadership::Leading(_) => None,
        Leadership::Following { .. } => {
            redirect::leading(role).err().or(Some(NotServing::Nobody("the leading master is handing over")))
        }
    }
}

async fn perform(store: &RaftStore, kind: Type, call: &Call) -> Result<Message, Refusal> {
    let node = |id: Option<u64>, name: &str| {
        id.ok_or_else(|| Refusal::bad_request(format!("expecting '{name}.node_id' to be present")))
    };
    match kind {
        Type::RaftAdd => {
            let id = node(call.raft_add.as_ref().and_then(|add| add.node_id), "raft_add")?;
            store.promote_member(id, WITHIN).await.map_err(refusal)?;
            Ok(of(Answer::RaftAdd))
        }
        Type::RaftRemove => {
            let id = node(call.raft_remove.as_ref().and_then(|remove| remove.node_id), "raft_remove")?;
            store.remove_member(id, WITHIN).await.map_err(refusal)?;
            Ok(of(Answer::RaftRemove))
        }
        Type::RaftMove => {
            let to = call.raft_move.clone().unwrap_or_default();
            let id = node(to.node_id, "raft_move")?;
            let address = |text: Option<String>, name: &str| match text {
                Some(text)
                    if text.rsplit_once(':').is_some_and(|(host, port)| {
                        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
                    }) =>
                {
                    Ok(text)
                }
                _ => Err(Refusal::bad_request(format!("'raft_move.{name}' must be host:port"))),
            };
            let peer = Peer {
                peer_addr: address(to.peer_addr, "peer_addr")?,
                api_addr: address(to.api_addr, "api_addr")?,
            };
            store.relocate_member(id, peer, WITHIN).await.map_err(refusal)?;
            Ok(of(Answer::RaftMove))
        }
        Type::RaftTransfer => {
            let handed = match call.raft_transfer.as_ref().and_then(|transfer| transfer.node_id) {
                Some(id) => store.hand_over_to(id, WITHIN).await,
                None => store.hand_over(WITHIN).await,
            };
            let node_id = handed.map_err(not_handed)?;
            let raft_transfer = Some(response::RaftTransfer { node_id: Some(node_id) });
            Ok(Message { raft_transfer, ..of(Answer::RaftTransfer) })
        }
        _ => {
            let taken = store.trigger_snapshot().await;
            let taken =
                taken.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            let raft_snapshot = Some(response::RaftSnapshot {
                node_id: Some(store.status().node_id),
                index: Some(taken.index),
                bytes: Some(taken.bytes),
            });
            Ok(Message { raft_snapshot, ..of(Answer::RaftSnapshot) })
        }
    }
}

fn refusal(error: MembershipError) -> Refusal {
    match error {
        MembershipError::Refused(text) => Refusal::new(StatusCode::CONFLICT, text),
        MembershipError::Busy(_) | MembershipError::NotLeading { .. } => {
            Refusal::unavailable(error.to_string())
        }
        other => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, other.to_string()),
    }
}

fn not_handed(error: HandOverError) -> Refusal {
    match error {
        HandOverError::Unfit { .. } | HandOverError::NoCandidate => {
            Refusal::new(StatusCode::CONFLICT, error.to_string())
        }
        HandOverError::NotLeading { .. } => Refusal::unavailable(error.to_string()),
        other => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, other.to_string()),
    }
}

fn of(kind: Answer) -> Message {
    Message { r#type: Some(kind as i32), ..Default::default() }
}
