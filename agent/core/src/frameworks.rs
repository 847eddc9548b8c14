//! What the agent knows of the frameworks of its tasks and executors. One without either is forgotten but for a line in the
//! history.

use tepui_proto::v1;

use crate::TaskKey;
use crate::agent::{Agent, Turn};
use crate::checkpoint::Kind;

impl Agent {
    /// Moves a framework to the history.
    fn forget_framework(&mut self, framework_id: &str) {
        let Some(info) = self.frameworks.remove(framework_id) else { return };
        let known = &self.frameworks;
        self.history.add_framework(info, |id| known.contains_key(id));
    }

    pub(crate) fn on_update_framework(&mut self, turn: &mut Turn<'_>, info: v1::FrameworkInfo) {
        let id = info.id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
        if self.frameworks.get(&id).is_some_and(|known| *known != info) {
            self.checkpoint(turn, Kind::Framework(Box::new(info.clone())));
            self.frameworks.insert(id, info);
        }
    }

    pub(crate) fn forget_framework_without_use(&mut self, id: &str) {
        let has_tasks = self.tasks.keys().any(|key| key.framework_id == id);
        if !has_tasks && !self.executors.keys().any(|key| key.framework_id == id) {
            self.forget_framework(id);
        }
    }

    /// Returns whether what a framework runs here outlives the agent.
    pub(crate) fn checkpoints(&self, framework_id: &str) -> bool {
        self.frameworks.get(framework_id).is_some_and(v1::FrameworkInfo::checkpoint)
    }

    pub(crate) fn has_capability(&self, key: &TaskKey, wanted: v1::framework_info::capability::Type) -> bool {
        self.frameworks
            .get(&key.framework_id)
            .is_some_and(|info| info.capabilities.iter().any(|capability| capability.r#type() == wanted))
    }
}
