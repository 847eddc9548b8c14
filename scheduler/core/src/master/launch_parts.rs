//! How a launch fits into the log: what of a task is written there, and how the tasks of one ACCEPT are divided.
//!
//! The log takes commands up to a size (16 MiB). A task that is too long goes in without its bytes, which stay with the leader;
//! tasks that are too long together go in one after the other. Owns those bounds and nothing of what a task means.

use prost::Message;
use tepui_proto::resources::Resources;

use super::pipeline::PendingTask;
use crate::digest::sha256;
use crate::registry::LaunchItem;

/// Longest proposal that has, or tells of, more than one task, bytes.
pub(super) const MAX_PART_BYTES: usize = 4 << 20;

/// Tasks that are proposed together.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) items: Vec<LaunchItem>,
    pub(super) tasks: Vec<PendingTask>,
    /// Without allocation.
    pub(super) amounts: Resources,
    bytes: usize,
}

/// Divides the tasks of one ACCEPT, in their order; a group stays together.
pub(super) fn parts(items: Vec<LaunchItem>, tasks: Vec<PendingTask>, amounts: Vec<Resources>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for ((item, task), amount) in items.into_iter().zip(tasks).zip(amounts) {
        let bytes = item.encoded_len();
        let belongs = |part: &Part| {
            let group = part.items.last().map_or(0, |before| before.group);
            (item.group != 0 && item.group == group) || part.bytes + bytes <= MAX_PART_BYTES
        };
        if !parts.last().is_some_and(belongs) {
            parts.push(Part::default());
        }
        let Some(part) = parts.last_mut() else { continue };
        part.bytes += bytes;
        part.items.push(item);
        part.tasks.push(task);
        part.amounts += &amount;
    }
    parts
}

/// Takes the bytes of a task that is longer than `limit` out of what is logged, and tells whether it did.
pub(super) fn log_without_bytes(item: &mut LaunchItem, limit: usize) -> bool {
    let Some(info) = item.info.take_if(|info| info.encoded_len() > limit) else { return false };
    let bytes = info.encode_to_vec();
    item.info_bytes = bytes.len() as u64;
    item.info_sha256 = sha256(&bytes);
    if let Some(task) = &mut item.task
        && task.encoded_len() > limit
    {
        // Nothing that decides anything: a new leader could not launch it anyway.
        (task.labels, task.discovery, task.container) = (None, None, None);
        task.health_check = None;
    }
    true
}
