//! What the core is told once, at construction. Owns the defaults of its timers and limits.

use tepui_proto::v1;

/// Everything that an [`crate::Agent`] is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// As it registers: hostname, port, resources, attributes. An id in it is ignored: the checkpoint has the id.
    pub agent_info: v1::AgentInfo,
    /// Address of this host, given to the master and in the network part of each status.
    pub ip: String,
    /// Version text sent with REGISTER.
    pub version: String,
    /// Drawn anew for each start of the agent.
    pub boot_id: String,
    /// Randomness for the ids of updates and containers; must differ at each start.
    pub seed: [u8; 32],
    /// Grace between asking a task to end and forcing it, where neither the call nor the task says otherwise.
    pub default_grace_ms: u64,
    /// First and longest pause before an unacknowledged update is sent again.
    pub update_retry_min_ms: u64,
    pub update_retry_max_ms: u64,
    /// How long REGISTER may stay unanswered before the link is given up.
    pub register_timeout_ms: u64,
    /// How long SHUTDOWN waits for tasks beyond their grace.
    pub shutdown_margin_ms: u64,
    /// How long the process of an executor may take to subscribe, counted from its start.
    pub executor_registration_timeout_ms: u64,
    /// How long executors have to subscribe again after the agent restarted.
    pub executor_reregistration_timeout_ms: u64,
    /// Grace between asking an executor to end and forcing it, where it names none itself.
    pub executor_shutdown_grace_ms: u64,
    /// Pause between two HEARTBEAT events of an executor's stream.
    pub executor_heartbeat_ms: u64,
    /// How many forgotten tasks of each executor stay visible.
    pub completed_tasks_max: usize,
    /// How many ended executors of each framework stay visible, with their tasks; commands count as executors.
    pub completed_executors_max: usize,
    /// How many frameworks without tasks and executors stay visible, with what they had.
    pub completed_frameworks_max: usize,
    /// Bytes that all of this may take; the oldest goes first.
    pub completed_bytes_max: usize,
    /// How many tasks (running, or waiting for an acknowledgement) an agent holds before it refuses launches.
    pub tasks_max: usize,
}

impl Config {
    /// Returns a configuration with the usual timers and limits.
    pub fn new(agent_info: v1::AgentInfo, ip: impl Into<String>, seed: [u8; 32]) -> Self {
        Self {
            agent_info,
            ip: ip.into(),
            version: String::new(),
            boot_id: String::new(),
            seed,
            default_grace_ms: 3_000,
            update_retry_min_ms: 10_000,
            update_retry_max_ms: 600_000,
            register_timeout_ms: 10_000,
            shutdown_margin_ms: 5_000,
            executor_registration_timeout_ms: 60_000,
            executor_reregistration_timeout_ms: 2_000,
            executor_shutdown_grace_ms: 5_000,
            executor_heartbeat_ms: 1_800_000,
            completed_tasks_max: 200,
            completed_executors_max: 150,
            completed_frameworks_max: 50,
            completed_bytes_max: 64 << 20,
            tasks_max: 10_000,
        }
    }
}
