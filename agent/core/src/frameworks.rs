//! What the agent knows of the frameworks of its tasks. Owns nothing beyond that; a framework without tasks is forgotten.

use tepui_proto::v1;

use crate::TaskKey;
use crate::agent::{Agent, Turn};
use crate::checkpoint::Kind;

impl Agent {
    pub(crate) fn on_update_framework(&mut self, turn: &mut Turn<'_>, info: v1::FrameworkInfo) {
        let id = info.id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
        if self.frameworks.get(&id).is_some_and(|known| *known != info) {
            self.checkpoint(turn, Kind::Framework(Box::new(info.clone())));
            self.frameworks.insert(id, info);
        }
    }

    pub(crate) fn has_capability(&self, key: &TaskKey, wanted: v1::framework_info::capability::Type) -> bool {
        self.frameworks
            .get(&key.framework_id)
            .is_some_and(|info| info.capabilities.iter().any(|capability| capability.r#type() == wanted))
    }
}
