//! What to tell subscribers of the operator stream about one key: the difference between two Registries. Pure.

use tepui_proto::ids::{AgentId, FrameworkId};
use tepui_proto::v1::TaskStatus;
use tepui_proto::v1::master::Event;
use tepui_proto::v1::master::event::{
    AgentAdded, AgentRemoved, FrameworkAdded, FrameworkRemoved, FrameworkUpdated, TaskAdded, TaskUpdated,
    Type,
};
use tepui_scheduler_core::ids::TaskKey;
use tepui_scheduler_core::registry::{AgentRecord, FrameworkRecord, TaskRecord};
use tepui_scheduler_core::{Change, Registry};

use super::task::of;
use crate::view;

/// The events that lead from `before` to `after` as far as `key` goes.
pub(super) fn events(before: &Registry, after: &Registry, key: &Change) -> Vec<Event> {
    match key {
        Change::Agent(id) => agent(before, after, id).into_iter().collect(),
        Change::Framework(id) => framework(before, after, id).into_iter().collect(),
        Change::Task(key) => task(before, after, key),
        Change::Driver(_) | Change::Register { .. } | Change::Leadership | Change::Cluster => Vec::new(),
    }
}

fn agent(before: &Registry, after: &Registry, id: &AgentId) -> Option<Event> {
    // An unreachable agent counts as removed, and as added when it comes back.
    fn present<'a>(registry: &'a Registry, id: &AgentId) -> Option<&'a std::sync::Arc<AgentRecord>> {
        registry.agents.get(id).filter(|record| record.unreachable_ms.is_none())
    }
    match (present(before, id), present(after, id)) {
        (None, Some(record)) => {
            let agent = Some(view::agents::agent(after, &Default::default(), record));
            Some(Event { agent_added: Some(AgentAdded { agent }), ..of(Type::AgentAdded) })
        }
        (Some(_), None) => {
            let agent_id = Some(id.to_proto());
            Some(Event { agent_removed: Some(AgentRemoved { agent_id }), ..of(Type::AgentRemoved) })
        }
        _ => None,
    }
}

fn framework(before: &Registry, after: &Registry, id: &FrameworkId) -> Option<Event> {
    match (before.frameworks.get(id), after.frameworks.get(id)) {
        (None, Some(record)) => {
            let framework = Some(view::frameworks::framework(after, record));
            Some(Event { framework_added: Some(FrameworkAdded { framework }), ..of(Type::FrameworkAdded) })
        }
        (Some(old), Some(new)) if is_news(old, new) => {
            let framework = Some(view::frameworks::framework(after, new));
            Some(Event {
                framework_updated: Some(FrameworkUpdated { framework }),
                ..of(Type::FrameworkUpdated)
            })
        }
        (Some(old), None) => {
            let framework_info = old.info.clone();
            Some(Event {
                framework_removed: Some(FrameworkRemoved { framework_info }),
                ..of(Type::FrameworkRemoved)
            })
        }
        _ => None,
    }
}

/// That a framework is away is not told, as in Mesos: its return is, and its end.
fn is_news(old: &FrameworkRecord, new: &FrameworkRecord) -> bool {
    let mut before = shown(old);
    if new.connected_epoch == 0 {
        before.connected_epoch = 0;
    }
    before != shown(new)
}

/// What of a framework its subscribers are told of. That it is revived or suppressed, and by when it has to be back, is not
/// in `GetFrameworks.Framework` and so no news to them; offer constraints are in it.
fn shown(record: &FrameworkRecord) -> FrameworkRecord {
    FrameworkRecord {
        suppressed_roles: Vec::new(),
        disconnected_ms: None,
        deadline_ms: None,
        removal_reason: String::new(),
        ..record.clone()
    }
}

fn task(before: &Registry, after: &Registry, key: &TaskKey) -> Vec<Event> {
    let old = view::tasks::find(before, key);
    let Some(new) = view::tasks::find(after, key) else { return Vec::new() };
    let mut events = Vec::new();
    if old.is_none_or(|old| old.launch_seq != new.launch_seq) {
        let task = view::tasks::task(new);
        events.push(Event { task_added: Some(TaskAdded { task }), ..of(Type::TaskAdded) });
    }
    let news = told_since(old.map(AsRef::as_ref), new);
    let count = news.len();
    for (number, status) in (1..).zip(news) {
        let state = if number == count { new.state() } else { status.state() };
        let updated = TaskUpdated {
            framework_id: Some(key.framework.to_proto()),
            status: Some(status.clone()),
            state: Some(state as i32),
        };
        events.push(Event { task_updated: Some(updated), ..of(Type::TaskUpdated) });
    }
    events
}

/// The statuses that came since, each in its turn, although they may have been committed together.
fn told_since<'a>(old: Option<&TaskRecord>, new: &'a TaskRecord) -> Vec<&'a TaskStatus> {
    let (before, mut now) = (old.map(statuses).unwrap_or_default(), statuses(new));
    let Some(told) = before.last() else { return now };
    if let Some(place) = now.iter().rposition(|status| status == told) {
        return now.split_off(place + 1);
    }
    // A status takes the place of an earlier one of the same state; behind too many, the oldest go.
    let place = match now.get(before.len() - 1) {
        Some(same) if same.state == told.state => before.len() - 1,
        _ => now.len().saturating_sub(1),
    };
    let mut news = now.split_off(place);
    if news.first().is_some_and(|first| !differs(told, first)) {
        news.remove(0);
    }
    news
}

/// What was told of a task, in order, as far as it is kept: each state once.
fn statuses(record: &TaskRecord) -> Vec<&TaskStatus> {
    let mut all: Vec<&TaskStatus> = record.task.iter().flat_map(|task| &task.statuses).collect();
    if let Some(last) = &record.last_status {
        if all.last().is_some_and(|kept| kept.state == last.state) {
            all.pop();
        }
        all.push(last);
    }
    all
}

/// A repeated state is not announced, a change of health is.
fn differs(told: &TaskStatus, status: &TaskStatus) -> bool {
    told.state != status.state || told.healthy != status.healthy || told.check_status != status.check_status
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tepui_proto::v1;

    fn kinds(before: &Registry, after: &Registry, key: &Change) -> Vec<Type> {
        events(before, after, key)
            .iter()
            .map(|event| Type::try_from(event.r#type.unwrap()).unwrap())
            .collect()
    }

    fn task(state: Option<v1::TaskState>, healthy: Option<bool>) -> Registry {
        let status =
            state.map(|state| v1::TaskStatus { state: Some(state as i32), healthy, ..Default::default() });
        let record = TaskRecord { launch_seq: 4, last_status: status, ..Default::default() };
        let mut registry = Registry::default();
        registry.tasks.insert(TaskKey::new("f", "t"), Arc::new(record));
        registry
    }

    #[test]
    fn a_task_is_added_once_and_updated_when_its_told_state_changes() {
        use v1::TaskState::{TaskRunning, TaskStarting};
        let key = Change::Task(TaskKey::new("f", "t"));
        let (none, staging) = (Registry::default(), task(None, None));
        let (starting, running) = (task(Some(TaskStarting), None), task(Some(TaskRunning), None));
        let sick = task(Some(TaskRunning), Some(false));
        let cases: [(&Registry, &Registry, &[Type]); 7] = [
            (&none, &staging, &[Type::TaskAdded]),
            (&none, &running, &[Type::TaskAdded, Type::TaskUpdated]),
            (&staging, &starting, &[Type::TaskUpdated]),
            (&starting, &running, &[Type::TaskUpdated]),
            (&running, &running, &[]),
            (&running, &sick, &[Type::TaskUpdated]),
            (&running, &none, &[]),
        ];
        for (before, after, expected) in cases {
            assert_eq!(kinds(before, after, &key), expected);
        }
    }

    #[test]
    fn states_that_are_committed_together_are_told_one_by_one() {
        use v1::TaskState::{TaskFinished, TaskKilling, TaskRunning, TaskStarting};
        let with = |states: &[(v1::TaskState, f64)]| {
            let status = |(state, time): &(v1::TaskState, f64)| v1::TaskStatus {
                state: Some(*state as i32),
                timestamp: Some(*time),
                ..Default::default()
            };
            let statuses: Vec<_> = states.iter().map(status).collect();
            let record = TaskRecord {
                launch_seq: 4,
                last_status: statuses.last().cloned(),
                task: Some(v1::Task {
                    state: states.last().map(|(state, _)| *state as i32),
                    statuses,
                    ..Default::default()
                }),
                ..Default::default()
            };
            let mut registry = Registry::default();
            registry.tasks.insert(TaskKey::new("f", "t"), Arc::new(record));
            registry
        };
        let key = Change::Task(TaskKey::new("f", "t"));
        let told = |before: &Registry, after: &Registry| -> Vec<(v1::TaskState, v1::TaskState)> {
            let updates = events(before, after, &key).into_iter().filter_map(|event| event.task_updated);
            updates.map(|update| (update.status.as_ref().unwrap().state(), update.state())).collect()
        };
        let (starting, running, finished) = ((TaskStarting, 1.0), (TaskRunning, 2.0), (TaskFinished, 3.0));
        let all = with(&[starting, running, finished]);
        let each = |states: &[v1::TaskState]| states.iter().map(|state| (*state, *state)).collect::<Vec<_>>();
        assert_eq!(told(&Registry::default(), &all), each(&[TaskStarting, TaskRunning, TaskFinished]));
        assert_eq!(told(&with(&[]), &all), each(&[TaskStarting, TaskRunning, TaskFinished]));
        assert_eq!(told(&with(&[starting]), &all), each(&[TaskRunning, TaskFinished]));
        assert_eq!(told(&all, &all), []);
        // A later status of the same state took the place of the one that was told.
        let again = with(&[starting, (TaskRunning, 2.5), finished]);
        assert_eq!(told(&with(&[starting, running]), &again), each(&[TaskFinished]));
        // Nothing of what was told is kept any more: the newest counts.
        let later = with(&[(TaskKilling, 8.0), finished]);
        assert_eq!(told(&with(&[starting, running, (TaskRunning, 7.0)]), &later), each(&[TaskFinished]));
    }

    #[test]
    fn an_unreachable_agent_is_removed_and_added_when_it_is_back() {
        let with = |unreachable_ms| {
            let mut registry = Registry::default();
            let record = AgentRecord { unreachable_ms, ..Default::default() };
            registry.agents.insert("a".into(), Arc::new(record));
            registry
        };
        let key = Change::Agent("a".into());
        let (none, there, away) = (Registry::default(), with(None), with(Some(5)));
        assert_eq!(kinds(&none, &there, &key), [Type::AgentAdded]);
        assert_eq!(kinds(&there, &away, &key), [Type::AgentRemoved]);
        assert_eq!(kinds(&away, &there, &key), [Type::AgentAdded]);
        assert_eq!(kinds(&away, &none, &key), []);
        assert_eq!(kinds(&there, &none, &key), [Type::AgentRemoved]);
    }

    #[test]
    fn a_framework_is_added_updated_and_removed() {
        let with = |connected_epoch| {
            let mut registry = Registry::default();
            let record = FrameworkRecord { connected_epoch, ..Default::default() };
            registry.frameworks.insert("f".into(), Arc::new(record));
            registry
        };
        let key = Change::Framework("f".into());
        let (none, one, two) = (Registry::default(), with(1), with(2));
        assert_eq!(kinds(&none, &one, &key), [Type::FrameworkAdded]);
        assert_eq!(kinds(&one, &two, &key), [Type::FrameworkUpdated]);
        assert_eq!(kinds(&two, &two, &key), []);
        assert_eq!(kinds(&two, &with(0), &key), [], "it went away");
        assert_eq!(kinds(&with(0), &two, &key), [Type::FrameworkUpdated], "and came back");
        assert_eq!(kinds(&two, &none, &key), [Type::FrameworkRemoved]);
    }

    #[test]
    fn an_update_is_told_only_of_what_a_framework_shows() {
        let with = |record: FrameworkRecord| {
            let mut registry = Registry::default();
            registry.frameworks.insert("f".into(), Arc::new(record));
            registry
        };
        let key = Change::Framework("f".into());
        let plain = with(FrameworkRecord::default());
        let suppressed = with(FrameworkRecord { suppressed_roles: vec!["web".into()], ..Default::default() });
        let awaited = with(FrameworkRecord { deadline_ms: Some(9), ..Default::default() });
        let constraints = Some(v1::scheduler::OfferConstraints::default());
        let choosy = with(FrameworkRecord { offer_constraints: constraints, ..Default::default() });
        assert_eq!(kinds(&plain, &suppressed, &key), []);
        assert_eq!(kinds(&plain, &awaited, &key), []);
        assert_eq!(kinds(&plain, &choosy, &key), [Type::FrameworkUpdated]);
    }
}
