//! A state machine for tests inside this package: a list of all commands, answered with its length.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::machine::{Entry, StateMachine};

#[derive(Default)]
pub(crate) struct List(Arc<Mutex<Vec<Bytes>>>);

impl List {
    /// The list, as it grows.
    pub(crate) fn shared(&self) -> Arc<Mutex<Vec<Bytes>>> {
        Arc::clone(&self.0)
    }
}

impl StateMachine for List {
    type Frozen = Vec<Bytes>;

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        let mut list = self.0.lock().unwrap();
        let mut answers = Vec::new();
        for entry in entries {
            list.push(entry.command);
            answers.push(list.len().to_string().into());
        }
        answers
    }

    fn freeze(&self) -> Vec<Bytes> {
        self.0.lock().unwrap().clone()
    }

    fn write_snapshot(frozen: &Vec<Bytes>, out: &mut dyn Write) -> std::io::Result<()> {
        for command in frozen {
            out.write_all(&(command.len() as u64).to_le_bytes())?;
            out.write_all(command)?;
        }
        Ok(())
    }

    fn install(&mut self, input: &mut dyn Read, _last_index: u64) -> Result<(), anyhow::Error> {
        let mut all = Vec::new();
        input.read_to_end(&mut all)?;
        let mut rest = all.as_slice();
        let mut list = self.0.lock().unwrap();
        list.clear();
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let length = usize::try_from(u64::from_le_bytes(*length))?;
            anyhow::ensure!(length <= after.len(), "cut short");
            let (command, after) = after.split_at(length);
            list.push(Bytes::copy_from_slice(command));
            rest = after;
        }
        Ok(())
    }
}
