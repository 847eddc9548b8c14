//! What is past: forgotten tasks, ended executors, frameworks without either. Owns the bounds, which are those of Mesos: so many tasks
//! of each executor, executors of each framework, and frameworks; and one on all of it, by bytes, which Mesos lacks.

use std::collections::{BTreeMap, VecDeque};

use prost::Message;
use tepui_proto::v1;

use crate::Config;
use crate::view::{CompletedExecutor, CompletedTask};

/// What an entry takes beside its messages, roughly.
const ENTRY_BYTES: usize = 1 << 10;

/// See the module.
pub(crate) struct History {
    limits: Limits,
    /// Entries are numbered as they come, whatever they are.
    next: u64,
    tasks: BTreeMap<u64, CompletedTask>,
    executors: BTreeMap<u64, CompletedExecutor>,
    runs: BTreeMap<RunKey, Run>,
    /// Containers of runs that are over, oldest first, by framework.
    over: BTreeMap<String, VecDeque<String>>,
    frameworks: VecDeque<v1::FrameworkInfo>,
    /// Of tasks and executors.
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Limits {
    tasks: usize,
    executors: usize,
    frameworks: usize,
    bytes: usize,
}

/// Framework and container.
type RunKey = (String, String);

/// One executor from its start to its end; a command is its own.
#[derive(Default)]
struct Run {
    /// Oldest first.
    tasks: VecDeque<u64>,
    executor: Option<u64>,
    over: bool,
}

impl History {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = Limits {
            tasks: config.completed_tasks_max.max(1),
            executors: config.completed_executors_max.max(1),
            frameworks: config.completed_frameworks_max.max(1),
            bytes: config.completed_bytes_max,
        };
        Self {
            limits,
            next: 0,
            tasks: BTreeMap::new(),
            executors: BTreeMap::new(),
            runs: BTreeMap::new(),
            over: BTreeMap::new(),
            frameworks: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Oldest first.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &CompletedTask> {
        self.tasks.values()
    }

    /// Oldest first.
    pub(crate) fn executors(&self) -> impl Iterator<Item = &CompletedExecutor> {
        self.executors.values()
    }

    /// Oldest first. Some may have come back.
    pub(crate) fn frameworks(&self) -> impl Iterator<Item = &v1::FrameworkInfo> {
        self.frameworks.iter()
    }

    /// Adds a task. Its executor ends with it unless it goes on.
    pub(crate) fn add_task(&mut self, task: CompletedTask, executor_goes_on: bool) {
        let key = (task.key.framework_id.clone(), task.container_id.clone());
        let number = self.number();
        self.bytes += bytes_of_task(&task);
        self.tasks.insert(number, task);
        let run = self.runs.entry(key.clone()).or_default();
        run.tasks.push_back(number);
        let surplus = if run.tasks.len() > self.limits.tasks { run.tasks.pop_front() } else { None };
        if let Some(number) = surplus {
            self.drop_task(number);
        }
        if !executor_goes_on {
            self.end(&key);
        }
        self.shrink();
    }

    pub(crate) fn add_executor(&mut self, executor: CompletedExecutor) {
        let key = (executor.key.framework_id.clone(), executor.container_id.clone());
        let number = self.number();
        self.bytes += bytes_of_executor(&executor);
        self.executors.insert(number, executor);
        self.runs.entry(key.clone()).or_default().executor = Some(number);
        self.end(&key);
        self.shrink();
    }

    /// Adds a framework. What is known of the ones that have no place any more goes with them, unless they are back.
    pub(crate) fn add_framework(&mut self, info: v1::FrameworkInfo, is_back: impl Fn(&str) -> bool) {
        self.frameworks.retain(|known| known.id != info.id);
        self.frameworks.push_back(info);
        while self.frameworks.len() > self.limits.frameworks {
            let oldest = self.frameworks.pop_front().and_then(|info| info.id?.value);
            if let Some(id) = oldest.filter(|id| !is_back(id)) {
                let of_it: Vec<RunKey> =
                    self.runs.keys().filter(|(framework, _)| *framework == id).cloned().collect();
                of_it.iter().for_each(|key| self.drop_run(key));
                self.over.remove(&id);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn end(&mut self, key: &RunKey) {
        let Some(run) = self.runs.get_mut(key).filter(|run| !run.over) else { return };
        run.over = true;
        let over = self.over.entry(key.0.clone()).or_default();
        over.push_back(key.1.clone());
        let surplus = if over.len() > self.limits.executors { over.pop_front() } else { None };
        if let Some(container) = surplus {
            self.drop_run(&(key.0.clone(), container));
        }
    }

    fn drop_run(&mut self, key: &RunKey) {
        let Some(run) = self.runs.remove(key) else { return };
        for number in run.tasks {
            self.drop_task(number);
        }
        if let Some(number) = run.executor {
            self.drop_executor(number);
        }
    }

    fn drop_task(&mut self, number: u64) -> Option<RunKey> {
        let task = self.tasks.remove(&number)?;
        self.bytes -= bytes_of_task(&task);
        Some((task.key.framework_id, task.container_id))
    }

    fn drop_executor(&mut self, number: u64) -> Option<RunKey> {
        let executor = self.executors.remove(&number)?;
        self.bytes -= bytes_of_executor(&executor);
        Some((executor.key.framework_id, executor.container_id))
    }

    /// The oldest entries go until all of it fits.
    fn shrink(&mut self) {
        while self.bytes > self.limits.bytes {
            let task = self.tasks.first_key_value().map_or(u64::MAX, |(number, _)| *number);
            let executor = self.executors.first_key_value().map_or(u64::MAX, |(number, _)| *number);
            let oldest = task.min(executor);
            let dropped = if oldest == task { self.drop_task(oldest) } else { self.drop_executor(oldest) };
            let Some(key) = dropped else { return };
            let Some(run) = self.runs.get_mut(&key) else { continue };
            run.tasks.retain(|number| *number != oldest);
            run.executor = run.executor.filter(|number| *number != oldest);
            if run.tasks.is_empty() && run.executor.is_none() {
                self.runs.remove(&key);
                if let Some(over) = self.over.get_mut(&key.0) {
                    over.retain(|container| *container != key.1);
                    if over.is_empty() {
                        self.over.remove(&key.0);
                    }
                }
            }
        }
    }

    /// Panics if a bound is passed, or an entry belongs to nobody.
    pub(crate) fn check(&self, goes_on: impl Fn(&str, &str) -> bool, is_here: impl Fn(&str) -> bool) {
        let bytes = self.tasks().map(bytes_of_task).sum::<usize>()
            + self.executors().map(bytes_of_executor).sum::<usize>();
        assert_eq!(self.bytes, bytes, "bytes of the history");
        assert!(self.bytes <= self.limits.bytes, "history grew over its bound");
        assert!(self.frameworks.len() <= self.limits.frameworks, "frameworks grew over their bound");
        let entries: usize =
            self.runs.values().map(|run| run.tasks.len() + usize::from(run.executor.is_some())).sum();
        assert_eq!(entries, self.tasks.len() + self.executors.len(), "entries of nobody");
        for ((framework, container), run) in &self.runs {
            assert!(run.tasks.len() <= self.limits.tasks, "tasks of {container} grew over their bound");
            assert!(run.over || goes_on(framework, container), "{container} is over, but not among those");
            let past = || {
                self.frameworks.iter().any(|info| info.id.as_ref().is_some_and(|id| id.value() == framework))
            };
            assert!(is_here(framework) || past(), "framework {framework} of {container} is unknown");
        }
        for (framework, over) in &self.over {
            assert!(over.len() <= self.limits.executors, "executors of {framework} grew over their bound");
            let known = |container: &String| self.runs.contains_key(&(framework.clone(), container.clone()));
            assert!(over.iter().all(known), "a run of {framework} is forgotten");
        }
    }
}

fn bytes_of_task(task: &CompletedTask) -> usize {
    ENTRY_BYTES + task.info.encoded_len() + task.latest.as_ref().map_or(0, Message::encoded_len)
}

fn bytes_of_executor(executor: &CompletedExecutor) -> usize {
    ENTRY_BYTES + executor.info.encoded_len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExecutorKey, TaskKey};

    fn history(bytes: usize) -> History {
        let mut config = Config::new(v1::AgentInfo::default(), "", [0; 32]);
        config.completed_bytes_max = bytes;
        History::new(&config)
    }

    fn task(framework: &str, task: &str, container: &str, executor: Option<&str>) -> CompletedTask {
        CompletedTask {
            key: TaskKey::new(framework, task),
            info: v1::TaskInfo::default(),
            executor: executor.map(|id| ExecutorKey::new(framework, id)),
            container_id: container.to_owned(),
            latest: None,
            wait_status: None,
        }
    }

    fn executor(framework: &str, container: &str) -> CompletedExecutor {
        CompletedExecutor {
            key: ExecutorKey::new(framework, "e"),
            info: v1::ExecutorInfo::default(),
            container_id: container.to_owned(),
            status: None,
        }
    }

    fn framework(id: &str) -> v1::FrameworkInfo {
        v1::FrameworkInfo { id: Some(v1::FrameworkId { value: Some(id.to_owned()) }), ..Default::default() }
    }

    fn check(history: &History) {
        history.check(|_, _| true, |_| true);
    }

    fn tasks_of(history: &History, container: &str) -> Vec<String> {
        let of = history.tasks().filter(|task| task.container_id == container);
        of.map(|task| task.key.task_id.clone()).collect()
    }

    #[test]
    fn the_newest_200_tasks_of_each_executor_are_kept() {
        let mut history = history(usize::MAX);
        for number in 0..250 {
            history.add_task(task("f", &format!("a{number}"), "a", Some("e")), true);
            history.add_task(task("f", &format!("b{number}"), "b", Some("e")), number < 249);
            check(&history);
        }
        for container in ["a", "b"] {
            let kept = tasks_of(&history, container);
            assert_eq!((kept.len(), kept[0].as_str()), (200, format!("{container}50").as_str()));
        }
        history.add_executor(executor("f", "a"));
        assert_eq!(history.tasks().count(), 400, "they stay when their executor ends");
        check(&history);
    }

    #[test]
    fn the_newest_150_executors_of_each_framework_are_kept_with_their_tasks() {
        let mut history = history(usize::MAX);
        history.add_task(task("f", "first", "c0", Some("e")), true);
        history.add_executor(executor("f", "c0"));
        history.add_executor(executor("g", "d"));
        for number in 1..150 {
            history.add_task(task("f", "t", &format!("c{number}"), None), false);
        }
        assert_eq!(tasks_of(&history, "c0"), ["first"]);
        history.add_task(task("f", "t", "c150", None), false);
        check(&history);
        assert!(tasks_of(&history, "c0").is_empty());
        assert_eq!(history.tasks().count(), 150);
        assert_eq!(history.executors().map(|one| one.key.framework_id.as_str()).collect::<Vec<_>>(), ["g"]);
        // One whose end was forgotten meanwhile may still have a task to be acknowledged.
        history.add_task(task("f", "late", "c0", Some("e")), false);
        check(&history);
        assert_eq!(tasks_of(&history, "c0"), ["late"]);
        assert!(tasks_of(&history, "c1").is_empty());
    }

    #[test]
    fn the_newest_50_frameworks_are_kept_with_all_that_is_known_of_them() {
        let mut history = history(usize::MAX);
        for number in 0..51 {
            let id = format!("f{number}");
            history.add_task(task(&id, "t", &id, None), false);
            history.add_framework(framework(&id), |id| id == "f0");
            check(&history);
        }
        assert_eq!(history.frameworks().count(), 50);
        assert_eq!(tasks_of(&history, "f0"), ["t"], "it is back");
        history.add_framework(framework("f0"), |_| false);
        assert!(tasks_of(&history, "f1").is_empty());
        assert_eq!(tasks_of(&history, "f0"), ["t"]);
        history.add_framework(framework("f2"), |_| false);
        assert_eq!(history.frameworks().count(), 50, "it only moves");
        check(&history);
    }

    #[test]
    fn all_of_it_stays_below_a_bound_whatever_frameworks_write() {
        let mut history = history(1 << 20);
        for number in 0..200 {
            let mut one = task("f", &format!("t{number}"), &format!("c{}", number / 4), Some("e"));
            one.info.name = Some("n".repeat(40_000));
            history.add_task(one, true);
            if number % 4 == 3 {
                history.add_executor(executor("f", &format!("c{}", number / 4)));
            }
            check(&history);
        }
        let kept = history.tasks().count();
        assert!((20..30).contains(&kept), "{kept}");
        assert_eq!(history.tasks().last().unwrap().key.task_id, "t199");
        let mut huge = task("f", "huge", "c", None);
        huge.info.name = Some("n".repeat(2 << 20));
        history.add_task(huge, false);
        check(&history);
        assert_eq!(history.tasks().count() + history.executors().count(), 0, "it does not fit itself");
        assert!(history.runs.is_empty() && history.over.is_empty());
    }
}
