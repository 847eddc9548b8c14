//! Questions between replicas about their states: opaque bytes there and back, answered by the state machine of whoever is asked.
//!
//! Owns the client for them, so that they delay neither entries nor heartbeats, and the bound of their size.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{header, path};
use crate::cluster::Cluster;
use crate::config::{NodeId, Peer};
use crate::error::AskError;
use crate::machine::Machine;
use crate::roster::Roster;

/// Longest question and longest answer, bytes.
pub(crate) const MAX_QUESTION: usize = 1 << 20;

/// The asking side.
pub(crate) struct Asker {
    client: reqwest::Client,
    cluster: Cluster,
    roster: Roster,
}

impl Asker {
    pub(crate) fn new(cluster: Cluster, roster: Roster) -> Result<Asker, reqwest::Error> {
        // Another part of the process may have installed one; any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client =
            reqwest::Client::builder().no_proxy().http2_prior_knowledge().tls_certs_only([]).build()?;
        Ok(Asker { client, cluster, roster })
    }

    pub(crate) async fn ask(
        &self,
        target: NodeId,
        peer: &Peer,
        question: Bytes,
        within: Duration,
    ) -> Result<Bytes, AskError> {
        let failed = |e: reqwest::Error| AskError(e.to_string());
        let greeting = self.cluster.greet(target, self.roster.incarnation(), self.roster.bound(target, None));
        let greeting =
            greeting.ok_or_else(|| AskError("this replica belongs to no cluster yet".to_owned()))?;
        let mut request = self
            .client
            .post(format!("http://{}{}", peer.peer_addr, path::ASK))
            .header(header::CLUSTER, greeting.cluster_id)
            .header(header::FROM, greeting.from)
            .header(header::TO, greeting.to)
            .timeout(within);
        for (name, folder) in
            [(header::INCARNATION, greeting.incarnation), (header::EXPECTS, greeting.expects)]
        {
            if let Some(folder) = folder {
                request = request.header(name, folder.to_string());
            }
        }
        if let Some(secret) = greeting.secret {
            request = request.header(header::SECRET, secret);
        }
        let answer = request.body(question).send().await.map_err(failed)?;
        let status = answer.status();
        if status != reqwest::StatusCode::OK {
            return Err(AskError(format!("replica {target} answers {status}")));
        }
        match answer.content_length() {
            Some(bytes) if bytes > MAX_QUESTION as u64 => {
                Err(AskError(format!("an answer of {bytes} bytes")))
            }
            None => Err(AskError("an answer without a length".to_owned())),
            Some(_) => answer.bytes().await.map_err(failed),
        }
    }
}

/// The answering side.
#[derive(Clone)]
pub(crate) struct Answerer(pub(crate) Arc<Mutex<Box<dyn Machine>>>);

impl Answerer {
    /// Asks the state machine, which may be busy applying: on a blocking thread.
    pub(crate) async fn answer(&self, question: Bytes) -> Option<Bytes> {
        let machine = Arc::clone(&self.0);
        let work = move || machine.lock().unwrap_or_else(PoisonError::into_inner).answer(&question);
        crate::blocking::run(work).await.ok()
    }
}
