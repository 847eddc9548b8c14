//! Operator calls that change something; drivers' calls go on to their supervisor.

use super::core::Master;
use super::input::{OperatorCall, RequestId};
use crate::ids::FrameworkId;

impl Master {
    pub(super) fn on_operator(
        &mut self,
        request: RequestId,
        call: OperatorCall,
        principal: Option<&str>,
        token: Option<&str>,
    ) {
        if !self.serving() {
            self.reject(request, 503, "this master does not lead");
            return;
        }
        self.waiting.insert(request);
        if let Some(call) = self.defer(request, call) {
            self.operator_call(request, call, principal, token);
        }
    }

    pub(super) fn operator_call(
        &mut self,
        request: RequestId,
        call: OperatorCall,
        principal: Option<&str>,
        token: Option<&str>,
    ) {
        match call {
            OperatorCall::Teardown(id) => self.on_operator_teardown(request, &id),
            OperatorCall::Operate { agent, operation } => {
                self.on_operate(request, &agent, &operation, principal);
            }
            OperatorCall::SubmitDriver(spec) => {
                self.supervise(|supervisor, cx| supervisor.submit(cx, request, spec));
            }
            OperatorCall::KillDriver(call) => {
                self.supervise(|supervisor, cx| supervisor.kill(cx, request, call));
            }
            OperatorCall::StateCas(call) => {
                self.supervise(|supervisor, cx| supervisor.state_cas(cx, request, call, token));
            }
            OperatorCall::Fleet(call) => self.on_fleet_call(request, call),
            OperatorCall::UpdateWeights(infos) => self.on_update_weights(request, &infos),
            OperatorCall::UpdateQuota { force, configs } => self.on_update_quota(request, force, &configs),
            OperatorCall::SetQuota(asked) => self.on_set_quota(request, &asked),
            OperatorCall::RemoveQuota(role) => self.on_remove_quota(request, &role),
            OperatorCall::ExplainOffers(id) => self.on_explain_offers(request, &id),
            OperatorCall::RenewLease(call) => {
                self.supervise(|supervisor, cx| supervisor.renew_lease(cx, request, call, token));
            }
        }
    }

    fn on_operator_teardown(&mut self, request: RequestId, id: &FrameworkId) {
        match self.registry.frameworks.get(id) {
            None => self.reject(request, 400, format!("framework {id} cannot be found")),
            Some(record) if record.internal => {
                self.reject(request, 400, format!("framework {id} belongs to the masters"));
            }
            Some(_) => self.propose_framework_removal(id, "teardown by an operator", Some(request)),
        }
    }
}
