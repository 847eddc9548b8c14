//! Frameworks in the tables.

use super::*;
use crate::registry::{MAX_COMPLETED_FRAMEWORKS, Refusal};

fn remove(story: &mut Story, id: &str) -> Outcome {
    let reason = "test".to_owned();
    story.apply(Operation::RemoveFramework(RemoveFramework { framework_id: id.to_owned(), reason }))
}

#[test]
fn admitted_once() {
    let mut story = Story::new();
    story.framework("f");
    assert_eq!(story.changes, [Change::Framework("f".into())]);
    let admit = |info| Operation::AdmitFramework(AdmitFramework { info, ..Default::default() });
    let again = story.apply(admit(Some(framework("f"))));
    assert_eq!(again, Outcome::Refused(Refusal::FrameworkExists));
    assert_eq!(story.apply(admit(None)), Outcome::Refused(Refusal::Malformed));
    assert_eq!(story.apply(admit(Some(framework("")))), Outcome::Refused(Refusal::Malformed));
    remove(&mut story, "f");
    let again = story.apply(admit(Some(framework("f"))));
    assert_eq!(again, Outcome::Refused(Refusal::CompletedFramework));
}

#[test]
fn an_update_in_place_and_suppression_say_nothing_of_the_connection() {
    let mut story = Story::new();
    story.framework("f");
    let left = DisconnectFramework { framework_id: "f".to_owned(), deadline_ms: 777 };
    story.apply(Operation::DisconnectFramework(left));
    let away = story.registry.frameworks.get("f").unwrap().clone();
    let update = |name: &str| {
        let info = v1::FrameworkInfo { name: Some(name.to_owned()), ..away.info.clone().unwrap() };
        Operation::UpdateFramework(UpdateFramework { info: Some(info), in_place: true, ..Default::default() })
    };
    let same = update(away.info.as_ref().unwrap().name());
    assert_eq!(story.apply(same), Outcome::FrameworkUpdated { anew: false });
    assert_eq!(story.registry.frameworks.get("f"), Some(&away));
    assert_eq!(story.apply(update("renamed")), Outcome::FrameworkUpdated { anew: true });
    let suppress = |roles: &[&str], suppressed| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Operation::SuppressRoles(SuppressRoles { framework_id: "f".to_owned(), roles, suppressed })
    };
    assert_eq!(story.apply(suppress(&["*", "unknown"], true)), Outcome::Done);
    let record = story.registry.frameworks.get("f").unwrap().clone();
    assert_eq!(record.suppressed_roles, ["*"]);
    assert_eq!((record.connected_epoch, record.deadline_ms), (0, Some(777)));
    assert_eq!(story.apply(suppress(&["*"], false)), Outcome::Done);
    assert_eq!(story.registry.frameworks.get("f").unwrap().suppressed_roles, Vec::<String>::new());
    let nobody = SuppressRoles { framework_id: "nobody".to_owned(), ..Default::default() };
    assert_eq!(story.apply(Operation::SuppressRoles(nobody)), Outcome::Refused(Refusal::UnknownFramework));
}

#[test]
fn an_update_keeps_user_and_checkpoint() {
    let mut story = Story::new();
    story.framework("f");
    let left = DisconnectFramework { framework_id: "f".to_owned(), deadline_ms: 777 };
    story.apply(Operation::DisconnectFramework(left));
    let away = story.registry.frameworks.get("f").unwrap().clone();
    assert_eq!((away.connected_epoch, away.disconnected_ms, away.deadline_ms), (0, Some(30), Some(777)));
    let mut info = framework("f");
    info.user = Some("other".to_owned());
    info.checkpoint = Some(false);
    info.name = Some("renamed".to_owned());
    let update =
        UpdateFramework { info: Some(info), suppressed_roles: vec!["*".to_owned()], ..Default::default() };
    assert_eq!(story.apply(Operation::UpdateFramework(update)), Outcome::FrameworkUpdated { anew: true });
    let back = story.registry.frameworks.get("f").unwrap().clone();
    let info = back.info.as_ref().unwrap();
    assert_eq!((info.user(), info.checkpoint(), info.name()), ("nobody", true, "renamed"));
    assert_eq!((back.disconnected_ms, back.deadline_ms), (None, None));
    assert!(story.registry.framework_connected(&back));
    assert_eq!(back.suppressed_roles, ["*"]);
}

#[test]
fn the_unknown_are_refused() {
    let mut story = Story::new();
    let update = UpdateFramework { info: Some(framework("f")), ..Default::default() };
    let unknown = Outcome::Refused(Refusal::UnknownFramework);
    assert_eq!(story.apply(Operation::UpdateFramework(update)), unknown);
    let left = DisconnectFramework { framework_id: "f".to_owned(), deadline_ms: 0 };
    assert_eq!(story.apply(Operation::DisconnectFramework(left)), unknown);
    assert_eq!(remove(&mut story, "f"), unknown);
}

#[test]
fn removed_tasks_are_history_and_stay_charged_while_they_run() {
    let mut story = Story::new();
    story.agent("a", "cpus:4");
    story.framework("f");
    story.launch("f", "a", &[("running", "cpus:1"), ("ended", "cpus:1"), ("staging", "cpus:1")]);
    story.status("f", "running", TaskState::TaskRunning, b"1");
    story.status("f", "ended", TaskState::TaskFinished, b"2");
    assert_eq!(remove(&mut story, "f"), Outcome::Done);
    let history = story.history("f");
    assert_eq!(history.len(), 3);
    assert!(history.contains(&("ended".to_owned(), TaskState::TaskFinished)), "{history:?}");
    assert!(history.contains(&("running".to_owned(), TaskState::TaskKilled)), "{history:?}");
    assert_eq!(story.charged("a"), "cpus:2");
    assert!(story.registry.tasks.values().all(|record| record.info.is_none()), "never delivered again");
    story.status("f", "running", TaskState::TaskKilled, b"3");
    story.status("f", "staging", TaskState::TaskDropped, b"4");
    assert_eq!(story.charged("a"), "");
    assert!(story.registry.tasks.is_empty());
    assert_eq!(story.history("f").len(), 3, "nothing is added to what was recorded");
}

#[test]
fn completed_frameworks_are_bounded() {
    let mut story = Story::new();
    for number in 0..=MAX_COMPLETED_FRAMEWORKS {
        let id = format!("f{number}");
        story.framework(&id);
        remove(&mut story, &id);
    }
    assert_eq!(story.registry.completed_frameworks.len(), MAX_COMPLETED_FRAMEWORKS);
    assert!(story.registry.completed(&"f0".into()).is_none());
    assert!(story.registry.completed(&"f1".into()).is_some());
}
