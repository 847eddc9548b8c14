//! Replacing a master: a new one learns, then votes, then the old one is voted out and stops. One change at a time, by whoever leads; a
//! number is never used twice.

use super::event::Event;
use super::log::{Members, Payload};
use super::masters::Node;
use super::world::World;

/// Masters that there ever are in one run.
const MOST_MASTERS: usize = 9;
/// A learner that lacks no more entries than this may vote.
const CAUGHT_UP: usize = 20;

/// A replacement under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replacement {
    old: usize,
    pub(crate) new: Option<usize>,
}

impl World {
    /// The masters that vote, as far as that is committed.
    pub(crate) fn voters(&self) -> Members {
        let known = self.nodes.iter().filter(|node| !node.gone).max_by_key(|node| node.log.committed);
        known.map(|node| node.log.members().0.clone()).unwrap_or_default()
    }

    pub(crate) fn may_replace(&self) -> bool {
        self.nodes.len() < MOST_MASTERS
    }

    /// This master is to be replaced, as soon as nothing else is.
    pub(crate) fn plan_replacement(&mut self, old: usize) -> bool {
        if self.replacement.is_some() || !self.may_replace() || !self.voters().contains(&old) {
            return false;
        }
        self.note(|| format!("master {old} is to be replaced"));
        self.replacement = Some(Replacement { old, new: None });
        true
    }

    /// The next step of a replacement, if its time has come.
    pub(crate) fn replace_a_master(&mut self) {
        let Some(Replacement { old, new }) = self.replacement else {
            // One that cannot start is replaced as soon as that is possible.
            if let Some(node) = self.nodes.iter().position(|node| node.refused && !node.gone) {
                self.plan_replacement(node);
            }
            return;
        };
        let Some(leader) = self.serving_node() else { return };
        let log = &self.nodes[leader].log;
        let (members, at) = log.members();
        // What is under way must be committed first.
        if at > log.committed {
            return;
        }
        let mut members = members.clone();
        let Some(new) = new else {
            let number = self.nodes.len();
            self.note(|| format!("master {number} comes for {old}"));
            self.nodes.push(Node::new(number, members));
            self.replacement = Some(Replacement { old, new: Some(number) });
            self.after(0, Event::MasterTick { node: number, life: 0, wish: None });
            return;
        };
        if !members.contains(&new) && members.contains(&old) {
            let lead = self.nodes[leader].lead.as_ref();
            let has = lead.and_then(|lead| lead.progress.get(&new)).map_or(0, |known| known.matched);
            if self.nodes[new].up && has > 0 && has + CAUGHT_UP >= self.nodes[leader].log.len() {
                members.insert(new);
                self.append(leader, Payload::Members(members));
            }
        } else if members.remove(&old) {
            self.append(leader, Payload::Members(members));
        } else {
            self.report.count("master replaced");
            self.note(|| format!("master {old} is replaced by {new}"));
            self.crash_master(old, false);
            self.nodes[old].gone = true;
            self.replacement = None;
        }
    }
}
