//! What the agent is told for no other purpose than to show it: whether it is being drained, and the operations on its resources that
//! are not acknowledged. Owns the bound of the latter; decides nothing by either.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use tepui_proto::tepui::agent_link::event;
use tepui_proto::v1;

use crate::Note;
use crate::agent::{Agent, Turn};
use crate::checkpoint::{Drain, Kind};

/// Bytes of operations that are kept to be shown.
const OPERATIONS_BYTES_MAX: usize = 32 << 20;

/// Framework and operation.
type Key = (String, String);

/// Operations, by framework and id.
#[derive(Default)]
pub(crate) struct Operations {
    known: BTreeMap<Key, Arc<v1::Operation>>,
    /// Of all of them.
    bytes: usize,
}

impl Operations {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<v1::Operation>> {
        self.known.values()
    }

    fn remove(&mut self, key: &Key) {
        if let Some(old) = self.known.remove(key) {
            self.bytes -= old.encoded_len();
        }
    }

    /// Returns whether there was room.
    fn insert(&mut self, key: Key, operation: v1::Operation) -> bool {
        self.remove(&key);
        let bytes = operation.encoded_len();
        let fits = self.bytes + bytes <= OPERATIONS_BYTES_MAX;
        if fits {
            self.bytes += bytes;
            self.known.insert(key, Arc::new(operation));
        }
        fits
    }

    /// Panics if the bytes are not those of the operations.
    pub(crate) fn check(&self) {
        let bytes: usize = self.known.values().map(|one| one.encoded_len()).sum();
        assert_eq!(self.bytes, bytes, "bytes of operations");
        assert!(bytes <= OPERATIONS_BYTES_MAX, "operations grew over their bound");
    }
}

impl Agent {
    pub(crate) fn on_update_drain(&mut self, turn: &mut Turn<'_>, update: event::UpdateDrain) {
        let drain = match update.config {
            Some(_) => Drain { config: update.config, start_wall_ms: update.start_wall_ms() },
            None => Drain::default(),
        };
        if drain == self.drain {
            return;
        }
        if drain.config.is_some() != self.drain.config.is_some() {
            turn.note(Note::Drain { draining: drain.config.is_some() });
        }
        self.drain = drain;
        self.checkpoint(turn, Kind::Drain(drain));
    }

    pub(crate) fn on_update_operations(&mut self, turn: &mut Turn<'_>, update: event::UpdateOperations) {
        if update.reset() {
            self.operations = Operations::default();
        }
        for name in update.settled {
            let framework_id = name.framework_id.and_then(|id| id.value).unwrap_or_default();
            let id = name.operation_id.and_then(|id| id.value).unwrap_or_default();
            self.operations.remove(&(framework_id, id));
        }
        let mut left_out = 0_usize;
        for operation in update.operations {
            let framework_id = operation.framework_id.as_ref().map_or("", |id| id.value()).to_owned();
            let id = operation.info.as_ref().and_then(|info| info.id.as_ref()).map_or("", |id| id.value());
            let key = (framework_id, id.to_owned());
            left_out += usize::from(!self.operations.insert(key, operation));
        }
        if left_out > 0 {
            turn.odd(format!("{left_out} operations are not shown: there are too many"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        ("f".to_owned(), format!("o{number}"))
    }

    #[test]
    fn operations_are_kept_up_to_a_bound_and_make_room_when_they_go() {
        let long = v1::Operation {
            uuid: Some(v1::Uuid { value: Some(vec![1; 1 << 20].into()) }),
            ..Default::default()
        };
        let mut operations = Operations::default();
        let kept = (0..100).filter(|number| operations.insert(key(*number), long.clone())).count();
        assert_eq!(kept, 31, "each is a little longer than a mebibyte");
        operations.check();
        assert!(operations.insert(key(0), long.clone()), "it takes the place of itself");
        operations.remove(&key(1));
        operations.remove(&key(77));
        assert!(operations.insert(key(99), long.clone()));
        assert!(!operations.insert(key(98), long));
        operations.check();
        assert_eq!(operations.iter().count(), 31);
    }
}
