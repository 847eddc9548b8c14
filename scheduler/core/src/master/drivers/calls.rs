//! What operators and drivers ask of the supervisor.

use tepui_proto::tepui::operator::{self, call, response};

use super::{Context, Request, Supervisor, Tag, lease};
use crate::digest::sha256;
use crate::ids::{DRIVER_FRAMEWORK_PREFIX, DRIVERS_FRAMEWORK, FrameworkId};
use crate::master::effect::Reply;
use crate::master::input::RequestId;
use crate::registry::{
    CasResult, DriverRecord, KillDriver, Operation, Outcome, Refusal, Registry, StateCas, SubmitDriver,
};
use crate::validation;

impl Supervisor {
    pub(crate) fn submit(&mut self, cx: &mut Context<'_>, request: RequestId, spec: operator::DriverSpec) {
        match validation::driver(spec) {
            Ok(spec) => {
                let tag = Tag::Submit { request, name: spec.name().to_owned() };
                let operation = Operation::SubmitDriver(SubmitDriver { spec: Some(spec) });
                cx.requests.push(Request::Propose { operation, tag });
            }
            Err(rejection) => reject(cx, request, rejection.status, rejection.reason),
        }
    }

    pub(super) fn submitted(
        &mut self,
        cx: &mut Context<'_>,
        request: RequestId,
        name: &str,
        outcome: &Outcome,
    ) {
        match outcome {
            Outcome::Submitted { generation, created } => {
                let submit_driver = response::SubmitDriver {
                    name: Some(name.to_owned()),
                    generation: Some(*generation),
                    created: Some(*created),
                };
                let response = operator::Response {
                    r#type: Some(response::Type::SubmitDriver as i32),
                    submit_driver: Some(submit_driver),
                    ..Default::default()
                };
                answer(cx, request, response);
            }
            Outcome::Refused(Refusal::DriverExists) => {
                let reason = format!("a driver named '{name}' exists with another spec and has not ended");
                reject(cx, request, 409, reason);
            }
            Outcome::Refused(Refusal::TooMany) => {
                reject(cx, request, 507, "there are too many drivers that have not ended");
            }
            other => reject_outcome(cx, request, other),
        }
    }

    pub(crate) fn kill(&mut self, cx: &mut Context<'_>, request: RequestId, call: call::KillDriver) {
        let name = call.name().to_owned();
        match cx.registry.driver(&name) {
            None => reject(cx, request, 404, format!("there is no driver named '{name}'")),
            // Once more does no harm: it is dead already.
            Some(driver) if driver.ended() => answer(cx, request, killed()),
            Some(_) => {
                let operation =
                    Operation::KillDriver(KillDriver { name: name.clone(), grace_ms: call.grace_ms });
                cx.requests.push(Request::Propose { operation, tag: Tag::Kill { request, name } });
            }
        }
    }

    pub(super) fn kill_applied(
        &mut self,
        cx: &mut Context<'_>,
        request: RequestId,
        name: &str,
        outcome: &Outcome,
    ) {
        match outcome {
            Outcome::Done | Outcome::Refused(Refusal::DriverEnded) => answer(cx, request, killed()),
            Outcome::Refused(Refusal::UnknownDriver) => {
                reject(cx, request, 404, format!("there is no driver named '{name}'"));
            }
            other => reject_outcome(cx, request, other),
        }
        if let Some(driver) = cx.registry.driver(name).cloned() {
            self.review(cx, &driver);
        }
    }

    pub(crate) fn state_cas(
        &mut self,
        cx: &mut Context<'_>,
        request: RequestId,
        call: call::StateCas,
        token: Option<&str>,
    ) {
        if let Err(rejection) = validation::state_cas(&call) {
            reject(cx, request, rejection.status, rejection.reason);
            return;
        }
        let Some(token) = token else {
            reject(cx, request, 403, "writing a register needs the driver's token");
            return;
        };
        let scope = call.scope().to_owned();
        if cx.registry.driver(&scope).is_none() {
            reject(cx, request, 404, format!("there is no driver named '{scope}'"));
            return;
        }
        let operation = StateCas {
            scope,
            key: call.key().to_owned(),
            expected_version: call.expected_version(),
            generation: call.generation(),
            token_sha256: sha256(token.as_bytes()),
            value: call.value.unwrap_or_default(),
        };
        let tag = Tag::StateCas { request };
        cx.requests.push(Request::Propose { operation: Operation::StateCas(operation), tag });
    }

    pub(super) fn state_cas_applied(&mut self, cx: &mut Context<'_>, request: RequestId, outcome: &Outcome) {
        let Outcome::Cas { result, version, generation } = outcome else {
            match outcome {
                Outcome::Refused(Refusal::UnknownDriver) => {
                    reject(cx, request, 404, "there is no such driver any more");
                }
                Outcome::Refused(Refusal::TooMany) => {
                    reject(cx, request, 507, "the driver has too many registers");
                }
                other => reject_outcome(cx, request, other),
            }
            return;
        };
        let result = match result {
            CasResult::Ok => response::state_cas::Result::Ok,
            CasResult::Conflict => response::state_cas::Result::Conflict,
            CasResult::Fenced => response::state_cas::Result::Fenced,
        };
        let state_cas = response::StateCas {
            result: Some(result as i32),
            version: Some(*version),
            generation: Some(*generation),
        };
        let response = operator::Response {
            r#type: Some(response::Type::StateCas as i32),
            state_cas: Some(state_cas),
            ..Default::default()
        };
        answer(cx, request, response);
    }

    pub(crate) fn renew_lease(
        &mut self,
        cx: &mut Context<'_>,
        request: RequestId,
        call: call::RenewLease,
        token: Option<&str>,
    ) {
        let Some(driver) = cx.registry.driver(call.name()).cloned() else {
            reject(cx, request, 404, format!("there is no driver named '{}'", call.name()));
            return;
        };
        let valid = call.generation() == driver.generation && holds_token(&driver, token) && !driver.ended();
        if valid {
            self.is_alive(cx, &driver);
        }
        let renew_lease = response::RenewLease {
            valid: Some(valid),
            generation: Some(driver.generation),
            lease_ms: Some(lease::length_ms(&driver)),
        };
        let response = operator::Response {
            r#type: Some(response::Type::RenewLease as i32),
            renew_lease: Some(renew_lease),
            ..Default::default()
        };
        answer(cx, request, response);
    }

    /// Whether a SUBSCRIBE for this id may pass; the text goes into the ERROR event.
    ///
    /// # Errors
    /// The id is kept for a driver, and the caller is not its current generation.
    pub(crate) fn authorize(
        &self,
        registry: &Registry,
        framework_id: &FrameworkId,
        token: Option<&str>,
    ) -> Result<(), String> {
        let id = framework_id.as_str();
        if id == DRIVERS_FRAMEWORK {
            return Err(format!("framework id {id} belongs to the masters"));
        }
        if !id.starts_with(DRIVER_FRAMEWORK_PREFIX) {
            return Ok(());
        }
        let driver = registry.drivers.values().find(|driver| driver.framework_id == id);
        let driver = driver.ok_or_else(|| format!("framework id {id} is kept for a supervised driver"))?;
        if driver.ended() {
            return Err(format!("driver {} has ended", driver.name()));
        }
        if holds_token(driver, token) {
            return Ok(());
        }
        Err(format!(
            "framework id {id} is that of driver {} in generation {}, whose token the caller does not have",
            driver.name(),
            driver.generation
        ))
    }
}

/// Whether this is the token of the driver's current generation.
fn holds_token(driver: &DriverRecord, token: Option<&str>) -> bool {
    driver.generation > 0 && token.is_some_and(|token| sha256(token.as_bytes()) == driver.token_sha256)
}

fn killed() -> operator::Response {
    operator::Response { r#type: Some(response::Type::KillDriver as i32), ..Default::default() }
}

fn answer(cx: &mut Context<'_>, request: RequestId, response: operator::Response) {
    cx.requests.push(Request::Reply { request, reply: Reply::Operator(response) });
}

fn reject(cx: &mut Context<'_>, request: RequestId, status: u16, reason: impl Into<String>) {
    let reply = Reply::Rejected { status, reason: reason.into() };
    cx.requests.push(Request::Reply { request, reply });
}

fn reject_outcome(cx: &mut Context<'_>, request: RequestId, outcome: &Outcome) {
    match outcome {
        Outcome::Refused(refusal) => reject(cx, request, 400, refusal.to_string()),
        _ => reject(cx, request, 503, "this master no longer leads"),
    }
}
