//! The replicated state machine: decodes committed entries, applies them to the Registry, and shows the result on the board.
//!
//! Owns the one Registry of this replica. Decides nothing: what an operation means is `registry/apply.rs` in the core.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tepui_raft_store::{Entry, NodeId, StateMachine};
use tepui_scheduler_core::registry::decode_envelope;
use tepui_scheduler_core::{Operation, Outcome, Registry};

use crate::offline::state::{self, check_level};
use crate::runtime::audit::{Auditor, Findings};
use crate::runtime::board::{Board, Own, Published};

/// Applies entries for one replica.
pub(crate) struct Registrar {
    node_id: NodeId,
    /// What this master can do: a state that needs more is not applied.
    level: u32,
    registry: Registry,
    board: Arc<Board>,
    auditor: Auditor,
    /// For tests: the state goes astray once this is true.
    astray: Arc<AtomicBool>,
    /// Set when an entry could not be understood. From then on nothing is applied and no snapshot is written: a replica
    /// that skipped an entry would differ from the others without anyone noticing.
    broken: Option<String>,
}

/// What a snapshot is written from.
pub(crate) struct Frozen {
    registry: Registry,
    broken: Option<String>,
}

impl Registrar {
    /// An empty state machine of replica `node_id`, which can do `level`.
    pub(crate) fn new(node_id: NodeId, level: u32, board: Arc<Board>, astray: Arc<AtomicBool>) -> Registrar {
        let auditor = Auditor::start(node_id, board.clone());
        Registrar { node_id, level, registry: Registry::default(), board, auditor, astray, broken: None }
    }

    /// What was found about the state, for whoever asks.
    pub(crate) fn findings(&self) -> Arc<Findings> {
        self.auditor.findings.clone()
    }

    fn go_astray(&mut self) {
        if self.astray.load(Ordering::Relaxed) && self.astray.swap(false, Ordering::Relaxed) {
            self.registry.gone_agents.insert("astray".into(), 0);
        }
    }

    fn published(&self, applied_index: u64) -> Published {
        Published { registry: self.registry.clone(), applied_index }
    }
}

impl StateMachine for Registrar {
    type Frozen = Frozen;

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        let answers = vec![Bytes::new(); entries.len()];
        let mut own = Vec::new();
        let mut changes = Vec::new();
        let mut last_index = None;
        // Whoever differs from the others must not be asked for its state, nor write it down.
        self.broken = self.broken.take().or_else(|| self.auditor.findings.odd());
        for entry in entries {
            if self.broken.is_some() {
                break;
            }
            let envelope = match decode_envelope(entry.command.clone()) {
                Ok(envelope) => envelope,
                Err(error) => {
                    let reason = format!("log entry {} cannot be applied: {error}", entry.index);
                    self.board.fail(reason.clone());
                    self.broken = Some(reason);
                    break;
                }
            };
            let (outcome, changed) = self.registry.apply(&envelope);
            if let Err(reason) = check_level(&self.registry, self.level) {
                self.board.fail(reason.clone());
                self.broken = Some(reason);
                break;
            }
            self.go_astray();
            if let (Some(Operation::Checkpoint(checkpoint)), Outcome::Done) = (&envelope.operation, &outcome)
            {
                self.auditor.passed(checkpoint, &self.registry);
            }
            if envelope.node_id == self.node_id {
                let began = match &envelope.operation {
                    Some(Operation::TakeLead(take)) => Some(take.master_id.clone()),
                    _ => None,
                };
                own.push(Own { proposal: envelope.proposal, outcome, began });
            }
            changes.extend(changed);
            last_index = Some(entry.index);
        }
        if let Some(index) = last_index {
            self.board.publish(self.published(index), own, &changes);
        }
        answers
    }

    fn freeze(&self) -> Frozen {
        let broken = self.broken.clone().or_else(|| self.auditor.findings.odd());
        Frozen { registry: self.registry.clone(), broken }
    }

    fn write_snapshot(frozen: &Frozen, out: &mut dyn Write) -> std::io::Result<()> {
        match &frozen.broken {
            Some(reason) => Err(std::io::Error::other(reason.clone())),
            None => frozen.registry.write_snapshot(out),
        }
    }

    fn answer(&self, question: &[u8]) -> Bytes {
        self.auditor.findings.answer(self.node_id, question)
    }

    fn install(&mut self, input: &mut dyn Read, last_index: u64) -> Result<(), anyhow::Error> {
        self.registry = state::read(input, self.level)?;
        self.auditor.reset(&self.registry);
        self.board.reset(self.published(last_index));
        Ok(())
    }
}
