//! What frameworks hear of calls about operations that cannot be followed.

use tepui_proto::v1::scheduler::{Call, call};
use tepui_proto::v1::{self, OperationState};

use super::operations::{states, story, told};
use crate::testing::{named, reserve, reserved, uuid};

#[test]
fn an_acknowledgement_of_nothing_says_which_field_is_wrong() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    harness.accept_with(&peer, &[&offer], vec![named("o", reserve(reserved("cpus:1", &["web"])))], None);
    let status = told(&mut harness, &peer).remove(0);
    let right = call::AcknowledgeOperationStatus {
        agent_id: Some(agent.id.to_proto()),
        uuid: status.uuid.as_ref().and_then(|uuid| uuid.value.clone()),
        operation_id: status.operation_id.clone(),
        ..Default::default()
    };
    let other = |id: &str| Some(v1::OperationId { value: Some(id.to_owned()) });
    let elsewhere = Some(v1::AgentId { value: Some("elsewhere".to_owned()) });
    let table = [
        (
            call::AcknowledgeOperationStatus { operation_id: other("p"), ..right.clone() },
            ".operation_id' is 'p'",
        ),
        (
            call::AcknowledgeOperationStatus { agent_id: elsewhere, ..right.clone() },
            ".agent_id' is 'elsewhere'",
        ),
        (call::AcknowledgeOperationStatus { uuid: Some(uuid(9)), ..right.clone() }, ".uuid' is not that"),
        (right.clone(), ""),
        (right, ".operation_id' is 'o'"),
    ];
    for (acknowledgement, words) in table {
        let call = Call {
            r#type: Some(call::Type::AcknowledgeOperationStatus as i32),
            acknowledge_operation_status: Some(acknowledgement),
            ..Default::default()
        };
        match harness.ask(&peer, call) {
            Some(crate::master::Reply::Accepted) => assert_eq!(words, ""),
            Some(crate::master::Reply::Warned(text)) => {
                assert!(!words.is_empty() && text.contains(words), "{words}: {text}");
            }
            other => panic!("no 202: {other:?}"),
        }
        harness.advance(200);
    }
}

#[test]
fn an_operation_that_is_too_long_is_refused_with_or_without_an_id() {
    let (mut harness, _agent, peer) = story();
    let offer = harness.offer(&peer);
    let long = || {
        let mut one = reserved("cpus:1", &["web"]);
        let label = v1::Label { key: Some("k".to_owned()), value: Some("x".repeat(20 << 20)) };
        one[0].reservations[0].labels = Some(v1::Labels { labels: vec![label] });
        reserve(one)
    };
    let call = Call {
        r#type: Some(call::Type::Accept as i32),
        accept: Some(call::Accept {
            offer_ids: offer.id.clone().into_iter().collect(),
            operations: vec![long(), named("o", long())],
            ..Default::default()
        }),
        ..Default::default()
    };
    let Some(crate::master::Reply::Warned(text)) = harness.ask(&peer, call) else { panic!("no warning") };
    assert!(text.contains("larger than"), "{text}");
    assert_eq!(states(&mut harness, &peer), [("o".to_owned(), OperationState::OperationError)]);
}
