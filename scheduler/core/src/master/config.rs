//! The settings of the core: every timer and limit is one, so that tests can run them fast.

use std::collections::BTreeSet;

use crate::allocator::Options;

/// Settings of the core; all times in milliseconds of cluster time. See `targets.md`, *Defaults*, for the reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Between heartbeats on a framework's stream.
    pub heartbeat_interval_ms: u64,
    pub agent_ping_interval_ms: u64,
    /// Pings without an answer until an agent counts as disconnected; times the interval: until it is unreachable.
    pub agent_ping_timeouts: u32,
    /// Grace of agents after a leader change; never below the time until unreachable.
    pub agent_grace_ms: u64,
    /// Grace of a framework that was connected when its leader was lost; its failover timeout if that is longer.
    pub framework_grace_ms: u64,
    /// Least time that a framework held as disconnected has after a leader change.
    pub framework_min_grace_ms: u64,
    /// Longest wait of a reported status until it is proposed.
    pub observe_interval_ms: u64,
    /// Wait between a change and the allocation that it causes, so that several changes share one.
    pub allocation_delay_ms: u64,
    /// Least life of a decline filter.
    pub allocation_interval_ms: u64,
    pub offer_timeout_ms: u64,
    /// Longest wait for agents after a leader change before anything is offered, if some role has a quota.
    pub quota_recovery_ms: u64,
    pub allocator: Options,
    /// First and longest pause before an operation's status is repeated that nobody acknowledged.
    pub operation_retry_min_ms: u64,
    pub operation_retry_max_ms: u64,
    /// Lease of a driver whose spec names none.
    pub driver_lease_ms: u64,
    /// `host:port` of every master's API, comma separated: told to drivers.
    pub masters: String,
    /// The roles that can be used; without a list, all can. `*` always can.
    pub roles: Option<BTreeSet<String>>,
    /// Whether frameworks may run as `root`.
    pub root_submissions: bool,
    /// Whether agents without a domain are refused.
    pub require_agent_domain: bool,
    /// A TaskInfo above this size does not enter the log.
    pub max_logged_task_bytes: usize,
    /// Least time between two agents that are given up for their silence; 0 sets no limit.
    pub agent_removal_interval_ms: u64,
    /// After a change of leader, no agent is given up while more than so many of a hundred are missing.
    pub recovery_agent_removal_limit_percent: u32,
    /// Between two looks for agents to be forgotten.
    pub registry_gc_interval_ms: u64,
    /// Agents that were unreachable or gone for longer are forgotten …
    pub registry_max_agent_age_ms: u64,
    /// … and the oldest beyond this number of each kind.
    pub registry_max_agent_count: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_interval_ms: 15_000,
            agent_ping_interval_ms: 5_000,
            agent_ping_timeouts: 5,
            agent_grace_ms: 60_000,
            framework_grace_ms: 30_000,
            framework_min_grace_ms: 10_000,
            observe_interval_ms: 100,
            allocation_delay_ms: 20,
            allocation_interval_ms: 1_000,
            offer_timeout_ms: 300_000,
            quota_recovery_ms: 600_000,
            allocator: Options::default(),
            operation_retry_min_ms: 10_000,
            operation_retry_max_ms: 600_000,
            driver_lease_ms: 10_000,
            masters: String::new(),
            roles: None,
            root_submissions: true,
            require_agent_domain: false,
            max_logged_task_bytes: 256 * 1024,
            agent_removal_interval_ms: 0,
            recovery_agent_removal_limit_percent: 100,
            registry_gc_interval_ms: 900_000,
            registry_max_agent_age_ms: 14 * 24 * 3_600_000,
            registry_max_agent_count: 102_400,
        }
    }
}
