//! Looks at processes through /proc and signals them. Owns what tells one process from a later one with the same id.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::records::Started;

/// Variable by which all processes of a container can be found, whatever they did to their group and session.
pub(crate) const CONTAINER_VARIABLE: &str = "TEPUI_CONTAINER_ID";

/// What /proc says about a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// In clock ticks since boot.
    pub(crate) start_time: u64,
    /// It has ended and waits for its parent.
    pub(crate) zombie: bool,
    /// Time on a processor, its own and that of ended children it has waited for, in clock ticks.
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    pub(crate) threads: u32,
    /// Memory in use, in pages.
    pub(crate) rss_pages: u64,
}

/// Returns what is known of a process, or `None` if there is none.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain anything, parentheses too.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let number = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Some(Stat {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
        user_ticks: number(11).saturating_add(number(13)),
        system_ticks: number(12).saturating_add(number(14)),
        threads: u32::try_from(number(17)).unwrap_or(u32::MAX),
        rss_pages: number(21),
    })
}

/// Returns all processes of the host that this one may see.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .collect()
}

/// Returns all processes below this one, ended ones excepted.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<Stat>> = BTreeMap::new();
    for found in all() {
        children.entry(found.parent).or_default().push(found);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            open.push(child.pid);
            if !child.zombie {
                found.push(child.pid);
            }
        }
    }
    found
}

/// Returns the processes that a supervising process left behind: those of its session, and those that carry the mark of its
/// container.
pub(crate) fn leftovers(container_id: &str, started: Option<Started>) -> Vec<i32> {
    let mark = format!("{CONTAINER_VARIABLE}={container_id}");
    let own = std::process::id().cast_signed();
    all()
        .into_iter()
        .filter(|found| found.pid != own && !found.zombie)
        .filter(|found| {
            let in_session = started.is_some_and(|started| {
                found.session == started.pid && found.start_time >= started.start_time
            });
            in_session || has_variable(found.pid, &mark)
        })
        .map(|found| found.pid)
        .collect()
}

fn has_variable(pid: i32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// Returns whether this very process still runs.
pub(crate) fn is_alive(started: Started) -> bool {
    stat(started.pid).is_some_and(|found| found.start_time == started.start_time && !found.zombie)
}

/// Sends a signal; a process that is gone already is as good as signalled.
pub(crate) fn signal(pid: i32, signal: Signal) {
    // Ids below 2 mean everybody, one's own group, or the first process: never a task.
    if pid > 1 {
        let _gone = kill(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_itself_and_its_children() {
        let own = std::process::id().cast_signed();
        let me = stat(own).unwrap();
        assert!(is_alive(Started { pid: own, start_time: me.start_time }));
        assert!(!is_alive(Started { pid: own, start_time: me.start_time + 1 }));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        assert!(descendants(own).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(stat(pid).is_none());
    }
}
