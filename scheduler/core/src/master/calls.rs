//! Calls of frameworks other than SUBSCRIBE: who may call, and where each call goes.
//!
//! The order of the checks is a part of the protocol: the first that fails decides the status.

use tepui_proto::v1::allocator::inverse_offer_status::Status;
use tepui_proto::v1::scheduler::{Call, call, call::Type};

use super::core::Master;
use super::effect::{Effect, Reply};
use super::input::RequestId;
use super::warnings::Warnings;
use crate::ids::{self, FrameworkId};
use crate::registry::{Operation, Outcome, UpdateFramework};
use crate::validation;

impl Master {
    pub(super) fn on_call(
        &mut self,
        request: RequestId,
        stream_id: Option<&str>,
        call: Call,
        principal: Option<&str>,
    ) {
        if !self.serving() {
            self.reject(request, 503, "this master does not lead");
            return;
        }
        match self.admit_call(stream_id, &call, principal) {
            Err((status, reason)) => self.reject(request, status, reason),
            Ok(framework) if call.r#type() == Type::UpdateFramework => {
                self.waiting.insert(request);
                let mut update = call.update_framework.unwrap_or_default();
                if let (Some(own), Some(info)) = (principal, &mut update.framework_info) {
                    // As with SUBSCRIBE: it was filled in there.
                    info.principal.get_or_insert_with(|| own.to_owned());
                }
                self.on_update_framework(request, &framework, update);
            }
            Ok(framework) => {
                self.warnings = Warnings::default();
                let at = self.out.len();
                self.dispatch_call(&framework, call);
                // Only now it is known what was in vain; but the answer goes out before what the call brings about.
                let reply = self.accepted();
                self.waiting.remove(&request);
                self.out.insert(at, Effect::Reply { request, reply });
            }
        }
    }

    fn admit_call(
        &self,
        stream_id: Option<&str>,
        call: &Call,
        principal: Option<&str>,
    ) -> Result<FrameworkId, (u16, String)> {
        validation::call(call).map_err(|rejection| (rejection.status, rejection.reason))?;
        let id: FrameworkId = ids::of(call.framework_id.as_ref());
        let Some(record) = self.registry.frameworks.get(&id).filter(|record| !record.internal) else {
            return Err((400, format!("framework {id} cannot be found")));
        };
        let known = record.info.as_ref().and_then(|info| info.principal.as_deref());
        if principal.is_some() && principal != known {
            return Err((400, format!("framework {id} does not belong to the authenticated principal")));
        }
        let session = self.frameworks.get(&id).filter(|session| !session.removing);
        let Some(live) = session.and_then(|session| session.live.as_ref()) else {
            return Err((403, format!("framework {id} is not subscribed")));
        };
        match stream_id {
            None => Err((400, "all non-subscribe calls need the header 'Mesos-Stream-Id'".to_owned())),
            Some(given) if given != live.stream_id && !mutant!("old-instance-served") => {
                Err((400, format!("stream id '{given}' is not that of framework {id}'s stream")))
            }
            Some(_) => Ok(id),
        }
    }

    fn dispatch_call(&mut self, id: &FrameworkId, call: Call) {
        match call.r#type() {
            Type::Teardown => self.propose_framework_removal(id, "teardown", None),
            Type::Accept => self.on_accept(id, call.accept.unwrap_or_default()),
            Type::Decline => self.on_decline(id, call.decline.unwrap_or_default()),
            Type::Revive => self.on_revive(id, &call.revive.unwrap_or_default().roles),
            Type::Suppress => self.on_suppress(id, &call.suppress.unwrap_or_default().roles),
            Type::Kill => self.on_kill(id, call.kill.unwrap_or_default()),
            Type::Shutdown => self.on_shutdown_executor(id, call.shutdown.unwrap_or_default()),
            Type::Acknowledge => self.on_acknowledge(id, call.acknowledge.unwrap_or_default()),
            Type::Reconcile => self.on_reconcile(id, call.reconcile.unwrap_or_default()),
            Type::ReconcileOperations => {
                self.on_reconcile_operations(id, call.reconcile_operations.unwrap_or_default());
            }
            Type::Message => self.on_framework_message(id, call.message.unwrap_or_default()),
            Type::Request => self.warn("'request' is ignored: resources are offered without being asked for"),
            Type::AcceptInverseOffers => {
                let call = call.accept_inverse_offers.unwrap_or_default();
                self.on_inverse_answer(id, &call.inverse_offer_ids, call.filters.as_ref(), Status::Accept);
            }
            Type::DeclineInverseOffers => {
                let call = call.decline_inverse_offers.unwrap_or_default();
                self.on_inverse_answer(id, &call.inverse_offer_ids, call.filters.as_ref(), Status::Decline);
            }
            Type::AcknowledgeOperationStatus => {
                self.on_acknowledge_operation(id, call.acknowledge_operation_status.unwrap_or_default());
            }
            Type::Unknown | Type::Subscribe | Type::UpdateFramework => {}
        }
    }

    fn on_update_framework(&mut self, request: RequestId, id: &FrameworkId, update: call::UpdateFramework) {
        match self.check_update(id, &update) {
            Err(reason) => self.reject(request, 400, reason),
            Ok(operation) => {
                let pending = super::pipeline::Pending::FrameworkChange { framework: id.clone(), request };
                self.propose(operation, pending);
            }
        }
    }

    fn check_update(&self, id: &FrameworkId, update: &call::UpdateFramework) -> Result<Operation, String> {
        let new = update.framework_info.as_ref().ok_or("'update_framework.framework_info' is not set")?;
        let record = self.registry.frameworks.get(id).ok_or("framework cannot be found")?;
        let old = record.info.clone().unwrap_or_default();
        if new.id != old.id {
            return Err("'framework_info.id' cannot be changed".to_owned());
        }
        if new.user != old.user {
            return Err("'framework_info.user' cannot be changed".to_owned());
        }
        if new.checkpoint() != old.checkpoint() {
            return Err("'framework_info.checkpoint' cannot be changed".to_owned());
        }
        if new.principal != old.principal {
            return Err("'framework_info.principal' cannot be changed".to_owned());
        }
        let constraints = update.offer_constraints.as_ref();
        let checked = validation::framework(new, &update.suppressed_roles, constraints, None)
            .map_err(|rejection| rejection.reason)?;
        self.check_listed("framework_info.roles", checked.roles.iter().map(String::as_str))
            .map_err(|rejection| rejection.reason)?;
        Ok(Operation::UpdateFramework(UpdateFramework {
            info: Some(checked.info),
            suppressed_roles: checked.suppressed_roles,
            in_place: true,
            offer_constraints: update.offer_constraints.clone(),
        }))
    }

    pub(super) fn framework_changed(&mut self, id: &FrameworkId, request: RequestId, outcome: &Outcome) {
        if let Outcome::Refused(refusal) = outcome {
            self.reject(request, 409, format!("framework {id} was not changed: {refusal}"));
            return;
        }
        self.tell_allocator_framework(id);
        self.withdraw_offers_of_lost_roles(id);
        if outcome.described_anew() {
            self.tell_agents_of(id);
        }
        self.reply(request, Reply::Ok);
    }
}
