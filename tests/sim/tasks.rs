//! What the modelled command lines mean, and the ledger of every process that was ever started.

use std::collections::BTreeMap;

use tepui_proto::v1;

use super::agenda::Micros;

/// Framework id and task id.
pub(crate) type Name = (String, String);

/// What a task's process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Runs this long (milliseconds) and leaves this exit code.
    Run { ms: u64, code: i32 },
    /// A supervised driver.
    Driver,
}

/// Writes a behaviour as a command.
pub(crate) fn command(ms: u64, code: i32) -> v1::CommandInfo {
    v1::CommandInfo { value: Some(format!("run {ms} {code}")), ..v1::CommandInfo::default() }
}

/// Writes a behaviour as labels, for tasks that an executor runs.
pub(crate) fn labels(ms: u64, code: i32) -> v1::Labels {
    let label = |key: &str, value: String| v1::Label { key: Some(key.to_owned()), value: Some(value) };
    v1::Labels { labels: vec![label("ms", ms.to_string()), label("code", code.to_string())] }
}

/// Reads those.
pub(crate) fn labelled(task: &v1::TaskInfo) -> Behaviour {
    let labels = task.labels.as_ref().map(|labels| labels.labels.as_slice()).unwrap_or_default();
    let read = |key: &str| labels.iter().find(|label| label.key() == key).map(v1::Label::value);
    let ms = read("ms").and_then(|ms| ms.parse().ok()).unwrap_or_default();
    Behaviour::Run { ms, code: read("code").and_then(|code| code.parse().ok()).unwrap_or_default() }
}

/// Reads a command.
pub(crate) fn behaviour(task: &v1::TaskInfo) -> Behaviour {
    let text = task.command.as_ref().and_then(|command| command.value.as_deref()).unwrap_or_default();
    let mut words = text.split_whitespace();
    match (
        words.next(),
        words.next().and_then(|ms| ms.parse().ok()),
        words.next().and_then(|code| code.parse().ok()),
    ) {
        (Some("run"), Some(ms), Some(code)) => Behaviour::Run { ms, code },
        _driver => Behaviour::Driver,
    }
}

/// The value of an environment variable of a task.
pub(crate) fn variable(task: &v1::TaskInfo, name: &str) -> String {
    let environment = task.command.as_ref().and_then(|command| command.environment.as_ref());
    let variables = environment.map(|environment| environment.variables.as_slice()).unwrap_or_default();
    let found = variables.iter().find(|variable| variable.name.as_deref() == Some(name));
    found.and_then(|variable| variable.value.clone()).unwrap_or_default()
}

/// A process on an agent's host.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) number: usize,
    pub(crate) pid: u32,
    /// Raw wait status once it has ended, and when.
    pub(crate) ended: Option<(Micros, i32)>,
    pub(crate) kill_asked: bool,
    /// CPUs, in thousandths.
    pub(crate) cpus: u64,
    pub(crate) volumes: Vec<tepui_agent_core::VolumeName>,
}

/// Every start of every task, wherever it happened.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) starts: BTreeMap<Name, u32>,
    /// Tasks whose process ended by itself: their wait status.
    pub(crate) ends: BTreeMap<Name, i32>,
}
