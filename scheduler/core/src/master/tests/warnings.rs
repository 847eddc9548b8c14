//! What Mesos ignores in silence is taken and ignored here as well, but said: field and reason.

use tepui_proto::v1;
use tepui_proto::v1::scheduler::{Call, call};

use super::{launched, running};
use crate::master::Reply;
use crate::testing::{FrameworkPeer, Harness, uuid};

fn warning(harness: &mut Harness, peer: &FrameworkPeer, call: Call) -> Option<String> {
    match harness.ask(peer, call) {
        Some(Reply::Accepted) => None,
        Some(Reply::Warned(text)) => Some(text),
        other => panic!("not a 202: {other:?}"),
    }
}

fn of(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Call::default() }
}

fn agent(id: &str) -> Option<v1::AgentId> {
    Some(v1::AgentId { value: Some(id.to_owned()) })
}

fn task(id: &str) -> Option<v1::TaskId> {
    Some(v1::TaskId { value: Some(id.to_owned()) })
}

fn executor(id: &str) -> Option<v1::ExecutorId> {
    Some(v1::ExecutorId { value: Some(id.to_owned()) })
}

fn offer(id: &str) -> Vec<v1::OfferId> {
    vec![v1::OfferId { value: Some(id.to_owned()) }]
}

fn roles(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_call_that_is_in_vain_names_field_and_reason() {
    let (mut harness, at, peer) = running();
    let here = at.id.as_str().to_owned();
    let revive = |names: &[&str]| Call {
        revive: Some(call::Revive { roles: roles(names) }),
        ..of(call::Type::Revive)
    };
    let suppress = |names: &[&str]| Call {
        suppress: Some(call::Suppress { roles: roles(names) }),
        ..of(call::Type::Suppress)
    };
    let kill = |id: &str, at: Option<v1::AgentId>| Call {
        kill: Some(call::Kill { task_id: task(id), agent_id: at, ..Default::default() }),
        ..of(call::Type::Kill)
    };
    let acknowledge = |id: &str, at: &str, number: u8| Call {
        acknowledge: Some(call::Acknowledge {
            agent_id: agent(at),
            task_id: task(id),
            uuid: Some(uuid(number)),
        }),
        ..of(call::Type::Acknowledge)
    };
    let message = |at: &str, to: &str| Call {
        message: Some(call::Message {
            agent_id: agent(at),
            executor_id: executor(to),
            data: Some("x".into()),
        }),
        ..of(call::Type::Message)
    };
    let shutdown = |at: &str, to: &str| Call {
        shutdown: Some(call::Shutdown { agent_id: agent(at), executor_id: executor(to) }),
        ..of(call::Type::Shutdown)
    };
    let decline = |ids: Vec<v1::OfferId>| Call {
        decline: Some(call::Decline { offer_ids: ids, ..Default::default() }),
        ..of(call::Type::Decline)
    };
    let accept = |ids: Vec<v1::OfferId>| Call {
        accept: Some(call::Accept { offer_ids: ids, ..Default::default() }),
        ..of(call::Type::Accept)
    };
    let request = Call { request: Some(call::Request::default()), ..of(call::Type::Request) };
    let table: [(Call, &[&str]); 20] = [
        (revive(&[]), &[]),
        (revive(&["*"]), &[]),
        (revive(&["*", "other"]), &["revive", "'other'", "not subscribed"]),
        (suppress(&["other"]), &["suppress", "'other'", "not subscribed"]),
        (suppress(&[]), &[]),
        (kill("t", agent("elsewhere")), &["kill.agent_id", "'elsewhere'", &here]),
        (kill("nobody", None), &[]),
        (acknowledge("t", "elsewhere", 1), &["acknowledge", "agent_id", "'elsewhere'", "not registered"]),
        // Which of its updates is still open, the agent knows best.
        (acknowledge("t", &here, 9), &[]),
        (acknowledge("t", &here, 1), &[]),
        (message("elsewhere", "t"), &["message.agent_id", "'elsewhere'"]),
        (message(&here, "nobody"), &["message.executor_id", "'nobody'"]),
        (message(&here, "t"), &[]),
        (shutdown("elsewhere", "t"), &["shutdown.agent_id", "'elsewhere'"]),
        (shutdown(&here, "nobody"), &["shutdown.executor_id", "'nobody'"]),
        (decline(offer("old")), &["decline.offer_ids", "'old'"]),
        (decline(Vec::new()), &[]),
        (accept(offer("old")), &["accept.offer_ids", "old", "no longer valid"]),
        (accept(Vec::new()), &["accept.offer_ids", "no offers"]),
        (request, &["request", "ignored"]),
    ];
    for (call, words) in table {
        let name = call.r#type().as_str_name();
        let text = warning(&mut harness, &peer, call);
        assert_eq!(text.is_some(), !words.is_empty(), "{name}: {text:?}");
        for word in words {
            let text = text.as_deref().unwrap();
            assert!(text.contains(word), "{name}: {text:?} does not say {word:?}");
        }
    }
}

#[test]
fn an_executor_with_hardly_anything_is_launched_and_said() {
    for (needs, small) in [("cpus:0.01;mem:32", false), ("cpus:0.009;mem:32", true), ("cpus:1;mem:31", true)]
    {
        let mut harness = Harness::new();
        let at = harness.agent("cpus:4;mem:1024");
        let peer = harness.framework("f");
        let offer = harness.offer(&peer);
        let info = crate::testing::executor_task("t", "cpus:1;mem:64", "e", needs);
        let info = v1::TaskInfo { agent_id: Some(at.id.to_proto()), ..info };
        let accept = call::Accept {
            offer_ids: offer.id.into_iter().collect(),
            operations: vec![crate::testing::launch(vec![info])],
            ..Default::default()
        };
        let text = warning(&mut harness, &peer, Call { accept: Some(accept), ..of(call::Type::Accept) });
        assert_eq!(text.is_some(), small, "{needs}: {text:?}");
        assert!(text.is_none_or(|text| text.contains("executor.resources") && text.contains("'e'")));
        assert_eq!(harness.registry.tasks.len(), 1, "{needs}");
    }
}

#[test]
fn a_task_that_asks_for_what_agents_do_not_do_is_launched_and_said() {
    for user in [None, Some("nobody".to_owned())] {
        let mut harness = Harness::new();
        let at = harness.agent("cpus:4;mem:1024");
        let peer = harness.framework("f");
        let offer = harness.offer(&peer);
        let tasks = ["t", "u"].map(|id| {
            let mut info = crate::testing::task(id, "cpus:1;mem:64");
            info.agent_id = Some(at.id.to_proto());
            info.command.as_mut().unwrap().user.clone_from(&user);
            info
        });
        let accept = call::Accept {
            offer_ids: offer.id.into_iter().collect(),
            operations: vec![crate::testing::launch(tasks.to_vec())],
            ..Default::default()
        };
        let text = warning(&mut harness, &peer, Call { accept: Some(accept), ..of(call::Type::Accept) });
        assert_eq!(text.is_some(), user.is_some(), "{text:?}");
        let once =
            |text: String| text.matches("'command.user'").count() == 1 && text.contains("no effect yet");
        assert!(text.is_none_or(once));
        assert_eq!(harness.registry.tasks.len(), 2);
    }
}

#[test]
fn a_refusal_that_lasts_otherwise_than_asked_is_said() {
    let mut harness = Harness::new();
    harness.agent("cpus:1;mem:64");
    let peer = harness.framework("f");
    for (seconds, word) in [
        (None, None),
        (Some(0.0), None),
        (Some(-1.0), Some("is -1: the default")),
        (Some(4_294_967_295.0), Some("365 days")),
    ] {
        let offer = harness.offer(&peer);
        let decline = call::Decline {
            offer_ids: offer.id.into_iter().collect(),
            filters: Some(v1::Filters { refuse_seconds: seconds }),
        };
        let call = Call { decline: Some(decline), ..of(call::Type::Decline) };
        let text = warning(&mut harness, &peer, call);
        assert_eq!(text.is_some(), word.is_some(), "{seconds:?}: {text:?}");
        let text = text.unwrap_or_default();
        assert!(
            text.contains(word.unwrap_or_default()) && (word.is_none() || text.contains("refuse_seconds"))
        );
        harness.bare(&peer, call::Type::Revive);
    }
}

#[test]
fn a_task_of_which_nobody_can_tell_yet_is_named() {
    let mut harness = Harness::new();
    let (_agent, peer) = launched(&mut harness);
    harness.advance(200);
    harness.elect();
    let peer = harness.resubscribe(&peer);
    let tasks = vec![call::reconcile::Task { task_id: task("t"), agent_id: None }];
    let reconcile = Call { reconcile: Some(call::Reconcile { tasks }), ..of(call::Type::Reconcile) };
    let text = warning(&mut harness, &peer, reconcile).unwrap();
    assert!(text.contains("reconcile.tasks") && text.contains("'t'"), "{text}");
    let kill = Call {
        kill: Some(call::Kill { task_id: task("nobody"), ..Default::default() }),
        ..of(call::Type::Kill)
    };
    let text = warning(&mut harness, &peer, kill).unwrap();
    assert!(text.contains("kill.task_id") && text.contains("'nobody'"), "{text}");
    assert!(harness.statuses(&peer).is_empty());
}

#[test]
fn the_answer_comes_before_what_the_call_brings_about() {
    let (mut harness, _agent, peer) = running();
    let mut effects = Vec::new();
    let input = crate::master::Input::Call {
        request: harness.next_id(),
        stream_id: Some(peer.stream_id.clone()),
        call: Call {
            framework_id: Some(peer.id.to_proto()),
            reconcile: Some(call::Reconcile::default()),
            ..of(call::Type::Reconcile)
        },
        principal: None,
    };
    harness.master.handle(harness.now, input, &mut effects);
    use crate::master::Effect::{Reply as Answer, ToFramework};
    assert!(matches!(effects[..], [Answer { .. }, ToFramework { .. }, ..]), "{effects:?}");
}
