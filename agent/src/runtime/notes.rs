//! What the core notes, in the log. Owns that executors and frameworks cannot fill it: of notes that they cause as often as they like a
//! few lines a second are written, and the number of the others.

use tepui_agent_core::Note;
use tepui_proto::lines::Lines;

/// Enough to see who it is.
const LINES_PER_SECOND: u32 = 10;

pub(super) struct Notes {
    updates: Lines,
    messages: Lines,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self { updates: Lines::new(LINES_PER_SECOND), messages: Lines::new(LINES_PER_SECOND) }
    }

    /// Writes a note, if there is room for one of its kind.
    pub(super) fn write(&mut self, note: &Note, now_ms: u64) {
        self.catch_up(now_ms);
        if self.lines(note).is_none_or(|lines| lines.pass(now_ms)) {
            log(note);
        }
    }

    /// Tells how many were left out in a second that is over.
    pub(super) fn catch_up(&mut self, now_ms: u64) {
        if let Some(more) = self.updates.left_out(now_ms) {
            tracing::warn!(
                more,
                "executors report of tasks that they do not run, more often than is written here"
            );
        }
        if let Some(more) = self.messages.left_out(now_ms) {
            tracing::warn!(more, "messages are dropped, more often than is written here");
        }
    }

    /// Only of what peers can bring about at any pace.
    fn lines(&mut self, note: &Note) -> Option<&mut Lines> {
        match note {
            Note::UpdateRefused { .. } => Some(&mut self.updates),
            Note::MessageDropped { .. } => Some(&mut self.messages),
            _ => None,
        }
    }
}

fn log(note: &Note) {
    match note {
        Note::TaskState { task, state } => tracing::info!(%task, state = state.as_str_name(), "task state"),
        Note::TaskAccepted { task, launch_seq } => tracing::debug!(%task, launch_seq, "task accepted"),
        note if note.is_warning() => tracing::warn!("{note}"),
        note => tracing::info!("{note}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tepui_agent_core::{ExecutorKey, TaskKey};
    use tepui_proto::v1::TaskState;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_of_refused_updates_is_a_few_lines_and_a_count() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let refused = Note::UpdateRefused {
            executor: ExecutorKey::new("f", "e"),
            task_id: "stranger".to_owned(),
            state: TaskState::TaskRunning,
        };
        let dropped =
            Note::MessageDropped { framework_id: "f".to_owned(), executor_id: "chatterbox".to_owned() };
        let state = Note::TaskState { task: TaskKey::new("f", "quiet"), state: TaskState::TaskFinished };
        tracing::subscriber::with_default(subscriber, || {
            let mut notes = Notes::new();
            for _ in 0..10_000 {
                notes.write(&refused, 5_000);
                notes.write(&dropped, 5_000);
            }
            notes.write(&state, 5_001);
            notes.catch_up(5_999);
            notes.catch_up(6_000);
            notes.catch_up(6_001);
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let count = |wanted: &str| text.lines().filter(|line| line.contains(wanted)).count();
        assert_eq!((count("stranger"), count("chatterbox"), count("quiet")), (10, 10, 1), "{text}");
        assert_eq!(count("more=9990"), 2, "{text}");
    }
}
