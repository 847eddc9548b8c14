//! The register's writers: one for each launch of the driver, each with the token of its launch, each going on until it is told that it
//! is fenced. They talk to the masters directly, so that what is measured is the cluster and not a client's back-off.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tepui_proto::MediaType;
use tepui_proto::tepui::operator::{Call, Response, call, response::state_cas};
use tepui_proto::wire;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Write};

/// The driver's name and so the scope of its register.
pub(super) const NAME: &str = "chaos";
/// The register.
const KEY: &str = "position";
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(5);
/// A master that does not answer within this is asked again later: it may be paused, and others may know better.
const PATIENCE: Duration = Duration::from_millis(300);
/// Before the next master is tried.
const NEXT: Duration = Duration::from_millis(2);

/// The book, shared by all writers.
pub(super) type Book = Arc<Mutex<Ledger>>;

/// Opens the book. A panic of another holder leaves it readable: it only ever grows.
pub(super) fn open(book: &Book) -> MutexGuard<'_, Ledger> {
    book.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Asks the masters, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Registers {
    http: reqwest::Client,
    masters: Vec<String>,
    /// The one that answered last.
    at: usize,
}

impl Registers {
    pub(super) fn new(masters: Vec<String>) -> anyhow::Result<Self> {
        tepui_sdk::transport::install_crypto();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(200))
            .timeout(PATIENCE)
            .build()?;
        Ok(Registers { http, masters, at: 0 })
    }

    /// Asks until some master answers, or forever. Returns when the answered request was sent.
    async fn ask(&mut self, call: &Call, token: &str) -> (Instant, Response) {
        let body = wire::encode(MediaType::Protobuf, call);
        loop {
            let sent = Instant::now();
            if let Some(response) = self.ask_one(body.clone(), token).await {
                return (sent, response);
            }
            self.at = (self.at + 1) % self.masters.len();
            tokio::time::sleep(NEXT).await;
        }
    }

    async fn ask_one(&self, body: Bytes, token: &str) -> Option<Response> {
        let request = self
            .http
            .post(format!("http://{}/tepui/v1/operator", self.masters[self.at]))
            .header("content-type", MediaType::Protobuf.as_str())
            .header("accept", MediaType::Protobuf.as_str())
            .header("tepui-driver-token", token)
            .body(body);
        let answer = request.send().await.ok().filter(|answer| answer.status() == 200)?;
        wire::decode(MediaType::Protobuf, &answer.bytes().await.ok()?).ok()
    }

    /// Reads the register and holds it against the book.
    pub(super) async fn read(&mut self, book: &Book) -> Option<Write> {
        let floor = open(book).position();
        let state_get = call::StateGet { scope: Some(NAME.to_owned()), key: Some(KEY.to_owned()) };
        let call =
            Call { r#type: Some(call::Type::StateGet as i32), state_get: Some(state_get), ..Call::default() };
        let (_, response) = self.ask(&call, "").await;
        let found = response.state_get.unwrap_or_default();
        open(book).read(floor, found.version(), found.value())
    }

    /// Writes once, repeating the same write until its outcome is known.
    async fn write(&mut self, write: &Write, token: &str) -> (Instant, Outcome) {
        let state_cas = call::StateCas {
            scope: Some(NAME.to_owned()),
            key: Some(KEY.to_owned()),
            expected_version: Some(write.version - 1),
            generation: Some(write.generation),
            value: Some(Bytes::from(write.value())),
        };
        let call =
            Call { r#type: Some(call::Type::StateCas as i32), state_cas: Some(state_cas), ..Call::default() };
        loop {
            let (sent, response) = self.ask(&call, token).await;
            let Some(answer) = response.state_cas else { continue };
            let outcome = match answer.result() {
                state_cas::Result::Ok => Outcome::Ok,
                state_cas::Result::Fenced => Outcome::Fenced(answer.generation()),
                state_cas::Result::Conflict => Outcome::Conflict(answer.version()),
                state_cas::Result::Unknown => continue,
            };
            return (sent, outcome);
        }
    }
}

enum Outcome {
    Ok,
    Fenced(u64),
    Conflict(u64),
}

/// One launch of the driver, as far as its register goes.
pub(super) struct Writer {
    pub(super) registers: Registers,
    pub(super) book: Book,
    pub(super) generation: u64,
    pub(super) token: String,
}

impl Writer {
    /// Writes one position after the other until it is fenced or stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let work = async {
            let mut last = self.registers.read(&self.book).await;
            loop {
                let write = Write::after(last.as_ref(), self.generation);
                open(&self.book).try_write(&write);
                match self.registers.write(&write, &self.token).await {
                    (sent, Outcome::Ok) => {
                        open(&self.book).acknowledge(&write, sent);
                        last = Some(write);
                    }
                    (_, Outcome::Fenced(generation)) => return self.is_fenced(generation),
                    // Whoever is not the newest must be told so, whatever its version; this writer knows of no newer one.
                    (_, Outcome::Conflict(version)) => return open(&self.book).conflict(&write, version),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }

    fn is_fenced(&self, by: u64) {
        let mut book = open(&self.book);
        if by <= self.generation {
            book.violations.push(format!("generation {} was fenced by generation {by}", self.generation));
        }
        book.fenced.push(self.generation);
    }
}

/// Writes once with the token of a launch that is over; true if that is refused as it must be.
pub(super) async fn zombie_is_fenced(
    mut registers: Registers,
    book: &Book,
    generation: u64,
    token: &str,
) -> bool {
    let last = registers.read(book).await;
    // What would have been right to write, had this launch still been the newest.
    let write = Write::after(last.as_ref(), generation);
    matches!(registers.write(&write, token).await, (_, Outcome::Fenced(by)) if by > generation)
}
