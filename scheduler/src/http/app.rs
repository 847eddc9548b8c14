//! What every handler can reach: handles, never the things themselves.

use std::path::PathBuf;
use std::sync::Arc;

use tepui_proto::origin::Origin;
use tepui_raft_store::NodeId;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Authentication, Limits, Secret};
use crate::http::error::Refusal;
use crate::http::flow::Flows;
use crate::http::metrics::Metrics;
use crate::http::rate::Gate;
use crate::runtime::audit::Findings;
use crate::runtime::board::Board;
use crate::runtime::events::Hub;
use crate::runtime::handle::Handle;
use crate::runtime::masters::Told;
use crate::runtime::operator_events;
use crate::runtime::reads::ReadView;
use crate::runtime::replica::Replica;
use crate::runtime::role::Role;
use crate::runtime::verbosity::Verbosity;
use crate::stats::Stats;

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub(crate) node_id: NodeId,
    pub(crate) hostname: String,
    pub(crate) ip: String,
    pub(crate) port: u16,
    /// `host:port` under which clients reach this master.
    pub(crate) api_address: String,
    pub(crate) cluster: Option<String>,
    pub(crate) origin: Origin,
    pub(crate) started_wall_ms: u64,
    /// Where the process writes its log, if into a file.
    pub(crate) log_file: Option<PathBuf>,
    /// The configuration as names and values, secrets hidden.
    pub(crate) flags: Vec<(String, String)>,
}

/// The handlers' state.
pub(crate) struct App {
    pub(crate) info: Info,
    pub(crate) handle: Handle,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) board: Arc<Board>,
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) operator_events: operator_events::Handle,
    pub(crate) events: Arc<Hub>,
    /// Who leads, and which masters there are.
    pub(crate) masters: watch::Receiver<Arc<Told>>,
    /// Places for those who listen to that.
    pub(crate) listeners: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stats: Arc<Stats>,
    /// What comparing the masters' states has shown.
    pub(crate) findings: Arc<Findings>,
    pub(crate) verbosity: Arc<Verbosity>,
    pub(crate) secret: Option<Secret>,
    pub(crate) authentication: Authentication,
    pub(crate) rate: Gate,
    pub(crate) limits: Limits,
    /// Long answers on their way.
    pub(crate) flows: Flows,
    /// How many large answers are rendered at once.
    pub(crate) renderers: Arc<Semaphore>,
    /// How many backups are on their way at once.
    pub(crate) backups: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

impl App {
    /// Waits until the newest look holds everything that was acknowledged anywhere before the call.
    ///
    /// # Errors
    /// 503 if that cannot be proven.
    pub(crate) async fn settle(&self) -> Result<(), Refusal> {
        let settled = self.replica.settle().await;
        settled.map(drop).map_err(|error| {
            Refusal::unavailable(format!("the read cannot be proven to be current: {error}"))
        })
    }

    /// The newest look at the Registry of this replica.
    pub(crate) fn read_view(&self) -> ReadView {
        ReadView::aged(&self.board, &*self.replica)
    }
}
