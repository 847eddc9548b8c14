//! A custom executor's conversation with the agent that launched it.
//!
//! [`Driver`] subscribes, sends updates until they are acknowledged, and comes back after a restart of the agent with what the
//! agent may have missed; [`Handle`] is how an executor speaks and [`Events`] how it listens. Decisions are made by a session
//! without I/O.
//!
//! ```no_run
//! use tepui_sdk::executor::{Driver, Event, ExecutorEnvironment};
//! use tepui_sdk::v1::TaskState;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (driver, handle, mut events) = Driver::new(ExecutorEnvironment::from_env()?)?;
//! let work = async {
//!     while let Some(event) = events.next().await {
//!         match event {
//!             Event::Launch(task) => {
//!                 handle.report(task.task_id.clone(), TaskState::TaskRunning).await?;
//!                 // … do what the task says …
//!                 handle.report(task.task_id, TaskState::TaskFinished).await?;
//!             }
//!             Event::Shutdown => handle.stop().await?,
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! };
//! let (ended, worked): (_, Result<(), tepui_sdk::executor::DriverGone>) = tokio::join!(driver.run(), work);
//! worked?;
//! ended?;
//! # Ok(())
//! # }
//! ```

mod driver;
mod environment;
mod event;
mod handle;
mod session;

pub use driver::{Driver, DriverError};
pub use environment::ExecutorEnvironment;
pub use event::Event;
pub use handle::{DriverGone, Events, Handle};
