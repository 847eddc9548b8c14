//! A small HTTP client for tests: what is tested is the server, so every request gets a connection of its own.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tepui_proto::recordio::Decoder;
use tepui_scheduler::Server;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Nothing here takes longer on any machine, unless it is broken.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Sends requests to one address.
pub(crate) struct Client {
    pub(crate) address: String,
    tasks: JoinSet<()>,
}

impl Client {
    pub(crate) fn new(address: impl ToString) -> Client {
        Client { address: address.to_string(), tasks: JoinSet::new() }
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn(async move {
            // An end in the middle of a stream is what some of these tests are about.
            let _ = connection.await;
        });
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        tokio::time::timeout(LONG, sender.send_request(request)).await.unwrap().unwrap()
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Incoming> {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.send("POST", path, &all, body).await
    }

    pub(crate) async fn json(&mut self, path: &str, body: &str) -> Value {
        let answer = self.post(path, &[], body).await;
        assert_eq!(answer.status(), 200, "{body}");
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }
}

/// The records of a stream.
pub(crate) struct Records {
    body: Incoming,
    decoder: Decoder,
}

impl Records {
    pub(crate) fn of(answer: Response<Incoming>) -> Records {
        Records { body: answer.into_body(), decoder: Decoder::new(1 << 22) }
    }

    /// The next event, `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(record) = self.decoder.next_record().unwrap() {
                return Some(serde_json::from_slice(&record).unwrap());
            }
            let frame = tokio::time::timeout(LONG, self.body.frame()).await.unwrap()?;
            self.decoder.push(&frame.ok()?.into_data().unwrap());
        }
    }

    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }
}

/// Waits until one of these masters answers for the cluster; returns which.
pub(crate) async fn serving(servers: &[&Server]) -> usize {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(leader) = servers.iter().position(|server| server.serving()) {
            return leader;
        }
        assert!(Instant::now() < deadline, "no leadership");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
