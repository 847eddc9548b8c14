//! The accept loop: HTTP/1.1 and HTTP/2 without TLS on one port.
//!
//! Owns the connections: their number is bounded so that tasks can still be started, those that do nothing for too long are ended, small
//! writes leave at once, and all end when the agent stops. Looks into no request.

use std::pin::pin;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tepui_proto::connections::{Bounds, Watch};
use tepui_proto::lines::Lines;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{App, router};
use crate::runtime::milliseconds;

/// After a failed accept (mostly: no file handles left) the loop rests, or it would burn a core.
const REST: Duration = Duration::from_millis(50);
/// Whoever floods the port must not flood the log.
const LINES_PER_SECOND: u32 = 1;

/// Answers requests until `stop`; open connections may finish what they have begun.
pub(crate) async fn serve(listener: TcpListener, app: App, bounds: Bounds, stop: CancellationToken) {
    let router = router(app);
    let bounds = Bounds { connections: affordable(bounds.connections), ..bounds };
    let mut connections = JoinSet::new();
    let (start, mut lines) = (Instant::now(), Lines::new(LINES_PER_SECOND));
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
        if connections.len() >= bounds.connections {
            let now_ms = milliseconds(start.elapsed());
            let more = lines.left_out(now_ms).unwrap_or(0);
            if lines.pass(now_ms) {
                tracing::warn!(open = connections.len(), more, "refused a connection: too many are open");
            }
            continue;
        }
        connections.spawn(connection(stream, router.clone(), bounds, stop.clone()));
    }
    while connections.join_next().await.is_some() {}
}

/// Half of the files that this process may open stays for tasks and the checkpoint.
fn affordable(connections: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / 2).map_or(connections, |half| connections.min(half))
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
