//! The replicated state without a master around it: applies what a log holds and shows it to nobody.
//!
//! Owns the refusal of a state that needs a newer build than this one.

use std::io::{Read, Write};

use bytes::Bytes;
use tepui_raft_store::{Entry, StateMachine};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::registry::decode_envelope;

/// Says that this build is too old for a state, if it is.
///
/// # Errors
/// Names both levels.
pub(crate) fn check_level(registry: &Registry, own: u32) -> Result<(), String> {
    let needed = registry.feature_level;
    if needed <= own {
        return Ok(());
    }
    Err(format!(
        "the cluster is at feature level {needed}, this build can only do {own}: it needs a newer build, levels never fall"
    ))
}

/// Reads the state of a snapshot.
pub(crate) fn read(input: &mut dyn Read, level: u32) -> Result<Registry, anyhow::Error> {
    let registry = Registry::read_snapshot(input)?;
    check_level(&registry, level).map_err(anyhow::Error::msg)?;
    Ok(registry)
}

/// A state machine for reading a log to its end.
pub(crate) struct Replay {
    level: u32,
    registry: Registry,
    broken: Option<String>,
}

impl Replay {
    pub(crate) fn new(level: u32) -> Replay {
        Replay { level, registry: Registry::default(), broken: None }
    }

    /// The state after the last entry.
    ///
    /// # Errors
    /// Names the entry that could not be understood.
    pub(crate) fn finish(self) -> Result<Registry, String> {
        self.broken.map_or(Ok(self.registry), Err)
    }
}

impl StateMachine for Replay {
    type Frozen = Registry;

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        let answers = vec![Bytes::new(); entries.len()];
        for entry in entries {
            if self.broken.is_some() {
                break;
            }
            let applied = decode_envelope(entry.command).map_err(|error| error.to_string());
            let applied = applied.and_then(|envelope| {
                self.registry.apply(&envelope);
                check_level(&self.registry, self.level)
            });
            self.broken = applied.err().map(|error| format!("log entry {}: {error}", entry.index));
        }
        answers
    }

    fn freeze(&self) -> Registry {
        self.registry.clone()
    }

    fn write_snapshot(frozen: &Registry, out: &mut dyn Write) -> std::io::Result<()> {
        frozen.write_snapshot(out)
    }

    fn install(&mut self, input: &mut dyn Read, _last_index: u64) -> Result<(), anyhow::Error> {
        self.registry = read(input, self.level)?;
        Ok(())
    }
}
