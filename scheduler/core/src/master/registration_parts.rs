//! How a registration fits into the log: what of it is written there, and how the word of an agent with much to say is divided.
//!
//! The log takes commands up to a size (16 MiB). An agent may hold thousands of tasks with long descriptions: it is admitted with the names
//! of all of them, and what it says of each follows in further commands. Owns those bounds; what the word changes is `apply`'s.

use std::collections::BTreeMap;

use prost::Message;
use tepui_proto::payload;
use tepui_proto::tepui::agent_link::{AgentExecutor, AgentTask};

use super::launch_parts::MAX_PART_BYTES;
use super::reports::shorten;
use crate::abridged::abridge;
use crate::ids::{self, ExecutorId, FrameworkId, TaskId};
use crate::registry::{NamedTasks, Operation, ReregisterAgent, ReregisterMore, without_data};

/// Longest command that can be hoped to be taken.
const MAX_COMMAND_BYTES: usize = 15 << 20;
/// Tag and length of an element of a list.
const ELEMENT_OVERHEAD: usize = 8;
/// A task above this is recorded without what nothing depends on.
const MAX_TASK_BYTES: usize = 256 << 10;
/// Bytes of the name of such a task that are recorded.
const MAX_NAME: usize = 1000;

/// Divides the word of an agent if it is too long for one command. The first is always the registration itself.
///
/// # Errors
/// Names what is too long for a command of its own.
pub(super) fn cut(mut word: ReregisterAgent) -> Result<Vec<Operation>, String> {
    word.tasks.iter_mut().for_each(shorten_task);
    word.executors.iter_mut().for_each(shorten_executor);
    if word.encoded_len() <= MAX_PART_BYTES {
        return Ok(vec![Operation::ReregisterAgent(word)]);
    }
    word.named_tasks = named(word.tasks.iter().map(|told| {
        let id: TaskId = ids::of(told.task.as_ref().and_then(|task| task.task_id.as_ref()));
        (ids::of(told.framework_id.as_ref()), id.as_str().to_owned())
    }));
    word.named_executors = named(word.executors.iter().map(|told| {
        let id: ExecutorId = ids::of(told.executor.as_ref().and_then(|info| info.executor_id.as_ref()));
        (ids::of(told.framework_id.as_ref()), id.as_str().to_owned())
    }));
    let mut parts = Parts {
        agent_id: word.info.as_ref().and_then(|info| info.id.as_ref()).map_or("", |id| id.value()).to_owned(),
        framework_grace_ms: word.framework_grace_ms,
        parts: Vec::new(),
        bytes: 0,
    };
    for framework in std::mem::take(&mut word.frameworks) {
        parts
            .room(framework.encoded_len(), || format!("framework '{}'", framework.name()))?
            .frameworks
            .push(framework);
    }
    for executor in std::mem::take(&mut word.executors) {
        parts.room(executor.encoded_len(), || "an executor".to_owned())?.executors.push(executor);
    }
    for told in std::mem::take(&mut word.tasks) {
        let name = || {
            let id: TaskId = ids::of(told.task.as_ref().and_then(|task| task.task_id.as_ref()));
            format!("task '{id}'")
        };
        parts.room(told.encoded_len(), name)?.tasks.push(told);
    }
    let first = word.encoded_len();
    if first > MAX_COMMAND_BYTES {
        return Err(format!(
            "its description and the names of its tasks take {first} bytes, more than the log takes"
        ));
    }
    let more = parts.parts.into_iter().map(Operation::ReregisterMore);
    Ok(std::iter::once(Operation::ReregisterAgent(word)).chain(more).collect())
}

struct Parts {
    agent_id: String,
    framework_grace_ms: u64,
    parts: Vec<ReregisterMore>,
    /// Of the last part.
    bytes: usize,
}

impl Parts {
    /// The part that has room for so many bytes.
    fn room(&mut self, bytes: usize, name: impl FnOnce() -> String) -> Result<&mut ReregisterMore, String> {
        if bytes > MAX_COMMAND_BYTES {
            return Err(format!("{} takes {bytes} bytes, more than the log takes", name()));
        }
        let bytes = bytes + ELEMENT_OVERHEAD;
        if self.parts.is_empty() || self.bytes + bytes > MAX_PART_BYTES {
            self.bytes = 0;
            self.parts.push(ReregisterMore {
                agent_id: self.agent_id.clone(),
                framework_grace_ms: self.framework_grace_ms,
                ..ReregisterMore::default()
            });
        }
        self.bytes += bytes;
        self.parts.last_mut().ok_or_else(|| "no part has room".to_owned())
    }
}

fn named(names: impl Iterator<Item = (FrameworkId, String)>) -> Vec<NamedTasks> {
    let mut by_framework: BTreeMap<FrameworkId, Vec<String>> = BTreeMap::new();
    for (framework, name) in names {
        by_framework.entry(framework).or_default().push(name);
    }
    let named = |(framework, names): (FrameworkId, Vec<String>)| NamedTasks {
        framework_id: framework.as_str().to_owned(),
        names,
    };
    by_framework.into_iter().map(named).collect()
}

/// Leaves out what the Registry does not keep, and of a huge task everything that nothing depends on.
fn shorten_task(told: &mut AgentTask) {
    if let Some(info) = &mut told.task {
        payload::strip(info);
        if info.encoded_len() > MAX_TASK_BYTES {
            (info.labels, info.discovery, info.container) = (None, None, None);
            (info.health_check, info.check) = (None, None);
            if let Some(name) = &mut info.name {
                let end = (0..=MAX_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
                name.truncate(end.unwrap_or_default());
            }
            info.executor.iter_mut().for_each(abridge);
        }
    }
    for status in [&mut told.unacknowledged, &mut told.latest_status].into_iter().flatten() {
        shorten(status);
    }
}

fn shorten_executor(told: &mut AgentExecutor) {
    if let Some(info) = &mut told.executor {
        *info = without_data(info);
    }
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1;

    use super::*;

    fn word(tasks: usize, label_bytes: usize) -> ReregisterAgent {
        let label = v1::Label { key: Some("k".to_owned()), value: Some("x".repeat(label_bytes)) };
        let told = |number: usize| AgentTask {
            framework_id: Some(v1::FrameworkId { value: Some(format!("f{}", number % 2)) }),
            task: Some(v1::TaskInfo {
                task_id: Some(v1::TaskId { value: Some(format!("t{number}")) }),
                labels: Some(v1::Labels { labels: vec![label.clone()] }),
                ..Default::default()
            }),
            ..Default::default()
        };
        ReregisterAgent {
            info: Some(v1::AgentInfo {
                id: Some(v1::AgentId { value: Some("a".to_owned()) }),
                ..Default::default()
            }),
            tasks: (0..tasks).map(told).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_short_word_is_one_command_and_a_long_one_several() {
        let [Operation::ReregisterAgent(one)] = &cut(word(10, 1000)).unwrap()[..] else { panic!() };
        assert!(one.tasks.len() == 10 && one.named_tasks.is_empty());
        let parts = cut(word(1000, 20_000)).unwrap();
        let Operation::ReregisterAgent(first) = &parts[0] else { panic!() };
        assert!(first.tasks.is_empty());
        let names: Vec<_> =
            first.named_tasks.iter().map(|of| (of.framework_id.as_str(), of.names.len())).collect();
        assert_eq!(names, [("f0", 500), ("f1", 500)]);
        assert!(parts.len() > 4, "{}", parts.len());
        let mut told = 0;
        for part in &parts[1..] {
            let Operation::ReregisterMore(more) = part else { panic!() };
            assert!(more.encoded_len() <= MAX_PART_BYTES + 1024 && more.agent_id == "a");
            told += more.tasks.len();
        }
        assert_eq!(told, 1000);
    }

    #[test]
    fn what_nothing_depends_on_is_left_out_of_a_huge_task_and_what_is_still_too_long_is_named() {
        let mut huge = word(1, 20 << 20);
        huge.tasks[0].task.as_mut().unwrap().name = Some("\u{e9}".repeat(20 << 20));
        let parts = cut(huge.clone()).unwrap();
        let Operation::ReregisterAgent(one) = &parts[0] else { panic!() };
        let task = one.tasks[0].task.as_ref().unwrap();
        assert!(task.labels.is_none() && task.name().len() == MAX_NAME);
        huge.frameworks = vec![v1::FrameworkInfo { name: Some("x".repeat(20 << 20)), ..Default::default() }];
        assert!(cut(huge).unwrap_err().starts_with("framework 'xxx"));
    }
}
