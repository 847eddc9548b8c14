//! What makes the core run: the event loop that owns it, the way into that loop, the clock, and what was seen on the way.

mod clock;
mod effects;
mod event_loop;
mod executor_streams;
mod handle;
mod notes;
mod observed;

pub(crate) use clock::milliseconds;
pub(crate) use event_loop::{EventLoop, Parts};
pub(crate) use executor_streams::ExecutorStreams;
pub(crate) use handle::{Handle, LinkNews, Outgoing, Queues};
pub(crate) use observed::{Count, Observed};
