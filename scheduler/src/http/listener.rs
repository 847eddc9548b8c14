//! The accept loop: HTTP/1.1 and HTTP/2 without TLS on one port.
//!
//! Owns the connections: their number is bounded, each is a tracked task, small writes leave at once, and all end when the
//! master stops. Looks into no request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::metrics::Metrics;

/// A client that has not sent a whole request head for this long is cut off. It also ends connections that are kept open
/// without use, which some frameworks do for long; the bound on their number protects from the rest.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3600);
/// After a failed accept (mostly: no file handles left) the loop rests, or it would burn a core.
const REST: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`; open connections may finish what they have begun.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    connections: usize,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(connections));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            tracing::warn!(connections, "refused a connection: too many are open");
            continue;
        };
        let connection = connection(stream, router.clone(), stop.clone());
        let open = metrics.connections.clone();
        open.inc();
        tracker.spawn(async move {
            connection.await;
            open.dec();
            drop(permit);
        });
    }
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
