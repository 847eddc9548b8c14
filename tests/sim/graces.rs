//! The law of patience, read from the log: after a change of leadership no agent is called lost before its full grace is over, unless it
//! was seen under the new leader and went away again.

use std::collections::BTreeSet;

use tepui_scheduler_core as core;
use tepui_scheduler_core::{Operation, Outcome};

#[derive(Debug, Default)]
pub(crate) struct Graces {
    /// Cluster time at which the leadership began.
    since_ms: u64,
    /// Agents that this leadership has seen.
    seen: BTreeSet<String>,
}

impl Graces {
    /// Takes an entry in, with the Registry behind it.
    ///
    /// # Errors
    /// An agent was given up too soon.
    pub(crate) fn take(
        &mut self,
        registry: &core::Registry,
        envelope: &core::Envelope,
        outcome: &Outcome,
    ) -> Result<(), String> {
        match (&envelope.operation, outcome) {
            (_, Outcome::TookLead { .. }) => {
                *self = Graces { since_ms: registry.cluster_ms, seen: BTreeSet::new() };
            }
            (Some(Operation::AdmitAgent(admit)), Outcome::Done) => {
                let id = admit.info.as_ref().and_then(|info| info.id.as_ref());
                self.seen.extend(id.map(|id| id.value().to_owned()));
            }
            (Some(Operation::ReregisterAgent(word)), Outcome::Reregistered(_)) => {
                let id = word.info.as_ref().and_then(|info| info.id.as_ref());
                self.seen.extend(id.map(|id| id.value().to_owned()));
            }
            (Some(Operation::AttachAgents(attach)), Outcome::Attached(results)) => {
                let done = attach.agents.iter().zip(results).filter(|(_, result)| result.is_ok());
                self.seen.extend(done.map(|(one, _)| one.agent_id.clone()));
            }
            (Some(Operation::MarkUnreachable(mark)), Outcome::Lost(_)) => {
                let grace_ms = core::Config::default().agent_grace_ms;
                let waited_ms = registry.cluster_ms.saturating_sub(self.since_ms);
                if !self.seen.contains(&mark.agent_id) && waited_ms < grace_ms {
                    return Err(format!(
                        "agent {} was given up {waited_ms} ms after a leadership began",
                        mark.agent_id
                    ));
                }
            }
            _other => {}
        }
        Ok(())
    }
}
