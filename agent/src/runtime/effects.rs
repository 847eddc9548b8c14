//! Carries out what the core wants. One arm per effect; the work itself is done elsewhere.

use tepui_agent_core::Effect;
use tepui_proto::tepui::agent_link::Call;
use tokio::sync::mpsc::error::TrySendError;

use super::EventLoop;
use super::handle::Outgoing;
use super::observed::Count;
use crate::Error;
use crate::containerizer::Owner;

/// What a message takes of the room at least, so that the number of those that wait is bounded as well.
const MESSAGE_KIB_MIN: usize = 64;

impl EventLoop {
    pub(super) async fn carry_out(&mut self, effect: Effect) -> Result<(), Error> {
        self.observed.see_effect(&effect);
        match effect {
            Effect::Checkpoint { id, record } => {
                if !self.journal.append(id, record).await {
                    return Err(Error::Ended("journal"));
                }
            }
            Effect::Send(call) => self.send(*call),
            Effect::Reconnect { reason } => {
                tracing::info!(reason, "left the master");
                // The attempt sees that nobody wants to send any more.
                self.calls = None;
            }
            Effect::FollowMasters(masters) => {
                self.masters.send_replace(masters);
            }
            Effect::Launch(launch) => self.containers.launch(*launch),
            Effect::Kill { task, grace_ms } => self.containers.kill(&Owner::Task(task), grace_ms),
            Effect::Volumes { destroy, create } => self.containers.volumes(&destroy, &create),
            Effect::LaunchExecutor(launch) => self.containers.launch(*launch),
            Effect::KillExecutor { executor, grace_ms } => {
                self.containers.kill(&Owner::Executor(executor), grace_ms);
            }
            Effect::ShowVolumes(show) => self.containers.show_volumes(*show),
            Effect::ExecutorForgotten { executor, container_id } => {
                tracing::debug!(%executor, container_id, "executor forgotten");
                self.containers.forget(container_id);
            }
            Effect::ToExecutor { connection, event } => self.executors.push(connection, &event),
            Effect::CloseExecutor { connection } => self.executors.close(connection),
            Effect::Forgotten { task, container_id } => {
                tracing::debug!(%task, container_id, "task forgotten");
                self.containers.forget(container_id);
            }
            Effect::WakeAt { mono_ms } => self.set_wake(mono_ms),
            Effect::Shutdown { message } => self.leaving = Some(message),
            Effect::Note(note) => {
                self.observed.see_note(&note);
                self.notes.write(&note, self.clock.now().mono_ms);
            }
        }
        Ok(())
    }

    fn send(&mut self, call: Call) {
        let Some(calls) = &self.calls else { return };
        let room = match &call.message {
            None => None,
            Some(message) => {
                // Executors may say more than the master takes: what is only best effort must not cost the link.
                let kib = message.data().len().div_ceil(1024).max(MESSAGE_KIB_MIN);
                let room = u32::try_from(kib).ok();
                let room = room.and_then(|kib| self.message_room.clone().try_acquire_many_owned(kib).ok());
                if room.is_none() {
                    self.observed.add(Count::DroppedMessages, 1);
                    return;
                }
                self.observed.add(Count::Messages, 1);
                room
            }
        };
        match calls.try_send(Outgoing { call, _room: room }) {
            Ok(()) => return,
            // A master that does not take calls as fast as they come is left: the next registration tells it everything.
            Err(TrySendError::Full(_)) => tracing::warn!("the master does not take calls fast enough"),
            Err(TrySendError::Closed(_)) => {}
        }
        self.calls = None;
        self.link_lost = true;
    }
}
