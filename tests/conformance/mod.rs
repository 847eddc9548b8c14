//! The conformance scenarios: what a Mesos-compatible cluster must do, seen from outside over HTTP, in both encodings.
//!
//! ```text
//!   table ──► runner ──► Context (one of three shared clusters, or one that a scenario disturbs and that is mended after it)
//!                           └──► scenario ──► wire: plain HTTP, record streams, bare TCP
//! ```
//! Owns the numbers, which are those of the public list in `docs/conformance.md`. Uses no part of the product beyond its messages and its processes.

mod context;
mod page;
mod runner;
mod scenarios;
mod table;
mod wire;

use std::time::Duration;

pub use context::Context;
pub use page::{count, page};
pub use runner::{Outcome, Report, Settings, Summary, run};
pub use table::table;
use tepui_proto::MediaType;
pub use wire::chunks;

/// How long a scenario waits for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Which cluster a scenario needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// One master and two agents with quiet timers.
    Calm,
    /// The same with very short ones: agents are given up and offers are taken back within seconds.
    Quick,
    /// Like `Quick` with three agents, of which one at a time is given up and few are remembered for long.
    Limited,
    /// Three masters and two agents.
    Trio,
    /// The same with the timers that users have: how long things take is the subject.
    Swift,
    /// One master with a domain, a list of hosts and GPUs that do not count for shares; three agents that differ: a plain one,
    /// a tiny one with GPUs, one in another region.
    Mixed,
}

/// In which encodings a scenario makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encodings {
    /// In each.
    Both,
    /// In JSON; the encoding is the subject, or makes no difference to it.
    Json,
    /// In protobuf.
    Protobuf,
}

impl Encodings {
    /// As a list.
    pub fn list(self) -> &'static [MediaType] {
        match self {
            Encodings::Both => &[MediaType::Json, MediaType::Protobuf],
            Encodings::Json => &[MediaType::Json],
            Encodings::Protobuf => &[MediaType::Protobuf],
        }
    }
}

/// How a scenario is carried out.
pub type Run = for<'a> fn(&'a mut Context) -> futures::future::LocalBoxFuture<'a, anyhow::Result<()>>;

/// A scenario that can be run.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    pub needs: Needs,
    pub encodings: Encodings,
    pub run: Run,
    /// What of the scenario is not covered yet; empty if it is covered whole.
    pub lacks: &'static str,
}

/// Whether a scenario can be run.
#[derive(Clone, Copy, Debug)]
pub enum State {
    Built(Built),
    /// It waits for something that is not built yet.
    Later(&'static str),
}

/// One scenario of the list.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// `1` to `110`, and `110b`.
    pub number: &'static str,
    pub name: &'static str,
    pub state: State,
}

impl Scenario {
    /// The number as it stands in names of tests: `s007`, `s110b`.
    pub fn tag(&self) -> String {
        let digits = self.number.trim_end_matches(char::is_alphabetic);
        let suffix = &self.number[digits.len()..];
        format!("s{digits:0>3}{suffix}")
    }
}

/// A scenario cannot be run on this machine; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("skipped: {0}")]
pub struct Skipped(pub String);
