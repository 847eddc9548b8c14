//! The client and Mesos' v1 operator calls.

use std::time::Duration;

use tepui_proto::{MediaType, wire};
use thiserror::Error;
use tokio::time::Instant;

use crate::event_stream::EventStream;
use crate::leader_call::{CallError, LeaderCaller, Repeat};
use crate::master_detector::MasterDetector;
use crate::transport::{Answer, LOCAL_READ, Request, SetupError, Transport};
use crate::v1;
use crate::v1::master::call::Type;
use crate::v1::master::{Call, Response, response};

const PATH: &str = "/api/v1";
const DEADLINE: Duration = Duration::from_secs(10);

/// Why an operator's call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperatorError {
    /// The exchange went wrong.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer is not one to this call.
    #[error("the answer has no {0}")]
    Incomplete(&'static str),
}

/// A client for operators; clones share connections and what is known about the leader.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) caller: LeaderCaller,
    pub(super) media_type: MediaType,
    pub(super) patience: Duration,
}

impl Client {
    /// Makes a client for the masters at `host:port`.
    pub fn new<S: Into<String>>(masters: impl IntoIterator<Item = S>) -> Result<Self, SetupError> {
        Ok(Self::with(LeaderCaller::new(Transport::new()?, MasterDetector::new(masters))))
    }

    /// Makes a client that shares its connections.
    pub fn with(caller: LeaderCaller) -> Self {
        Client { caller, media_type: MediaType::Protobuf, patience: DEADLINE }
    }

    /// Chooses the encoding; protobuf unless said otherwise.
    pub fn media_type(mut self, media_type: MediaType) -> Self {
        self.media_type = media_type;
        self
    }

    /// Sets how long each call keeps looking for a leader that answers; ten seconds unless said otherwise.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns what the client sends through.
    pub fn caller(&self) -> &LeaderCaller {
        &self.caller
    }

    /// Sends any read, or a change that is the same when it is made twice.
    pub async fn call(&self, call: &Call) -> Result<Response, OperatorError> {
        let answer = self.caller.call(&self.request(call), Repeat::Idempotent, self.deadline()).await?;
        Ok(self.decode(&answer)?)
    }

    /// Asks one master for its own, possibly older, view.
    pub async fn call_at(&self, address: &str, call: &Call) -> Result<Response, OperatorError> {
        let request = self.request(call).header(LOCAL_READ, "local");
        Ok(self.decode(&self.caller.call_at(address, &request).await?)?)
    }

    /// Returns tasks, executors, frameworks and agents in one consistent snapshot.
    pub async fn get_state(&self) -> Result<response::GetState, OperatorError> {
        self.read(Type::GetState).await?.get_state.ok_or(OperatorError::Incomplete("get_state"))
    }

    /// Returns the agents.
    pub async fn get_agents(&self) -> Result<response::GetAgents, OperatorError> {
        self.read(Type::GetAgents).await?.get_agents.ok_or(OperatorError::Incomplete("get_agents"))
    }

    /// Returns the frameworks, completed ones too.
    pub async fn get_frameworks(&self) -> Result<response::GetFrameworks, OperatorError> {
        self.read(Type::GetFrameworks)
            .await?
            .get_frameworks
            .ok_or(OperatorError::Incomplete("get_frameworks"))
    }

    /// Returns the tasks, completed and unreachable ones too.
    pub async fn get_tasks(&self) -> Result<response::GetTasks, OperatorError> {
        self.read(Type::GetTasks).await?.get_tasks.ok_or(OperatorError::Incomplete("get_tasks"))
    }

    /// Returns who leads and since when.
    pub async fn get_master(&self) -> Result<response::GetMaster, OperatorError> {
        self.read(Type::GetMaster).await?.get_master.ok_or(OperatorError::Incomplete("get_master"))
    }

    /// Removes a framework and all its tasks. A framework that is not there is refused with 400, also when an earlier
    /// attempt of this very call removed it and its answer was lost.
    pub async fn teardown(&self, framework_id: v1::FrameworkId) -> Result<(), OperatorError> {
        let call = Call {
            r#type: Some(Type::Teardown as i32),
            teardown: Some(v1::master::call::Teardown { framework_id: Some(framework_id) }),
            ..Call::default()
        };
        self.caller.call(&self.request(&call), Repeat::Idempotent, self.deadline()).await?;
        Ok(())
    }

    /// Subscribes to the leader's event stream. It ends with the leadership; the first event of a new one has the whole state.
    pub async fn subscribe(&self) -> Result<EventStream<v1::master::Event>, OperatorError> {
        let call = Call { r#type: Some(Type::Subscribe as i32), ..Call::default() };
        let response = self.caller.open(&self.request(&call), self.deadline()).await?;
        Ok(EventStream::new(response, self.media_type))
    }

    async fn read(&self, kind: Type) -> Result<Response, OperatorError> {
        self.call(&Call { r#type: Some(kind as i32), ..Call::default() }).await
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    fn request(&self, call: &Call) -> Request {
        Request::post(PATH, self.media_type, wire::encode(self.media_type, call))
    }

    pub(super) fn decode<M: wire::WireMessage>(&self, answer: &Answer) -> Result<M, CallError> {
        if answer.body.is_empty() {
            return Ok(M::default());
        }
        wire::decode(self.media_type, &answer.body).map_err(|error| CallError::Malformed(error.to_string()))
    }
}
