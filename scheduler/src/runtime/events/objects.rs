//! The objects on the event stream, field by field. Their names are a contract with the dashboard and the command line.

use serde::Serialize;
use serde_json::Value;

use crate::view::amounts::Scalars;

/// One event: an object as it is now, or `null` when it is no more.
#[derive(Serialize)]
pub(super) struct Event<'a, T> {
    pub(super) kind: &'static str,
    pub(super) id: &'a str,
    pub(super) object: Option<T>,
}

#[derive(Serialize)]
pub(super) struct Master {
    pub(super) node_id: u64,
    /// `host:port` of its public API.
    pub(super) api: String,
    pub(super) leader: bool,
    /// Whether it is the one that sends this stream.
    #[serde(rename = "self")]
    pub(super) this: bool,
    pub(super) voter: bool,
    /// How far its log is known to agree; only the leader knows.
    pub(super) matched_index: Option<u64>,
    /// Only known of the one that sends this stream.
    pub(super) applied_index: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Leadership {
    pub(super) leader: Option<u64>,
    pub(super) leader_api: Option<String>,
    pub(super) epoch: u64,
    /// Whether this stream comes from a master that does not lead.
    pub(super) standby: bool,
    pub(super) applied_index: u64,
    pub(super) cluster_id: String,
    pub(super) master_id: Option<String>,
    /// Milliseconds since 1970.
    pub(super) elected_ms: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Cluster {
    pub(super) cluster_id: String,
    pub(super) name: Option<String>,
    pub(super) version: &'static str,
    pub(super) agents: usize,
    pub(super) frameworks: usize,
    pub(super) tasks: std::collections::BTreeMap<&'static str, usize>,
    /// Live tasks; the snapshot may hold fewer.
    pub(super) live_tasks: usize,
    pub(super) total: Scalars,
    pub(super) allocated: Scalars,
}

#[derive(Serialize)]
pub(super) struct Agent<'a> {
    pub(super) agent_id: &'a str,
    pub(super) hostname: &'a str,
    pub(super) ip: Option<&'a str>,
    pub(super) port: i32,
    pub(super) state: &'static str,
    pub(super) total: Scalars,
    pub(super) allocated: Scalars,
    pub(super) tasks: usize,
    pub(super) version: &'a str,
    /// Volumes that it holds and the cluster does not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) orphaned_volumes: Vec<Volume>,
}

#[derive(Serialize)]
pub(super) struct Volume {
    pub(super) role: String,
    pub(super) id: String,
}

#[derive(Serialize)]
pub(super) struct Framework<'a> {
    pub(super) framework_id: &'a str,
    pub(super) name: &'a str,
    pub(super) roles: Vec<String>,
    pub(super) connected: bool,
    /// A part of the masters themselves.
    pub(super) internal: bool,
    pub(super) tasks: usize,
    pub(super) user: &'a str,
}

#[derive(Serialize)]
pub(super) struct Task<'a> {
    pub(super) framework_id: &'a str,
    pub(super) task_id: &'a str,
    pub(super) name: &'a str,
    pub(super) agent_id: &'a str,
    pub(super) state: &'static str,
    /// Whether its end is not yet acknowledged.
    pub(super) live: bool,
    pub(super) cpus: f64,
    pub(super) mem: f64,
    pub(super) message: Option<&'a str>,
    /// Seconds since 1970 of the last status.
    pub(super) timestamp: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct Driver<'a> {
    pub(super) name: &'a str,
    pub(super) state: &'static str,
    pub(super) generation: u64,
    pub(super) restarts: u32,
    pub(super) agent_id: &'a str,
    pub(super) task_id: &'a str,
    pub(super) framework_id: &'a str,
    pub(super) next_launch_in_ms: Option<u64>,
    pub(super) message: &'a str,
    pub(super) attempts: Vec<Attempt<'a>>,
}

#[derive(Serialize)]
pub(super) struct Attempt<'a> {
    pub(super) generation: u64,
    pub(super) agent_id: &'a str,
    pub(super) state: Option<&'static str>,
    pub(super) message: Option<&'a str>,
    pub(super) started_at_ms: Option<u64>,
    pub(super) ended_at_ms: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Register<'a> {
    pub(super) scope: &'a str,
    pub(super) key: &'a str,
    pub(super) version: u64,
    pub(super) generation: u64,
    pub(super) bytes: usize,
    /// Milliseconds since 1970.
    pub(super) written_ms: u64,
    /// The value as it is, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Value>,
}
