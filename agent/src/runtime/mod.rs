//! What makes the core run: the event loop that owns it, the way into that loop, and the clock.

mod clock;
mod effects;
mod event_loop;
mod handle;

pub(crate) use clock::milliseconds;
pub(crate) use event_loop::{EventLoop, Parts};
pub(crate) use handle::{Handle, LinkNews};
