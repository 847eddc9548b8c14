//! What a replica finds around it: a log on a disk, a way to its peers, an address where they find it.
//!
//! Owns the seam and its real side. The other side is a simulated machine; everything in between, raft included, is the same.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use futures::future::BoxFuture;
use tokio::net::TcpListener;

use crate::blocking;
use crate::card::{self, Card};
use crate::config::Config;
use crate::error::OpenError;
use crate::fatal::Fatal;
use crate::log::faults::Faults;
use crate::log::{self, LogStore};
use crate::network::{Carrier, Http, serve};
use crate::seat::Incarnation;

/// Serves what peers ask until it is dropped, or fails.
pub(crate) type Serve = Box<dyn FnOnce(Router) -> BoxFuture<'static, std::io::Result<()>> + Send>;

/// See the module head.
pub(crate) trait Surroundings: Send + Sync + 'static {
    /// Opens or creates the log of this replica; tells which folder it is.
    fn open_log(
        &self,
        config: &Config,
        fatal: Fatal,
    ) -> BoxFuture<'static, Result<(LogStore, Incarnation), OpenError>>;

    /// The way to the peers.
    fn carrier(&self, config: &Config) -> Result<Arc<dyn Carrier>, OpenError>;

    /// Takes the address on which peers reach this replica; they are heard once it is served.
    fn listen(&self, config: &Config) -> BoxFuture<'static, Result<(SocketAddr, Serve), OpenError>>;
}

/// Files, sockets and threads.
pub(crate) struct Real;

impl Surroundings for Real {
    fn open_log(
        &self,
        config: &Config,
        fatal: Fatal,
    ) -> BoxFuture<'static, Result<(LogStore, Incarnation), OpenError>> {
        let (dir, node_id) = (config.dir.clone(), config.node_id);
        let faults = Faults::told_by(config.faults.as_deref());
        let work = move || {
            card::make_folder(&dir)?;
            Card::check(&dir, node_id)?;
            let log = log::open(&dir, node_id, faults, fatal)?;
            let incarnation = Card::complete(&dir, node_id)?;
            Ok((log, incarnation))
        };
        Box::pin(
            async move { blocking::run(work).await.unwrap_or_else(|e| Err(OpenError::Raft(e.to_string()))) },
        )
    }

    fn carrier(&self, config: &Config) -> Result<Arc<dyn Carrier>, OpenError> {
        let http = Http::new(&config.timing).map_err(|e| OpenError::Raft(e.to_string()))?;
        Ok(Arc::new(http))
    }

    fn listen(&self, config: &Config) -> BoxFuture<'static, Result<(SocketAddr, Serve), OpenError>> {
        let addr = config.peer_listen;
        Box::pin(async move {
            let failed = |source| OpenError::Listen { addr, source };
            let listener = TcpListener::bind(addr).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            let serving: Serve = Box::new(move |router| Box::pin(serve(listener, router)));
            Ok((bound, serving))
        })
    }
}
