//! What the configuration means for the parts below: the core's settings, the store's settings, and the list of flags that
//! is shown to operators. Pure conversions.

use std::net::SocketAddr;
use std::time::Duration;

use tepui_raft_store::Peer;
use tepui_scheduler_core::allocator::{Minimums, Options};

use crate::config::Config;
use crate::offline::STORE;
use crate::rate_limits;

/// Long enough to stand for "never" in cluster time, short enough to be added to one.
const NEVER_MS: u64 = 1 << 52;
/// Longest command in bytes: a launch carries several task descriptions.
const LONGEST_COMMAND: usize = 16 << 20;

/// The settings of the core. `masters` is what drivers are told: `host:port` of every master, comma separated.
pub(crate) fn core(config: &Config, masters: String) -> tepui_scheduler_core::Config {
    let timers = &config.timers;
    tepui_scheduler_core::Config {
        heartbeat_interval_ms: ms(timers.heartbeat_interval),
        agent_ping_interval_ms: ms(timers.agent_ping_interval),
        agent_ping_timeouts: timers.agent_ping_timeouts,
        agent_grace_ms: ms(timers.agent_failover_grace),
        framework_grace_ms: ms(timers.framework_failover_grace),
        framework_min_grace_ms: ms(timers.framework_disconnected_grace),
        observe_interval_ms: ms(timers.observe_interval),
        allocation_delay_ms: ms(timers.allocation_delay),
        allocation_interval_ms: ms(timers.allocation_interval),
        offer_timeout_ms: timers.offer_timeout.map_or(NEVER_MS, ms),
        operation_retry_min_ms: ms(timers.operation_retry_min),
        operation_retry_max_ms: ms(timers.operation_retry_max),
        driver_lease_ms: ms(timers.driver_lease),
        roles: config.offers.roles.clone(),
        allocator: Options {
            role_sorter: config.offers.role_sorter,
            framework_sorter: config.offers.framework_sorter,
            // Checked with the configuration.
            minimum: Minimums::parse(&config.offers.min_allocatable_resources).unwrap_or_default(),
            excluded_from_shares: config
                .offers
                .fair_sharing_excluded_resource_names
                .iter()
                .cloned()
                .collect(),
            filter_gpus: config.offers.filter_gpu_resources,
            region: None,
        },
        masters,
        root_submissions: config.root_submissions,
        require_agent_domain: config.require_agent_domain,
        agent_removal_interval_ms: ms(timers.agent_removal_interval),
        recovery_agent_removal_limit_percent: config.limits.recovery_agent_removal_percent,
        registry_gc_interval_ms: ms(timers.registry_gc_interval),
        registry_max_agent_age_ms: ms(timers.registry_max_agent_age),
        registry_max_agent_count: config.limits.registry_max_agent_count,
        ..Default::default()
    }
}

/// The settings of the replicated store.
pub(crate) fn store(config: &Config, me: Peer) -> tepui_raft_store::Config {
    let listen = SocketAddr::new(config.ip, config.peer_port);
    let mut store = tepui_raft_store::Config::new(config.node_id, config.work_dir.join(STORE), listen, me);
    store.secret = config.secret.as_ref().map(|secret| secret.expose().to_owned());
    store.level = config.feature_level;
    store.timing = config.raft_timing;
    store.join = (!config.join.is_empty())
        .then(|| tepui_raft_store::Join { contacts: config.join.clone(), vote: config.vote });
    store.disk = config.disk;
    store.faults.clone_from(&config.disk_faults);
    store.leader_contact_timeout = config.timers.leader_contact_timeout;
    store.max_command_bytes = LONGEST_COMMAND;
    store.snapshot_every_entries = config.raft_snapshot_entries.unwrap_or(store.snapshot_every_entries);
    store
}

/// The configuration as names and values, for operators. Secrets do not appear.
pub(crate) fn flags(config: &Config) -> Vec<(String, String)> {
    let timers = &config.timers;
    let masters: Vec<String> = config
        .masters
        .iter()
        .map(|m| format!("{}={}:{}/{}", m.node_id, m.host, m.peer_port, m.api_port))
        .collect();
    let text = |value: &dyn std::fmt::Display| value.to_string();
    let secs = |value: Duration| format!("{}secs", value.as_secs_f64());
    let millis = |value: u64| format!("{value}ms");
    let flags = [
        ("node_id", text(&config.node_id)),
        ("ip", text(&config.ip)),
        ("port", text(&config.port)),
        ("peer_port", text(&config.peer_port)),
        ("hostname", config.advertised_host()),
        ("work_dir", text(&config.work_dir.display())),
        ("masters", masters.join(",")),
        ("cluster", config.cluster.clone().unwrap_or_default()),
        ("root_submissions", text(&config.root_submissions)),
        ("bootstrap", text(&config.bootstrap)),
        ("join", config.join.join(",")),
        ("authenticate_http_readonly", text(&config.authentication.readonly)),
        ("authenticate_http_readwrite", text(&config.authentication.readwrite)),
        ("authenticate_http_frameworks", text(&config.authentication.frameworks)),
        ("rate_limits", rate_limits::text(&config.rate_limits)),
        ("max_operator_event_stream_subscribers", text(&config.limits.operator_subscribers)),
        ("publish_per_framework_metrics", text(&config.per_framework_metrics)),
        ("log_file", config.log.file.as_ref().map_or_else(String::new, |path| path.display().to_string())),
        ("heartbeat_interval", secs(timers.heartbeat_interval)),
        ("agent_ping_timeout", secs(timers.agent_ping_interval)),
        ("max_agent_ping_timeouts", text(&timers.agent_ping_timeouts)),
        ("agent_failover_grace", secs(timers.agent_failover_grace)),
        ("framework_failover_grace", secs(timers.framework_failover_grace)),
        ("driver_lease", secs(timers.driver_lease)),
        ("observe_interval", secs(timers.observe_interval)),
        ("allocation_interval", secs(timers.allocation_interval)),
        ("offer_timeout", timers.offer_timeout.map_or_else(String::new, secs)),
        ("operation_retry_min", secs(timers.operation_retry_min)),
        ("operation_retry_max", secs(timers.operation_retry_max)),
        ("agent_removal_rate_limit", removal_limit(timers.agent_removal_interval)),
        ("recovery_agent_removal_limit", format!("{}%", config.limits.recovery_agent_removal_percent)),
        ("registry_gc_interval", secs(timers.registry_gc_interval)),
        ("registry_max_agent_age", secs(timers.registry_max_agent_age)),
        ("registry_max_agent_count", text(&config.limits.registry_max_agent_count)),
        ("role_sorter", config.offers.role_sorter.name().to_owned()),
        ("framework_sorter", config.offers.framework_sorter.name().to_owned()),
        ("roles", config.offers.roles.iter().flatten().cloned().collect::<Vec<_>>().join(",")),
        ("min_allocatable_resources", config.offers.min_allocatable_resources.clone()),
        (
            "fair_sharing_excluded_resource_names",
            config.offers.fair_sharing_excluded_resource_names.join(","),
        ),
        ("filter_gpu_resources", text(&config.offers.filter_gpu_resources)),
        ("agent_whitelist", config.whitelist.as_ref().map(|path| text(&path.display())).unwrap_or_default()),
        (
            "domain",
            config.domain.as_ref().map(|domain| serde_json::json!(domain).to_string()).unwrap_or_default(),
        ),
        ("require_agent_domain", text(&config.require_agent_domain)),
        ("raft_heartbeat", millis(config.raft_timing.heartbeat_ms)),
        ("raft_election_min", millis(config.raft_timing.election_min_ms)),
        ("raft_election_max", millis(config.raft_timing.election_max_ms)),
        ("disk_low", text(&config.disk.low_bytes)),
        ("disk_full", text(&config.disk.full_bytes)),
        ("slow_sync", secs(config.disk.slow_sync)),
        ("slow_sync_for", secs(config.disk.slow_for)),
        ("leader_contact_timeout", secs(timers.leader_contact_timeout)),
        ("max_body_bytes", text(&config.limits.body_bytes)),
        ("max_stream_bytes", text(&config.limits.stream_bytes)),
    ];
    flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// As the flag has it, one agent each so often; empty without a limit.
fn removal_limit(interval: Duration) -> String {
    if interval.is_zero() { String::new() } else { format!("1/{}secs", interval.as_secs_f64()) }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(NEVER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn the_house_defaults_of_shell_and_core_are_the_same() {
        let config = Config::new(1, "/nowhere");
        assert_eq!(core(&config, String::new()), tepui_scheduler_core::Config::default());
    }

    #[test]
    fn the_secret_is_in_the_store_and_not_in_the_flags() {
        let mut config = Config::new(1, "/nowhere");
        config.secret = Some(Secret::new("hush"));
        assert_eq!(store(&config, Peer::default()).secret.as_deref(), Some("hush"));
        assert!(flags(&config).iter().all(|(_, value)| !value.contains("hush")));
    }
}
