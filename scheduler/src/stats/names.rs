//! The counters and their names. The names are Mesos' and never change.

use tepui_proto::v1::TaskState;

macro_rules! counters {
    ($($variant:ident => $name:literal,)*) => {
        /// A number that only grows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Counter {
            $($variant,)*
        }

        /// In the order of [`Counter`].
        pub(super) const NAMES: &[&str] = &[$($name,)*];
    };
}

counters! {
    MessagesRegisterFramework => "master/messages_register_framework",
    MessagesReregisterFramework => "master/messages_reregister_framework",
    MessagesUnregisterFramework => "master/messages_unregister_framework",
    MessagesKillTask => "master/messages_kill_task",
    MessagesLaunchTasks => "master/messages_launch_tasks",
    MessagesDeclineOffers => "master/messages_decline_offers",
    MessagesReviveOffers => "master/messages_revive_offers",
    MessagesSuppressOffers => "master/messages_suppress_offers",
    MessagesResourceRequest => "master/messages_resource_request",
    MessagesReconcileTasks => "master/messages_reconcile_tasks",
    MessagesReconcileOperations => "master/messages_reconcile_operations",
    MessagesFrameworkToExecutor => "master/messages_framework_to_executor",
    MessagesStatusUpdateAcknowledgement => "master/messages_status_update_acknowledgement",
    MessagesOperationStatusUpdateAcknowledgement =>
        "master/messages_operation_status_update_acknowledgement",
    MessagesRegisterSlave => "master/messages_register_slave",
    MessagesReregisterSlave => "master/messages_reregister_slave",
    MessagesUnregisterSlave => "master/messages_unregister_slave",
    MessagesStatusUpdate => "master/messages_status_update",
    MessagesExitedExecutor => "master/messages_exited_executor",
    MessagesExecutorToFramework => "master/messages_executor_to_framework",
    DroppedMessages => "master/dropped_messages",
    ValidFrameworkToExecutor => "master/valid_framework_to_executor_messages",
    InvalidFrameworkToExecutor => "master/invalid_framework_to_executor_messages",
    ValidExecutorToFramework => "master/valid_executor_to_framework_messages",
    InvalidExecutorToFramework => "master/invalid_executor_to_framework_messages",
    ValidStatusUpdates => "master/valid_status_updates",
    InvalidStatusUpdates => "master/invalid_status_updates",
    ValidStatusUpdateAcknowledgements => "master/valid_status_update_acknowledgements",
    InvalidStatusUpdateAcknowledgements => "master/invalid_status_update_acknowledgements",
    ValidOperationStatusUpdateAcknowledgements => "master/valid_operation_status_update_acknowledgements",
    InvalidOperationStatusUpdateAcknowledgements =>
        "master/invalid_operation_status_update_acknowledgements",
    SlaveRegistrations => "master/slave_registrations",
    SlaveReregistrations => "master/slave_reregistrations",
    SlaveRemovals => "master/slave_removals",
    SlaveRemovalsUnhealthy => "master/slave_removals/reason_unhealthy",
    SlaveRemovalsUnregistered => "master/slave_removals/reason_unregistered",
    RecoverySlaveRemovals => "master/recovery_slave_removals",
    TasksFinished => "master/tasks_finished",
    TasksFailed => "master/tasks_failed",
    TasksKilled => "master/tasks_killed",
    TasksLost => "master/tasks_lost",
    TasksError => "master/tasks_error",
    TasksDropped => "master/tasks_dropped",
    TasksGone => "master/tasks_gone",
    TasksGoneByOperator => "master/tasks_gone_by_operator",
}

/// Names of Mesos for what cannot happen here (`docs/protocol/metrics.md` says why); shown as zero, so that nobody's query fails.
pub(super) const ZEROS: &[&str] = &[
    "master/messages_deactivate_framework",
    "master/messages_authenticate",
    "master/messages_update_slave",
    "master/messages_operation_status_update",
    "master/valid_operation_status_updates",
    "master/invalid_operation_status_updates",
    "master/slave_removals/reason_registered",
];

/// The counter of tasks that ended in this state.
pub(super) fn ended(state: TaskState) -> Option<Counter> {
    match state {
        TaskState::TaskFinished => Some(Counter::TasksFinished),
        TaskState::TaskFailed => Some(Counter::TasksFailed),
        TaskState::TaskKilled => Some(Counter::TasksKilled),
        TaskState::TaskLost => Some(Counter::TasksLost),
        TaskState::TaskError => Some(Counter::TasksError),
        TaskState::TaskDropped => Some(Counter::TasksDropped),
        TaskState::TaskGone => Some(Counter::TasksGone),
        TaskState::TaskGoneByOperator => Some(Counter::TasksGoneByOperator),
        _ => None,
    }
}
