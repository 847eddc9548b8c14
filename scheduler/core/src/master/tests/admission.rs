//! Who may call: the rows of the admission table, in their order.

use tepui_proto::v1::scheduler::{Call, call};

use crate::master::{Input, Reply};
use crate::testing::{FrameworkPeer, Harness, framework_info};

fn status_of(harness: &mut Harness, peer: &FrameworkPeer, principal: Option<&str>) -> u16 {
    let request = harness.next_id();
    let call = Call {
        framework_id: Some(peer.id.to_proto()),
        r#type: Some(call::Type::Revive as i32),
        ..Default::default()
    };
    let stream_id = Some(peer.stream_id.clone()).filter(|id| !id.is_empty());
    harness.input(Input::Call { request, stream_id, call, principal: principal.map(str::to_owned) });
    match harness.reply(request).unwrap() {
        Reply::Accepted | Reply::Warned(_) => 202,
        Reply::Rejected { status, .. } => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_failing_row_decides() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.principal = Some("alice".to_owned());
    let peer = harness.framework_with(info);
    assert_eq!(status_of(&mut harness, &peer, None), 202);
    assert_eq!(status_of(&mut harness, &peer, Some("alice")), 202);
    assert_eq!(status_of(&mut harness, &peer, Some("bob")), 400, "another principal");

    let unknown = FrameworkPeer { id: "nobody".into(), ..peer.clone() };
    assert_eq!(status_of(&mut harness, &unknown, None), 400, "an unknown framework");
    let stale = FrameworkPeer { stream_id: "old".to_owned(), ..peer.clone() };
    assert_eq!(status_of(&mut harness, &stale, None), 400, "another stream");
    let without = FrameworkPeer { stream_id: String::new(), ..peer.clone() };
    assert_eq!(status_of(&mut harness, &without, None), 400, "no stream id");

    harness.break_stream(peer.connection);
    assert_eq!(status_of(&mut harness, &peer, None), 403, "not connected");
    assert_eq!(status_of(&mut harness, &peer, Some("bob")), 400, "the principal comes before the connection");
}

#[test]
fn calls_without_their_member_are_bad() {
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    assert_eq!(harness.bare(&peer, call::Type::Kill), 400);
    assert_eq!(harness.bare(&peer, call::Type::Revive), 202);
    assert_eq!(harness.bare(&peer, call::Type::Suppress), 202);
    assert_eq!(harness.call(&peer, Call { r#type: Some(99), ..Default::default() }), 501);
}

#[test]
fn a_request_is_accepted_and_ignored() {
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    let request = Some(call::Request::default());
    let call = Call { r#type: Some(call::Type::Request as i32), request, ..Default::default() };
    assert_eq!(harness.call(&peer, call), 202);
    assert!(harness.events(&peer).is_empty());
}

#[test]
fn nobody_is_served_before_the_lead_is_taken() {
    let mut harness = Harness::new();
    harness.held = true;
    harness.elect();
    assert!(!harness.master.serving());
    let peer = harness.subscribe(framework_info("f"), None);
    assert!(harness.is_closed(peer.connection));
    assert_eq!(harness.bare(&peer, call::Type::Revive), 503);
    harness.commit();
    assert!(harness.master.serving());
    harness.framework("f");
}
