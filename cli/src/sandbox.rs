//! Reads files of a task's sandbox from its agent.
//!
//! Owns the position in the file. It does not know what the file means or when it ends.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tepui_proto::MediaType;
use tepui_proto::v1::agent::{Call, Response, call, response};
use tepui_proto::wire;
use tepui_sdk::transport::{Request, Transport};

/// Bytes asked for at once.
const PIECE_BYTES: u64 = 256 * 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// One file, read from its beginning or from wherever it was last.
#[derive(Clone, Debug)]
pub(crate) struct SandboxFile {
    transport: Transport,
    agent: String,
    path: String,
    offset: u64,
}

impl SandboxFile {
    /// Names a file of a command task, whose executor has the task's id.
    pub(crate) fn new(
        transport: &Transport,
        agent: &str,
        framework_id: &str,
        task_id: &str,
        name: &str,
    ) -> Self {
        SandboxFile {
            transport: transport.clone(),
            agent: agent.to_owned(),
            path: format!("/frameworks/{framework_id}/executors/{task_id}/runs/latest/{name}"),
            offset: 0,
        }
    }

    /// Returns what has been added since the last read, at most 256 KiB; nothing if the file is not there yet.
    ///
    /// # Errors
    /// When the agent does not answer, or refuses.
    pub(crate) async fn read(&mut self) -> anyhow::Result<Bytes> {
        let data = self.ask(self.offset, PIECE_BYTES).await?.data.unwrap_or_default();
        self.offset += data.len() as u64;
        Ok(data)
    }

    /// Skips all but the last `bytes` of the file.
    ///
    /// # Errors
    /// When the agent does not answer, or refuses.
    pub(crate) async fn skip_to_last(&mut self, bytes: u64) -> anyhow::Result<()> {
        let size = self.ask(0, 0).await?.size.unwrap_or_default();
        self.offset = size.saturating_sub(bytes);
        Ok(())
    }

    async fn ask(&self, offset: u64, length: u64) -> anyhow::Result<response::ReadFile> {
        let read =
            call::ReadFile { path: Some(self.path.clone()), offset: Some(offset), length: Some(length) };
        let call =
            Call { r#type: Some(call::Type::ReadFile as i32), read_file: Some(read), ..Call::default() };
        let body = wire::encode(MediaType::Protobuf, &call);
        let request = Request::post("/api/v1", MediaType::Protobuf, body).answer_within(ANSWER_TIMEOUT);
        let answer = self.transport.send(&self.agent, &request).await.context("ask the agent")?;
        match answer.status {
            200 => {}
            404 => return Ok(response::ReadFile::default()),
            status => anyhow::bail!("agent {} answered {status} {}", self.agent, answer.reason()),
        }
        let response: Response =
            wire::decode(MediaType::Protobuf, &answer.body).context("read the agent's answer")?;
        response.read_file.context("the agent answered something else")
    }
}
