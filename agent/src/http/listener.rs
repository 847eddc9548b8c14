//! The accept loop: HTTP/1.1 and HTTP/2 without TLS on one port.
//!
//! Owns the connections: their number is bounded so that tasks can still be started, small writes leave at once, and all end when
//! the agent stops. Looks into no request.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{App, router};

/// More connections are of use to nobody.
const CONNECTIONS_MAX: u64 = 4096;
/// A client that has not sent a whole request head for this long is cut off; it also ends connections that are kept open
/// without use, which executors may do for long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3600);
/// After a failed accept (mostly: no file handles left) the loop rests, or it would burn a core.
const REST: Duration = Duration::from_millis(50);

/// Answers requests until `stop`; open connections may finish what they have begun.
pub(crate) async fn serve(listener: TcpListener, app: App, stop: CancellationToken) {
    let router = router(app);
    let connections_max = connections_max();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        if connections.len() >= connections_max {
            tracing::warn!(connections_max, "refused a connection: too many are open");
            continue;
        }
        connections.spawn(connection(stream, router.clone(), stop.clone()));
    }
    while connections.join_next().await.is_some() {}
}

/// Half of the files that this process may open stays for tasks and the checkpoint.
fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(CONNECTIONS_MAX.min(files / 2)).unwrap_or(usize::MAX)
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Events are small and must not wait for each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended early");
    }
}
