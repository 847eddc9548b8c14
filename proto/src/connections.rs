//! What a connection to one of our servers is doing, so that it can be ended when it does nothing for too long: it waits for a request
//! head, works, or is kept open without use.
//!
//! Owns the bounds and the watch over one connection, which sees what passes between it and the HTTP library. Opens nothing, owns no
//! clock and looks into no request: the accept loops of the servers bring a timer and do the rest.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Timer, Write};
use hyper::service::Service;
use hyper::{Request, Response, Version};

/// What a server grants to those who connect.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections; whoever comes beyond is turned away.
    pub connections: usize,
    /// How long a request head may take, from its first byte, or from the beginning of the connection.
    pub head: Duration,
    /// How long a connection is kept that has served a request and is not used.
    pub idle: Duration,
}

impl Bounds {
    /// Returns the usual times. Heads are small, so that half a minute is enough for the slowest line. Idle connections are another
    /// matter: schedulers and executors call when something happens, which may be seldom.
    pub fn new(connections: usize) -> Self {
        Self { connections, head: Duration::from_secs(30), idle: Duration::from_secs(3_600) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first head has not come, or a later one has begun.
    Head,
    /// Requests are being answered.
    Busy,
    /// Nothing has come since the last answer.
    Idle,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When that was first seen.
    since: Option<Instant>,
    in_flight: usize,
    /// Requests share the connection (HTTP/2), so that not everything that comes is the beginning of one.
    multiplexed: bool,
}

/// Sees what one connection does. Clones watch the same one.
#[derive(Clone, Debug)]
pub struct Watch {
    bounds: Bounds,
    state: Arc<Mutex<State>>,
}

impl Watch {
    /// Watches a connection that has just been opened.
    pub fn new(bounds: Bounds) -> Self {
        let state = State { phase: Phase::Head, since: None, in_flight: 0, multiplexed: false };
        Self { bounds, state: Arc::new(Mutex::new(state)) }
    }

    /// Drives a connection to its end and returns that, or `None` as soon as it has done nothing for too long.
    pub async fn over<F: Future>(&self, mut connection: Pin<&mut F>, timer: impl Timer) -> Option<F::Output> {
        let mut wake = timer.now() + self.bounds.head;
        let mut alarm = timer.sleep_until(wake);
        let mut is_over = false;
        poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(ended));
            }
            loop {
                let Some(at) = self.look(timer.now()) else { return Poll::Ready(None) };
                // One that rings too early costs less than setting it anew with every request.
                if at < wake || is_over {
                    (wake, is_over) = (at, false);
                    timer.reset(&mut alarm, at);
                }
                ready!(alarm.as_mut().poll(cx));
                is_over = true;
            }
        })
        .await
    }

    /// Returns when to look again, or `None` if the connection has done nothing for too long. To be asked whenever the connection was
    /// polled, and at the instant that it named.
    fn look(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let since = *state.since.get_or_insert(now);
        let end = match state.phase {
            Phase::Head => since + self.bounds.head,
            Phase::Idle => since + self.bounds.idle,
            Phase::Busy => return Some(now + self.bounds.idle),
        };
        (end > now).then_some(end)
    }

    /// Returns `stream` with the watch over what is read from it.
    pub fn stream<T>(&self, stream: T) -> Watched<T> {
        Watched { inner: stream, watch: self.clone() }
    }

    /// Returns `service` with the watch over the requests that it gets, until their answers are sent.
    pub fn service<S>(&self, service: S) -> WatchedService<S> {
        WatchedService { inner: service, watch: self.clone() }
    }

    fn on_bytes(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle && !state.multiplexed {
            state.enter(Phase::Head);
        }
    }

    fn on_request(&self, version: Version) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        state.multiplexed |= version == Version::HTTP_2;
        state.enter(Phase::Busy);
        InFlight { watch: self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and each change is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        (self.phase, self.since) = (phase, None);
    }
}

/// One request that is not answered to the end.
#[derive(Debug)]
struct InFlight {
    watch: Watch,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if state.in_flight == 0 {
            state.enter(Phase::Idle);
        }
    }
}

/// A stream under watch.
#[derive(Debug)]
pub struct Watched<T> {
    inner: T,
    watch: Watch,
}

impl<T: Read + Unpin> Read for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        // Or it is the end, after which nothing matters.
        self.watch.on_bytes();
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

/// A service under watch.
#[derive(Clone, Debug)]
pub struct WatchedService<S> {
    inner: S,
    watch: Watch,
}

impl<S, R, B> Service<Request<R>> for WatchedService<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: 'static,
    S::Error: 'static,
{
    type Response = Response<WatchedBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<R>) -> Self::Future {
        let in_flight = self.watch.on_request(request.version());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(response.map(|inner| WatchedBody { inner, _in_flight: in_flight }))
        })
    }
}

/// The body of an answer; the request is over when it is dropped.
#[derive(Debug)]
pub struct WatchedBody<B> {
    inner: B,
    _in_flight: InFlight,
}

impl<B: Body + Unpin> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> (Watch, Instant) {
        (Watch::new(Bounds { connections: 1, head: 3 * SECOND, idle: 100 * SECOND }), Instant::now())
    }

    #[test]
    fn a_head_has_its_time_from_the_first_byte_and_idling_has_another() {
        let (watch, start) = watch();
        let at = |seconds: u32| start + seconds * SECOND;
        assert_eq!(watch.look(at(0)), Some(at(3)), "nothing has come, and something must");
        watch.on_bytes();
        assert_eq!(watch.look(at(2)), Some(at(3)), "bytes that are no whole head win no time");
        let request = watch.on_request(Version::HTTP_11);
        for seconds in [2, 5, 5_000] {
            watch.on_bytes();
            assert!(watch.look(at(seconds)).is_some(), "an answer takes its time");
        }
        drop(request);
        assert_eq!(watch.look(at(6_000)), Some(at(6_100)));
        assert_eq!(watch.look(at(6_099)), Some(at(6_100)));
        watch.on_bytes();
        assert_eq!(watch.look(at(6_099)), Some(at(6_102)), "the next head has begun");
        watch.on_bytes();
        assert_eq!(watch.look(at(6_101)), Some(at(6_102)));
        assert_eq!(watch.look(at(6_102)), None);
        drop(watch.on_request(Version::HTTP_11));
        assert_eq!(watch.look(at(6_103)), Some(at(6_203)));
        assert_eq!(watch.look(at(6_203)), None, "idle for too long");
    }

    #[test]
    fn a_connection_that_is_shared_is_idle_when_all_requests_are_over() {
        let (watch, start) = watch();
        let (first, second) = (watch.on_request(Version::HTTP_2), watch.on_request(Version::HTTP_2));
        drop(first);
        assert!(watch.look(start + 5_000 * SECOND).is_some());
        drop(second);
        let idle = start + 5_000 * SECOND;
        assert_eq!(watch.look(idle), Some(idle + 100 * SECOND));
        // A ping, or the end of a window: no beginning of a head.
        watch.on_bytes();
        assert_eq!(watch.look(idle + 50 * SECOND), Some(idle + 100 * SECOND));
        assert_eq!(watch.look(idle + 100 * SECOND), None);
    }
}
