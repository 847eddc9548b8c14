//! The accept loop: HTTP/1.1 and HTTP/2 without TLS on one port.
//!
//! Owns the connections: their number is bounded, each is a tracked task, those that do nothing for too long are ended, small writes
//! leave at once, and all end when the master stops. Looks into no request.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tepui_proto::connections::{Bounds, Watch};
use tepui_proto::lines::Lines;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::metrics::Metrics;

/// After a failed accept (mostly: no file handles left) the loop rests, or it would burn a core.
const REST: Duration = Duration::from_millis(50);
/// Whoever floods the port must not flood the log.
const LINES_PER_SECOND: u32 = 1;

/// Serves `router` on `listener` until `stop`; open connections may finish what they have begun.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let (start, mut lines) = (Instant::now(), Lines::new(LINES_PER_SECOND));
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
            let now_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let more = lines.left_out(now_ms).unwrap_or(0);
            if lines.pass(now_ms) {
                tracing::warn!(open = bounds.connections, more, "refused a connection: too many are open");
            }
            continue;
        };
        let connection = connection(stream, router.clone(), bounds, stop.clone());
        let open = metrics.connections.clone();
        open.inc();
        tracker.spawn(async move {
            connection.await;
            open.dec();
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, router: Router, bounds: Bounds, stop: CancellationToken) {
    // Events are small and must not wait for each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut builder = Builder::new(TokioExecutor::new());
    // The watch tells a head that does not come from a connection that is not used; the timer of the library does not.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new());
    let watch = Watch::new(bounds);
    let service = watch.service(TowerToHyperService::new(router));
    let mut connection = pin!(builder.serve_connection(watch.stream(TokioIo::new(stream)), service));
    let ended = tokio::select! {
        ended = watch.over(connection.as_mut(), TokioTimer::new()) => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            Some(connection.await)
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::trace!(%error, "a connection ended early"),
        None => tracing::trace!("a connection did nothing for too long"),
    }
}
