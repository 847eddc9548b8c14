//! Our own operator calls: supervised drivers, registers, leases, the state of replication.

use std::time::Duration;

use bytes::Bytes;
use tepui_proto::wire;
use tokio::time::Instant;

use super::client::{Client, OperatorError};
use crate::leader_call::Repeat;
use crate::tepui::operator::call::{self, Type};
use crate::tepui::operator::{Call, Driver, DriverSpec, Response, response};
use crate::transport::{DRIVER_TOKEN, Request};

pub(super) const PATH: &str = "/tepui/v1/operator";
const BACKUP: &str = "/tepui/v1/backup";
/// Until the copy is on the master's disk, and the first of it comes.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(150);
/// These calls wait for one commit at most. A leader that takes longer is frozen or cut off, and the next one may be there
/// already.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

impl Client {
    /// Sends any of our operator calls to whoever answers it; all of them are the same when made twice.
    pub async fn tepui(&self, call: &Call) -> Result<Response, OperatorError> {
        self.tepui_with(call, None, self.deadline()).await
    }

    /// The same for a supervised driver, with its token, until `deadline`.
    pub async fn tepui_with(
        &self,
        call: &Call,
        driver_token: Option<&str>,
        deadline: Instant,
    ) -> Result<Response, OperatorError> {
        let mut request = self.tepui_request(call);
        if let Some(token) = driver_token {
            request = request.header(DRIVER_TOKEN, token);
        }
        let answer = self.caller.call(&request, Repeat::Idempotent, deadline).await?;
        Ok(self.decode(&answer)?)
    }

    /// Asks one master without following redirects.
    pub async fn tepui_at(&self, address: &str, call: &Call) -> Result<Response, OperatorError> {
        Ok(self.decode(&self.caller.call_at(address, &self.tepui_request(call)).await?)?)
    }

    /// Hands a driver to the masters for supervision; submitting the same spec again changes nothing.
    pub async fn submit_driver(&self, spec: DriverSpec) -> Result<response::SubmitDriver, OperatorError> {
        let submit_driver = Some(call::SubmitDriver { spec: Some(spec) });
        let call = Call { submit_driver, ..new(Type::SubmitDriver) };
        self.tepui(&call).await?.submit_driver.ok_or(OperatorError::Incomplete("submit_driver"))
    }

    /// Ends a driver: SIGTERM, then SIGKILL after `grace_ms`.
    pub async fn kill_driver(&self, name: &str, grace_ms: Option<u64>) -> Result<(), OperatorError> {
        let kill_driver = Some(call::KillDriver { name: Some(name.to_owned()), grace_ms });
        self.tepui(&Call { kill_driver, ..new(Type::KillDriver) }).await?;
        Ok(())
    }

    /// Returns supervised drivers: all, or one by its name.
    pub async fn get_drivers(&self, name: Option<&str>) -> Result<Vec<Driver>, OperatorError> {
        let get_drivers = Some(call::GetDrivers { name: name.map(str::to_owned) });
        let response = self.tepui(&Call { get_drivers, ..new(Type::GetDrivers) }).await?;
        Ok(response.get_drivers.unwrap_or_default().drivers)
    }

    /// Reads a register at the leader.
    pub async fn state_get(&self, scope: &str, key: &str) -> Result<response::StateGet, OperatorError> {
        let response = self.tepui(&state_get(scope, key)).await?;
        response.state_get.ok_or(OperatorError::Incomplete("state_get"))
    }

    /// Tells why a framework gets no offers, or which it gets, role by role.
    pub async fn explain_offers(&self, framework_id: &str) -> Result<response::ExplainOffers, OperatorError> {
        let framework_id = Some(crate::v1::FrameworkId { value: Some(framework_id.to_owned()) });
        let explain_offers = Some(call::ExplainOffers { framework_id });
        let response = self.tepui(&Call { explain_offers, ..new(Type::ExplainOffers) }).await?;
        response.explain_offers.ok_or(OperatorError::Incomplete("explain_offers"))
    }

    /// Returns what one master knows about replication.
    pub async fn get_raft(&self, address: &str) -> Result<response::GetRaft, OperatorError> {
        let response = self.tepui_at(address, &new(Type::GetRaft)).await?;
        response.get_raft.ok_or(OperatorError::Incomplete("get_raft"))
    }

    /// Asks one master, leading or not, for a copy of the replicated state. The answer's body is to be read piece by piece; it
    /// proves its own wholeness.
    pub async fn backup(&self, address: &str) -> Result<reqwest::Response, OperatorError> {
        let request = Request::get(BACKUP).answer_within(BACKUP_TIMEOUT);
        Ok(self.caller.open_at(address, &request).await?)
    }

    fn tepui_request(&self, call: &Call) -> Request {
        let body = wire::encode(self.media_type, call);
        Request::post(PATH, self.media_type, body).answer_within(ATTEMPT_TIMEOUT)
    }
}

pub(crate) fn new(kind: Type) -> Call {
    Call { r#type: Some(kind as i32), ..Call::default() }
}

pub(crate) fn state_get(scope: &str, key: &str) -> Call {
    let state_get = Some(call::StateGet { scope: Some(scope.to_owned()), key: Some(key.to_owned()) });
    Call { state_get, ..new(Type::StateGet) }
}

pub(crate) fn state_cas(
    scope: &str,
    key: &str,
    expected_version: u64,
    generation: u64,
    value: Bytes,
) -> Call {
    let state_cas = Some(call::StateCas {
        scope: Some(scope.to_owned()),
        key: Some(key.to_owned()),
        expected_version: Some(expected_version),
        generation: Some(generation),
        value: Some(value),
    });
    Call { state_cas, ..new(Type::StateCas) }
}

pub(crate) fn renew_lease(name: &str, generation: u64) -> Call {
    let renew_lease = Some(call::RenewLease { name: Some(name.to_owned()), generation: Some(generation) });
    Call { renew_lease, ..new(Type::RenewLease) }
}
