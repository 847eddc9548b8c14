//! How the steps of one ACCEPT fit into the log: conversions and launches in their order, cut into proposals of a bounded size.
//!
//! Whatever is cut is proposed one after the other, and each step is judged by what the ones before it left.

use prost::Message;
use tepui_proto::resources::Resources;

use super::pipeline::{PendingOperation, PendingTask};
use crate::ids::{AgentId, FrameworkId};
use crate::registry::{Convert, Launch, LaunchItem, Operate, OperateStep, operate_step::Step};

/// Longest proposal that has more than one step, bytes.
const MAX_PART_BYTES: usize = 4 << 20;

/// One thing to be done.
#[derive(Debug)]
pub(super) enum Entry {
    Launch(Box<LaunchItem>),
    Convert(Box<Convert>),
}

impl Entry {
    pub(super) fn into_launch(self) -> Option<LaunchItem> {
        match self {
            Self::Launch(item) => Some(*item),
            Self::Convert(_) => None,
        }
    }

    /// Whether this is launched together with the last step of `part`, or not at all.
    fn same_group(&self, part: &Part) -> bool {
        let last = part.operate.steps.last().and_then(|step| match &step.step {
            Some(Step::Launch(launch)) => launch.tasks.last(),
            _ => None,
        });
        match (self, last) {
            (Self::Launch(item), Some(before)) => item.group != 0 && item.group == before.group,
            _ => false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Launch(item) => item.encoded_len(),
            Self::Convert(convert) => convert.encoded_len(),
        }
    }
}

/// Steps that are proposed together.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) operate: Operate,
    pub(super) tasks: Vec<PendingTask>,
    pub(super) operations: Vec<PendingOperation>,
    /// Held until this part is applied, without allocation.
    pub(super) amounts: Resources,
    bytes: usize,
}

/// Divides the steps of one ACCEPT. The last part holds all of `amounts`: what is made by the first may be used by it.
pub(super) fn parts(
    framework: &FrameworkId,
    agent: &AgentId,
    entries: Vec<Entry>,
    tasks: Vec<PendingTask>,
    operations: Vec<PendingOperation>,
    amounts: &Resources,
) -> Vec<Part> {
    let (framework_id, agent_id) = (framework.as_str(), agent.as_str());
    let (mut tasks, mut operations) = (tasks.into_iter(), operations.into_iter());
    let mut parts: Vec<Part> = Vec::new();
    for entry in entries {
        let bytes = entry.bytes();
        let belongs = |part: &Part| part.bytes + bytes <= MAX_PART_BYTES || entry.same_group(part);
        if !parts.last().is_some_and(belongs) {
            let operate = Operate {
                framework_id: framework_id.to_owned(),
                agent_id: agent_id.to_owned(),
                steps: Vec::new(),
            };
            parts.push(Part { operate, ..Part::default() });
        }
        let Some(part) = parts.last_mut() else { continue };
        part.bytes += bytes;
        let steps = &mut part.operate.steps;
        match entry {
            Entry::Convert(convert) => {
                part.operations.extend(operations.next());
                steps.push(OperateStep { step: Some(Step::Convert(*convert)) });
            }
            Entry::Launch(item) => {
                part.tasks.extend(tasks.next());
                match steps.last_mut() {
                    Some(OperateStep { step: Some(Step::Launch(launch)) }) => launch.tasks.push(*item),
                    _ => {
                        let launch = Launch {
                            framework_id: framework_id.to_owned(),
                            agent_id: agent_id.to_owned(),
                            tasks: vec![*item],
                        };
                        steps.push(OperateStep { step: Some(Step::Launch(launch)) });
                    }
                }
            }
        }
    }
    if let Some(last) = parts.last_mut() {
        last.amounts.clone_from(amounts);
    }
    parts
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1;

    use super::*;

    #[test]
    fn steps_keep_their_order_and_long_ones_are_cut() {
        let launch = |bytes: usize| {
            let task = v1::Task { name: Some("x".repeat(bytes)), ..Default::default() };
            Entry::Launch(Box::new(LaunchItem { task: Some(task), ..Default::default() }))
        };
        let convert = || Entry::Convert(Box::default());
        let task = || PendingTask {
            key: crate::ids::TaskKey::new("f", "t"),
            info: Default::default(),
            killed: false,
            group: 0,
        };
        let entries =
            vec![launch(1), launch(1), convert(), launch(3 << 20), convert(), launch(3 << 20), launch(1)];
        let tasks = (0..5).map(|_| task()).collect();
        let operations = (0..2).map(|_| PendingOperation { id: None, kind: Default::default() }).collect();
        let amounts = Resources::parse("cpus:1").unwrap();
        let parts = parts(&"f".into(), &"a".into(), entries, tasks, operations, &amounts);
        let shape = |part: &Part| {
            let steps = part.operate.steps.iter().map(|step| match &step.step {
                Some(Step::Launch(launch)) => launch.tasks.len(),
                _ => 0,
            });
            (steps.collect::<Vec<_>>(), part.tasks.len(), part.operations.len(), part.amounts.is_empty())
        };
        let shapes: Vec<_> = parts.iter().map(shape).collect();
        assert_eq!(shapes, [(vec![2, 0, 1, 0], 3, 2, true), (vec![2], 2, 0, false)]);
    }
}
