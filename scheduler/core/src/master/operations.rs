//! Operations of frameworks on resources: folded into one proposal with the launches that need them, and reported until the
//! framework has said that it knows.
//!
//! The Registry decides what is reserved, so an operation has ended when it is committed: FINISHED, or DROPPED if it came too late.
//! What became of one that has an id is kept in the Registry; whoever leads repeats it.

use prost::Message;
use tepui_proto::resources::{ReservationFormat, Resources};
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::offer::{Operation, operation};
use tepui_proto::v1::scheduler::{Event, call, event};
use tepui_proto::v1::{self, OperationState};

use super::accept::Fold;
use super::core::Master;
use super::pipeline::{PendingLaunch, PendingOperation};
use super::steps::Entry;
use super::timers::Timer;
use crate::conversion;
use crate::ids::{AgentId, FrameworkId};
use crate::registry::{
    Convert, Observation, ObservedOperationAcknowledgement, OperationKey, OperationRecord, Outcome,
};
use crate::validation::{self, Asker};

/// An operation above this size is refused: it enters the log, and its record if it has an id.
const MAX_OPERATION_BYTES: usize = 256 * 1024;

impl Master {
    /// RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME, SHRINK_VOLUME: a bad one is dropped alone.
    pub(super) fn fold_conversion(&mut self, fold: &mut Fold, operation: &Operation) {
        match self.check_conversion(fold, operation) {
            Ok(convert) => {
                let kind = operation.r#type();
                self.operation_proposed(kind);
                fold.operations.push(PendingOperation { id: operation.id.clone(), kind });
                fold.entries.push(Entry::Convert(Box::new(convert)));
                if operation.r#type() == operation::Type::Destroy {
                    self.withdraw_offers_of_volumes(&fold.agent, operation);
                }
            }
            Err(reason) => {
                let agent = fold.agent.clone();
                self.operation_refused(operation.r#type());
                self.operation_error(&fold.framework, operation.id.clone(), Some(&agent), &reason);
            }
        }
    }

    fn check_conversion(&mut self, fold: &mut Fold, operation: &Operation) -> Result<Convert, String> {
        if operation.encoded_len() > MAX_OPERATION_BYTES {
            return Err(format!("the operation is larger than {MAX_OPERATION_BYTES} bytes"));
        }
        let asker = Asker::Framework { record: &fold.record, role: &fold.role };
        let checked = validation::operation(operation, asker).map_err(|rejection| rejection.reason)?;
        let read = |list: &[v1::Resource]| Resources::from_proto(list).map_err(|error| error.to_string());
        let (consumed, converted) = (read(&checked.consumed)?, read(&checked.converted)?);
        let wanted = consumed.allocate(&fold.role);
        if !fold.remaining.contains(&wanted) {
            let left = &fold.remaining;
            return Err(format!(
                "the operation needs {wanted}, more than the {left} that the offers have left"
            ));
        }
        if let Some(volume) = self.shared_in_use(fold, &consumed) {
            return Err(format!("the volume '{volume}' is in use"));
        }
        let total = fold.total.saturating_sub(&consumed) + &converted;
        if let Some(((role, id), _)) = conversion::volumes(&total).into_iter().find(|(_, copies)| *copies > 1)
        {
            return Err(format!("the agent has a volume '{id}' of role '{role}' already"));
        }
        let record = match &operation.id {
            None => None,
            Some(id) => Some(self.operation_record(fold, id, operation, &checked.converted)?),
        };
        fold.total = total;
        fold.remaining = fold.remaining.saturating_sub(&wanted);
        if checked.usable {
            fold.remaining += &converted.allocate(&fold.role);
        }
        Ok(Convert {
            consumed: checked.consumed,
            converted: checked.converted,
            operation: record.map(Box::new),
        })
    }

    /// A shared volume among these that somebody uses or is about to use.
    fn shared_in_use(&self, fold: &Fold, consumed: &Resources) -> Option<String> {
        let shared = consumed.shared();
        if shared.is_empty() {
            return None;
        }
        let charged = self.registry.charges.get(&fold.agent).map(|charges| charges.total.clone());
        let pending = self.pipeline.launches_on(&fold.agent).flat_map(|launch| &launch.tasks);
        let pending =
            pending.chain(&fold.tasks).map(|task| crate::registry::unallocated(&task.info.resources));
        let used = pending.chain(charged).fold(Resources::new(), |sum, one| sum + &one);
        shared
            .iter()
            .find(|(identity, _)| used.iter().any(|(other, _)| other == *identity))
            .map(|(identity, _)| identity.persistence_id().unwrap_or_default().to_owned())
    }

    fn operation_record(
        &mut self,
        fold: &Fold,
        id: &v1::OperationId,
        operation: &Operation,
        converted: &[v1::Resource],
    ) -> Result<OperationRecord, String> {
        let key = OperationKey::new(fold.framework.clone(), id.value());
        let here = fold.operations.iter().any(|one| one.id.as_ref() == Some(id));
        if here || self.registry.operations.contains_key(&key) || self.operation_pends(&key) {
            return Err(format!("operation id '{}' is in use", id.value()));
        }
        let uuid = self.mint_uuid();
        let status = v1::OperationStatus {
            operation_id: Some(id.clone()),
            state: Some(OperationState::OperationFinished as i32),
            converted_resources: conversion::allocated(converted, &fold.role),
            uuid: Some(v1::Uuid { value: Some(self.mint_uuid()) }),
            agent_id: Some(fold.agent.to_proto()),
            ..Default::default()
        };
        Ok(OperationRecord {
            framework_id: fold.framework.as_str().to_owned(),
            agent_id: fold.agent.as_str().to_owned(),
            info: Some(operation.clone()),
            uuid,
            status: Some(status),
        })
    }

    /// Version 4 of variant 1, as everybody expects of sixteen random bytes.
    fn mint_uuid(&mut self) -> bytes::Bytes {
        let mut uuid = [0_u8; 16];
        uuid.copy_from_slice(&self.mint.bytes()[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        bytes::Bytes::copy_from_slice(&uuid)
    }

    fn operation_pends(&self, key: &OperationKey) -> bool {
        let ours = self.pipeline.launches().filter(|launch| launch.framework == key.framework);
        let mut ids = ours.flat_map(|launch| &launch.operations).filter_map(|one| one.id.as_ref());
        ids.any(|id| id.value() == &*key.operation)
    }

    /// The conversions of a proposal are settled: the agent and the allocator are told before any launch.
    pub(super) fn operated(&mut self, launch: &mut PendingLaunch, outcome: &Outcome) {
        let (request, operations) = (launch.request.take(), std::mem::take(&mut launch.operations));
        if operations.is_empty() && request.is_none() {
            return;
        }
        let results = match outcome {
            Outcome::Operated { conversions, .. } => conversions.clone(),
            Outcome::Refused(refusal) => vec![Err(*refusal); operations.len()],
            _ => Vec::new(),
        };
        if results.iter().any(Result::is_ok) {
            self.resources_changed(&launch.agent);
        }
        for (operation, result) in operations.into_iter().zip(&results) {
            self.operation_settled(operation.kind, result.is_ok());
            let Some(id) = operation.id else { continue };
            let key = OperationKey::new(launch.framework.clone(), id.value());
            if self.registry.operations.contains_key(&key) {
                self.tell_operation(&key);
            } else if let Err(refusal) = result {
                self.tell_dropped(&launch.framework, &launch.agent, id, &refusal.to_string());
            }
        }
        if let Some(request) = request {
            self.answer_operate(request, results.first().copied());
        }
    }

    pub(super) fn operations_failed(&mut self, launch: &mut PendingLaunch, reason: &str) {
        for operation in std::mem::take(&mut launch.operations) {
            self.operation_settled(operation.kind, false);
            if let Some(id) = operation.id {
                self.tell_dropped(&launch.framework, &launch.agent, id, reason);
            }
        }
        if let Some(request) = launch.request.take() {
            self.reject(request, 503, format!("the change was not committed: {reason}"));
        }
    }

    fn tell_dropped(&mut self, framework: &FrameworkId, agent: &AgentId, id: v1::OperationId, text: &str) {
        let status = v1::OperationStatus {
            operation_id: Some(id),
            state: Some(OperationState::OperationDropped as i32),
            message: Some(text.to_owned()),
            agent_id: Some(agent.to_proto()),
            ..Default::default()
        };
        self.send_operation(framework, status);
    }

    fn send_operation(&mut self, framework: &FrameworkId, mut status: v1::OperationStatus) {
        let Some(connection) = self.live(framework) else { return };
        let record = self.registry.frameworks.get(framework);
        if record.is_some_and(|record| !record.can(Capability::ReservationRefinement))
            && let Ok(resources) = Resources::from_proto(&status.converted_resources)
        {
            status.converted_resources = resources.to_proto_in(ReservationFormat::Single);
        }
        self.send_to_framework(connection, operation_event(status));
    }

    /// Tells what became of all operations that a framework, which has just come, has not acknowledged.
    pub(super) fn tell_operations(&mut self, framework: &FrameworkId) {
        let keys: Vec<_> = self.registry.operations_of(framework).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.tell_operation(&key);
        }
    }

    fn tell_operation(&mut self, key: &OperationKey) {
        let pause_ms = self.config.operation_retry_min_ms;
        self.tell_operation_after(key, pause_ms);
    }

    /// Tells it, and again after the pause unless it is acknowledged. A framework that is away hears of it when it is back.
    fn tell_operation_after(&mut self, key: &OperationKey, pause_ms: u64) {
        let status = self.registry.operations.get(key).and_then(|record| record.status.clone());
        let Some(status) = status.filter(|_| self.live(&key.framework).is_some()) else {
            self.operation_pauses.remove(key);
            return;
        };
        self.send_operation(&key.framework, status);
        self.operation_pauses.insert(key.clone(), pause_ms);
        self.timers.arm(self.now.cluster_ms.saturating_add(pause_ms), Timer::Operation(key.clone()));
    }

    pub(super) fn repeat_operation(&mut self, key: &OperationKey) {
        let Some(pause_ms) = self.operation_pauses.get(key).copied() else { return };
        self.tell_operation_after(key, pause_ms.saturating_mul(2).min(self.config.operation_retry_max_ms));
    }

    pub(super) fn on_acknowledge_operation(
        &mut self,
        id: &FrameworkId,
        call: call::AcknowledgeOperationStatus,
    ) {
        let operation = call.operation_id.unwrap_or_default();
        let key = OperationKey::new(id.clone(), operation.value());
        let (uuid, agent) = (call.uuid.unwrap_or_default(), call.agent_id.unwrap_or_default());
        let wrong = match self.registry.operations.get(&key) {
            None => Some(format!("operation_id' is '{}', of which no status waits", operation.value())),
            Some(known) if known.agent_id != agent.value() => {
                Some(format!("agent_id' is '{}' but the operation is on '{}'", agent.value(), known.agent_id))
            }
            Some(known) if known.status_uuid() != uuid => {
                Some(format!("uuid' is not that of the last status of operation '{}'", operation.value()))
            }
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            self.warn(format!("'acknowledge_operation_status.{wrong}: ignored"));
            return;
        }
        self.operation_pauses.remove(&key);
        self.timers.cancel(&Timer::Operation(key));
        self.report(Observation::OperationAcknowledged(ObservedOperationAcknowledgement {
            framework_id: id.as_str().to_owned(),
            operation_id: operation.value().to_owned(),
            uuid,
        }));
    }

    /// RECONCILE_OPERATIONS: what is known of these, or of all if none is named.
    pub(super) fn on_reconcile_operations(&mut self, id: &FrameworkId, call: call::ReconcileOperations) {
        if call.operations.is_empty() {
            let known: Vec<_> =
                self.registry.operations_of(id).filter_map(|(_, record)| record.status.clone()).collect();
            for status in known {
                self.send_operation(id, v1::OperationStatus { uuid: None, ..status });
            }
            return;
        }
        for asked in call.operations {
            let operation = asked.operation_id.clone().unwrap_or_default();
            let key = OperationKey::new(id.clone(), operation.value());
            let known = self.registry.operations.get(&key).and_then(|record| record.status.clone());
            let status = known.unwrap_or_else(|| v1::OperationStatus {
                operation_id: asked.operation_id,
                state: Some(self.state_of_unknown_operation(&key, asked.agent_id.as_ref()) as i32),
                agent_id: asked.agent_id,
                resource_provider_id: asked.resource_provider_id,
                ..Default::default()
            });
            self.send_operation(id, v1::OperationStatus { uuid: None, ..status });
        }
    }

    fn state_of_unknown_operation(&self, key: &OperationKey, agent: Option<&v1::AgentId>) -> OperationState {
        if self.operation_pends(key) {
            return OperationState::OperationPending;
        }
        let Some(agent) = agent.map(AgentId::from) else { return OperationState::OperationUnknown };
        match self.registry.agents.get(&agent) {
            None if self.registry.is_gone(&agent) => OperationState::OperationGoneByOperator,
            Some(record) if record.unreachable_ms.is_some() => OperationState::OperationUnreachable,
            Some(record) if self.registry.agent_awaited(record) => OperationState::OperationRecovering,
            _ => OperationState::OperationUnknown,
        }
    }
}

/// Wraps an UPDATE_OPERATION_STATUS.
pub(super) fn operation_event(status: v1::OperationStatus) -> Event {
    Event {
        r#type: Some(event::Type::UpdateOperationStatus as i32),
        update_operation_status: Some(event::UpdateOperationStatus { status: Some(status) }),
        ..Default::default()
    }
}
