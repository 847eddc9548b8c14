//! Which counter a call of a framework or an agent belongs to.

use tepui_proto::tepui::agent_link;
use tepui_proto::tepui::agent_link::call::Type as AgentType;
use tepui_proto::v1::scheduler::Call;
use tepui_proto::v1::scheduler::call::Type;
use tepui_scheduler_core::Reply;

use super::{Counter, Stats};

impl Stats {
    /// A call of a framework arrived that is right in itself.
    pub(crate) fn call(&self, call: &Call, kind: Type) {
        let counter = match kind {
            Type::Subscribe => {
                let info = call.subscribe.as_ref().and_then(|it| it.framework_info.as_ref());
                let id = info.and_then(|info| info.id.as_ref()).and_then(|id| id.value.as_deref());
                match id.unwrap_or_default() {
                    "" => Some(Counter::MessagesRegisterFramework),
                    _ => Some(Counter::MessagesReregisterFramework),
                }
            }
            Type::Teardown => Some(Counter::MessagesUnregisterFramework),
            Type::Accept => Some(Counter::MessagesLaunchTasks),
            Type::Decline => Some(Counter::MessagesDeclineOffers),
            Type::Kill => Some(Counter::MessagesKillTask),
            Type::Revive => Some(Counter::MessagesReviveOffers),
            Type::Suppress => Some(Counter::MessagesSuppressOffers),
            Type::Request => Some(Counter::MessagesResourceRequest),
            Type::Reconcile => Some(Counter::MessagesReconcileTasks),
            Type::ReconcileOperations => Some(Counter::MessagesReconcileOperations),
            Type::Message => Some(Counter::MessagesFrameworkToExecutor),
            Type::Acknowledge => Some(Counter::MessagesStatusUpdateAcknowledgement),
            Type::AcknowledgeOperationStatus => Some(Counter::MessagesOperationStatusUpdateAcknowledgement),
            _ => None,
        };
        counter.into_iter().for_each(|counter| self.count(counter));
        self.frameworks.call(call, kind);
    }

    /// What the core said to a call of a framework.
    pub(crate) fn answered(&self, kind: Type, reply: &Reply) {
        let rejected = matches!(reply, Reply::Rejected { .. });
        // An acknowledgement that is answered 202 and dropped counts as Mesos counts it.
        let dropped = matches!(reply, Reply::Warned(_))
            && matches!(kind, Type::Acknowledge | Type::AcknowledgeOperationStatus);
        let valid = !rejected && !dropped;
        let counter = match (kind, valid) {
            (Type::Message, true) => Counter::ValidFrameworkToExecutor,
            (Type::Message, false) => Counter::InvalidFrameworkToExecutor,
            (Type::Acknowledge, true) => Counter::ValidStatusUpdateAcknowledgements,
            (Type::Acknowledge, false) => Counter::InvalidStatusUpdateAcknowledgements,
            (Type::AcknowledgeOperationStatus, true) => Counter::ValidOperationStatusUpdateAcknowledgements,
            (Type::AcknowledgeOperationStatus, false) => {
                Counter::InvalidOperationStatusUpdateAcknowledgements
            }
            (_, true) => return,
            (_, false) => Counter::DroppedMessages,
        };
        self.count(counter);
    }

    /// A call of an agent arrived.
    pub(crate) fn agent_call(&self, call: &agent_link::Call, kind: AgentType) {
        let counter = match kind {
            AgentType::Register => {
                let info = call.register.as_ref().and_then(|register| register.agent_info.as_ref());
                let id = info.and_then(|info| info.id.as_ref()).and_then(|id| id.value.as_deref());
                match id.unwrap_or_default() {
                    "" => Counter::MessagesRegisterSlave,
                    _ => Counter::MessagesReregisterSlave,
                }
            }
            AgentType::Attach => Counter::MessagesReregisterSlave,
            AgentType::Update => Counter::MessagesStatusUpdate,
            AgentType::ExecutorExited => Counter::MessagesExitedExecutor,
            AgentType::Message => Counter::MessagesExecutorToFramework,
            AgentType::Unregister => Counter::MessagesUnregisterSlave,
            _ => return,
        };
        self.count(counter);
    }

    /// What the core said to a call of an agent.
    pub(crate) fn agent_answered(&self, kind: AgentType, reply: &Reply) {
        let valid = !matches!(reply, Reply::Rejected { .. });
        let counter = match (kind, valid) {
            (AgentType::Update, true) => Counter::ValidStatusUpdates,
            (AgentType::Update, false) => Counter::InvalidStatusUpdates,
            (AgentType::Message, true) => Counter::ValidExecutorToFramework,
            (AgentType::Message, false) => Counter::InvalidExecutorToFramework,
            (_, true) => return,
            (_, false) => Counter::DroppedMessages,
        };
        self.count(counter);
    }
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1;

    use super::*;

    fn number(stats: &Stats, name: &str) -> f64 {
        let name = format!("master/{name}");
        let none = tepui_scheduler_core::Registry::default();
        stats.numbers(&none).into_iter().find(|(known, _)| *known == name).map(|(_, number)| number).unwrap()
    }

    #[test]
    fn calls_are_counted_by_kind_and_by_what_became_of_them() {
        let stats = Stats::new(true);
        stats.call(&Call::default(), Type::Subscribe);
        let info =
            v1::FrameworkInfo { id: Some(v1::FrameworkId { value: Some("f".into()) }), ..Default::default() };
        let subscribe = v1::scheduler::call::Subscribe { framework_info: Some(info), ..Default::default() };
        stats.call(&Call { subscribe: Some(subscribe), ..Default::default() }, Type::Subscribe);
        stats.call(&Call::default(), Type::Acknowledge);
        stats.answered(Type::Acknowledge, &Reply::Accepted);
        stats.answered(Type::Acknowledge, &Reply::Rejected { status: 400, reason: String::new() });
        stats.answered(Type::AcknowledgeOperationStatus, &Reply::Warned("no such operation".to_owned()));
        stats.answered(Type::Kill, &Reply::Warned("no such task".to_owned()));
        stats.answered(Type::Kill, &Reply::Rejected { status: 400, reason: String::new() });
        stats.agent_call(&agent_link::Call::default(), AgentType::Update);
        stats.agent_answered(AgentType::Update, &Reply::Accepted);
        for name in [
            "messages_register_framework",
            "messages_reregister_framework",
            "messages_status_update_acknowledgement",
            "valid_status_update_acknowledgements",
            "invalid_status_update_acknowledgements",
            "invalid_operation_status_update_acknowledgements",
            "dropped_messages",
            "messages_status_update",
            "valid_status_updates",
        ] {
            assert_eq!(number(&stats, name), 1.0, "{name}");
        }
        assert_eq!(number(&stats, "invalid_status_updates"), 0.0);
    }
}
