//! The runtime as the consensus library sees it: tokio's, with two things of our own.
//!
//! Owns where the library's chance comes from, and in which order its watchers wake: the one that waited longest first, where tokio
//! draws lots. Both make a simulated cluster repeatable; neither costs anything elsewhere. Spawns nothing itself.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use openraft::async_runtime::watch::{RecvError, SendError};
use openraft::async_runtime::{AsyncRuntime, Watch, WatchReceiver, WatchSender};
use openraft::impls::TokioRuntime;
use openraft::rt::deterministic_rng::DeterministicRng;
use tokio::sync::{Notify, watch};

use crate::chance;

type Seeded = DeterministicRng<TokioRuntime>;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Runtime(TokioRuntime);

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: Send + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + Send> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Seeded as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = FairWatch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: Send + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        // Asked for a few times a second. The generator's type has no name here, so the library makes it from our number.
        let seed = chance::number();
        let seeded = Seeded::scope(seed, async { Seeded::thread_rng() }).now_or_never();
        seeded.expect("a block without a wait is ready at once")
    }

    fn new(threads: usize) -> Self {
        Runtime(TokioRuntime::new(threads))
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }

    async fn spawn_blocking<F, T>(work: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        crate::blocking::run(work).await.map_err(io::Error::other)
    }
}

/// A watched value whose watchers wake in the order in which they began to wait.
pub(crate) struct FairWatch;

/// The side that sets the value. The value is closed before the bell of the last sender rings: fields go in this order.
pub(crate) struct Sender<T> {
    value: watch::Sender<T>,
    bell: Arc<Bell>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { value: self.value.clone(), bell: Arc::clone(&self.bell) }
    }
}

/// The side that waits for changes.
pub(crate) struct Receiver<T> {
    value: watch::Receiver<T>,
    ring: Arc<Notify>,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver { value: self.value.clone(), ring: Arc::clone(&self.ring) }
    }
}

/// Rings once more when the last sender is gone.
struct Bell(Arc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

impl Watch for FairWatch {
    type Sender<T: Send + Sync> = Sender<T>;
    type Receiver<T: Send + Sync> = Receiver<T>;
    type Ref<'a, T: Send + 'a> = watch::Ref<'a, T>;

    fn channel<T: Send + Sync>(init: T) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = watch::channel(init);
        let ring = Arc::new(Notify::new());
        let bell = Arc::new(Bell(Arc::clone(&ring)));
        (Sender { value: sender, bell }, Receiver { value: receiver, ring })
    }
}

impl<T: Send + Sync> WatchSender<FairWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.value.send(value).map_err(|e| SendError(e.0))?;
        self.bell.0.notify_waiters();
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = self.value.send_if_modified(modify);
        if modified {
            self.bell.0.notify_waiters();
        }
        modified
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.value.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver { value: self.value.subscribe(), ring: Arc::clone(&self.bell.0) }
    }
}

impl<T: Send + Sync> WatchReceiver<FairWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        let notify = Arc::clone(&self.ring);
        loop {
            // Made before looking: whatever rings from here on wakes it.
            let ring = notify.notified();
            let closed = self.value.has_changed().is_err();
            if self.value.borrow().has_changed() {
                self.value.mark_unchanged();
                return Ok(());
            }
            if closed {
                return Err(RecvError(()));
            }
            ring.await;
        }
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.value.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.value.borrow_and_update()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_runtime_that_the_library_can_use() {
        openraft::rt::testing::Suite::<Runtime>::test_all();
    }

    #[tokio::test]
    async fn watchers_wake_in_the_order_in_which_they_began_to_wait() {
        let (sender, receiver) = FairWatch::channel(0);
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (mut receiver, told) = (receiver.clone(), told.clone());
            waiting.spawn(async move {
                receiver.changed().await.unwrap();
                told.send(number).unwrap();
            });
            tokio::task::yield_now().await;
        }
        sender.send(1).unwrap();
        waiting.join_all().await;
        let order: Vec<i32> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_last_value_is_seen_before_the_end() {
        let (sender, mut receiver) = FairWatch::channel(0);
        let second = sender.clone();
        second.send(1).unwrap();
        drop(second);
        drop(sender);
        assert!(receiver.changed().await.is_ok());
        assert_eq!(*receiver.borrow_watched(), 1);
        assert!(receiver.changed().await.is_err());
    }

    #[tokio::test]
    async fn the_end_wakes_who_waits() {
        let (sender, mut receiver) = FairWatch::channel(0);
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn(async move { receiver.changed().await.is_err() });
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(waiting.join_all().await, [true]);
    }
}
