//! Clients that read and write a few registers at once, each operation once, whatever becomes of it: that is what the histories are made
//! of. They write with the token of the driver's newest launch.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;
use serde::Serialize;
use tepui_proto::MediaType;
use tepui_proto::tepui::operator::{Call, Response, call, response::state_cas};
use tepui_proto::wire;
use tokio::task::JoinSet;

use super::drivers::Launch;
use super::history::{Action, Answer, Histories, Outcome};
use super::writer::NAME;

/// Registers, and clients of each.
const REGISTERS: usize = 3;
const CLIENTS: usize = 3;
/// Between two operations of a client.
const PAUSE: Duration = Duration::from_millis(15);
/// After this nobody waits for an answer any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// What all clients share.
pub(super) struct Shared {
    histories: Mutex<Histories>,
    launch: Mutex<Option<Launch>>,
    file: Option<Mutex<std::io::BufWriter<std::fs::File>>>,
    began: Instant,
}

/// One line of the record of operations.
#[derive(Serialize)]
struct Line<'a> {
    client: usize,
    register: &'a str,
    wanted: String,
    outcome: String,
    invoked_ms: u128,
    returned_ms: u128,
}

impl Shared {
    /// The histories so far.
    pub(super) fn histories(&self) -> MutexGuard<'_, Histories> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this launch writes.
    pub(super) fn launched(&self, launch: &Launch) {
        *self.launch.lock().unwrap_or_else(PoisonError::into_inner) = Some(launch.clone());
    }

    fn launch(&self) -> Option<Launch> {
        self.launch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, line: &Line<'_>) {
        if let Some(file) = &self.file {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A record for people: what is judged is in memory.
            let _full = serde_json::to_string(line).map(|line| writeln!(file, "{line}"));
        }
    }
}

/// Runs until it is dropped.
pub(super) struct Clients {
    pub(super) shared: Arc<Shared>,
    _work: JoinSet<()>,
}

impl Clients {
    /// Starts them.
    ///
    /// # Errors
    /// When the record of operations cannot be written, or no HTTP client can be made.
    pub(super) fn start(masters: &[String], record: Option<&Path>) -> anyhow::Result<Self> {
        let file = record.map(std::fs::File::create).transpose()?;
        let shared = Arc::new(Shared {
            histories: Mutex::default(),
            launch: Mutex::default(),
            file: file.map(|file| Mutex::new(std::io::BufWriter::new(file))),
            began: Instant::now(),
        });
        let mut work = JoinSet::new();
        for number in 0..REGISTERS * CLIENTS {
            let http = reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Duration::from_millis(300))
                .timeout(PATIENCE)
                .build()?;
            let client = Client {
                shared: shared.clone(),
                http,
                masters: masters.to_vec(),
                at: number % masters.len(),
                number,
                key: format!("register-{}", number % REGISTERS),
                version: 0,
            };
            work.spawn(client.run());
        }
        Ok(Clients { shared, _work: work })
    }
}

struct Client {
    shared: Arc<Shared>,
    http: reqwest::Client,
    masters: Vec<String>,
    at: usize,
    number: usize,
    key: String,
    /// The newest version it has heard of.
    version: u64,
}

impl Client {
    async fn run(mut self) {
        let mut values = 0;
        loop {
            tokio::time::sleep(PAUSE).await;
            let Some(launch) = self.shared.launch() else { continue };
            values += 1;
            // No two writes write the same.
            let value = values * 1_000 + self.number as u64 + 1;
            let reads = rand::rng().random_range(0..3) == 0;
            let action = if reads { Action::Read } else { Action::Cas { expected: self.version, value } };
            // A read may go to any master, if that is told to prove that it misses nothing.
            let anywhere = reads && rand::rng().random_range(0..2) == 0;
            let master = if anywhere { rand::rng().random_range(0..self.masters.len()) } else { self.at };
            let invoked = self.shared.began.elapsed();
            let id = self.shared.histories().invoke(&self.key, action);
            let (outcome, index) = self.perform(action, &launch, master, anywhere).await;
            let mut histories = self.shared.histories();
            histories.complete(&self.key, id, outcome);
            if let (Some(index), Outcome::Ok(Answer::Found { version, .. })) = (index, outcome) {
                histories.indexed(&self.key, index, version);
            }
            drop(histories);
            self.shared.write(&Line {
                client: self.number,
                register: &self.key,
                wanted: format!("{action:?}"),
                outcome: format!("{outcome:?}"),
                invoked_ms: invoked.as_millis(),
                returned_ms: self.shared.began.elapsed().as_millis(),
            });
            match outcome {
                Outcome::Ok(
                    Answer::Found { version, .. }
                    | Answer::Written { version }
                    | Answer::Conflict { version },
                ) => self.version = version,
                Outcome::Failed | Outcome::Unknown if anywhere => {}
                Outcome::Failed | Outcome::Unknown => self.at = (self.at + 1) % self.masters.len(),
            }
        }
    }

    /// Does it once. With a read comes the place in the log that it shows.
    async fn perform(
        &self,
        action: Action,
        launch: &Launch,
        master: usize,
        anywhere: bool,
    ) -> (Outcome, Option<u64>) {
        let scope = Some(NAME.to_owned());
        let key = Some(self.key.clone());
        let call = match action {
            Action::Read => Call {
                r#type: Some(call::Type::StateGet as i32),
                state_get: Some(call::StateGet { scope, key }),
                ..Call::default()
            },
            Action::Cas { expected, value } => Call {
                r#type: Some(call::Type::StateCas as i32),
                state_cas: Some(call::StateCas {
                    scope,
                    key,
                    expected_version: Some(expected),
                    generation: Some(launch.generation),
                    value: Some(Bytes::from(value.to_string())),
                }),
                ..Call::default()
            },
        };
        let request = self
            .http
            .post(format!(
                "http://{}/tepui/v1/operator{}",
                self.masters[master],
                if anywhere { "?consistent=true" } else { "" }
            ))
            .header("content-type", MediaType::Protobuf.as_str())
            .header("accept", MediaType::Protobuf.as_str())
            .header("tepui-driver-token", &launch.token)
            .body(wire::encode(MediaType::Protobuf, &call));
        let answer = match request.send().await {
            Ok(answer) => answer,
            // It was never sent.
            Err(error) if error.is_connect() => return (Outcome::Failed, None),
            Err(_unknown) => return (Outcome::Unknown, None),
        };
        match answer.status().as_u16() {
            200 => {}
            // Whoever sends elsewhere has done nothing.
            307 => return (Outcome::Failed, None),
            _unclear => return (Outcome::Unknown, None),
        }
        let index = answer.headers().get("tepui-applied-index");
        let index = index.and_then(|value| value.to_str().ok()?.parse().ok());
        let Ok(bytes) = answer.bytes().await else { return (Outcome::Unknown, None) };
        match wire::decode::<Response>(MediaType::Protobuf, &bytes) {
            Ok(response) => (outcome(action, response), index),
            Err(_damaged) => (Outcome::Unknown, None),
        }
    }
}

fn outcome(action: Action, response: Response) -> Outcome {
    match (action, response.state_get, response.state_cas) {
        (Action::Read, Some(found), _) => {
            let text = std::str::from_utf8(found.value()).unwrap_or_default();
            // What is no number was written by nobody, and neither was this.
            let value = if found.version() == 0 { 0 } else { text.parse().unwrap_or(u64::MAX) };
            Outcome::Ok(Answer::Found { version: found.version(), value })
        }
        (Action::Cas { .. }, _, Some(answer)) => match answer.result() {
            state_cas::Result::Ok => Outcome::Ok(Answer::Written { version: answer.version() }),
            state_cas::Result::Conflict => Outcome::Ok(Answer::Conflict { version: answer.version() }),
            state_cas::Result::Fenced => Outcome::Failed,
            state_cas::Result::Unknown => Outcome::Unknown,
        },
        _nothing => Outcome::Unknown,
    }
}
