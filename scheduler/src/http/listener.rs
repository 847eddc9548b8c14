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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    /// Nothing here takes as long, unless it never comes.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Served {
        address: SocketAddr,
        metrics: Arc<Metrics>,
        tracker: TaskTracker,
        stop: CancellationToken,
    }

    impl Served {
        async fn start(bounds: Bounds) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (metrics, tracker, stop) =
                (Arc::new(Metrics::new()), TaskTracker::new(), CancellationToken::new());
            let router = Router::new().fallback(async || "ok");
            let serving = serve(listener, router, bounds, metrics.clone(), tracker.clone(), stop.clone());
            tracker.spawn(serving);
            Self { address, metrics, tracker, stop }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// Ends it; whoever is still connected does not hold it up.
        async fn end(self) {
            self.stop.cancel();
            self.tracker.close();
            tokio::time::timeout(PATIENCE, self.tracker.wait()).await.expect("all connections end");
        }
    }

    /// Returns whether a request over this connection is answered; it stays open then.
    async fn is_answered(stream: &mut TcpStream) -> bool {
        if stream.write_all(REQUEST).await.is_err() {
            return false;
        }
        let mut answer = [0; 1_024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await;
        match read.expect("an answer, or the end") {
            Ok(length) => answer[..length].starts_with(b"HTTP/1.1 200"),
            Err(_) => false,
        }
    }

    #[tokio::test]
    async fn who_comes_beyond_the_bound_is_turned_away_and_nobody_else_notices() {
        let served = Served::start(Bounds::new(3)).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = served.connect().await;
            assert!(is_answered(&mut stream).await);
            held.push(stream);
        }
        for _ in 0..50 {
            assert!(!is_answered(&mut served.connect().await).await);
        }
        assert_eq!(served.metrics.connections.get(), 3);
        for stream in &mut held {
            assert!(is_answered(stream).await, "who was there goes on");
        }
        held.pop();
        let deadline = Instant::now() + PATIENCE;
        while !is_answered(&mut served.connect().await).await {
            assert!(Instant::now() < deadline, "no room, although somebody left");
        }
        served.end().await;
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_its_connection_and_idling_does_not() {
        let bounds = Bounds { head: Duration::from_millis(300), ..Bounds::new(100) };
        let served = Served::start(bounds).await;
        let mut idle = served.connect().await;
        assert!(is_answered(&mut idle).await);
        let silent = served.connect().await;
        let mut half = served.connect().await;
        half.write_all(&REQUEST[..10]).await.unwrap();
        let mut second = served.connect().await;
        assert!(is_answered(&mut second).await);
        second.write_all(&REQUEST[..10]).await.unwrap();
        for mut stream in [silent, half, second] {
            let mut rest = Vec::new();
            let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
            // With or without an error: it is over.
            drop(end.expect("it is cut off"));
        }
        assert!(is_answered(&mut idle).await, "it waited for longer than a head may");
        served.end().await;
    }
}
