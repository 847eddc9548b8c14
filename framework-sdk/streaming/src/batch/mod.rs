//! One micro-batch: planned, run by slots, committed. All decisions here are pure functions of the register.
//!
//! ```text
//! plan.rs      what the next batch reads (pure)
//! task.rs      what a slot is told, and what it answers
//! slot.rs      what a slot does: read, compute, stage (file I/O only)
//! commit.rs    answers → next register (pure)
//! pressure.rs  how large the next batch may be (pure)
//! ```

mod commit;
mod plan;
pub(crate) mod pressure;
pub(crate) mod slot;
mod task;

pub use commit::Inconsistent;
pub(crate) use commit::{Outcome, check_done, next_register};
pub(crate) use plan::plan_next;
pub use task::SlotFailure;
pub(crate) use task::{SlotDone, SlotTask};
