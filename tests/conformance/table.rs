//! The list of all scenarios, with those that wait and why. The numbers never change.

use Encodings::{Both, Json};
use Needs::{Calm, Limited, Mixed, Quick, Swift, Trio};

use super::scenarios::{
    a_authentication, a_masters, a_protocol, a_subscribe, b_accept, b_allocation, b_filters, b_offers,
    c_executors, c_kills, c_tasks, d_frameworks, d_reconnect, e_operations, e_reconciliation, f_agents,
    f_fates, f_partitions, f_reservations, g_failover, g_leaders, h_agent_endpoints, h_drain, h_endpoints,
    h_maintenance, h_quota, h_reservations, h_subscribers, h_summary,
};
use super::{Built, Encodings, Needs, Scenario, State};

macro_rules! built {
    ($number:literal, $name:literal, $needs:expr, $encodings:expr, $run:path) => {
        built!($number, $name, $needs, $encodings, $run, "")
    };
    ($number:literal, $name:literal, $needs:expr, $encodings:expr, $run:path, $lacks:literal) => {
        Scenario {
            number: $number,
            name: $name,
            state: State::Built(Built {
                needs: $needs,
                encodings: $encodings,
                run: |context| Box::pin($run(context)),
                lacks: $lacks,
            }),
        }
    };
}

const fn later(number: &'static str, name: &'static str, reason: &'static str) -> Scenario {
    Scenario { number, name, state: State::Later(reason) }
}

const PERMISSIONS: &str = "permissions are not built yet";
const CHECKS: &str = "health checks and checks are not carried out yet";

/// All scenarios, in order.
pub fn table() -> &'static [Scenario] {
    TABLE
}

static TABLE: &[Scenario] = &[
    // A: the surface of the protocol.
    built!("1", "no_content_type", Calm, Both, a_protocol::no_content_type),
    built!("2", "unsupported_content_type", Calm, Both, a_protocol::unsupported_content_type),
    built!("3", "malformed_content", Calm, Both, a_protocol::malformed_content),
    built!("4", "accept_header", Calm, Both, a_protocol::accept_header),
    built!("5", "wrong_method", Calm, Json, a_protocol::method),
    built!("6", "first_events_of_a_stream", Calm, Both, a_subscribe::first_events),
    built!("7", "subscribe_with_stream_id", Calm, Both, a_protocol::subscribe_with_stream_id),
    built!("8", "wrong_stream_id", Calm, Both, a_protocol::wrong_stream_id),
    built!("9", "malformed_uuid", Calm, Both, a_protocol::malformed_uuid),
    built!("10", "unknown_and_disconnected_framework", Calm, Both, a_protocol::unknown_and_disconnected),
    built!("11", "invalid_roles", Calm, Both, a_subscribe::invalid_roles),
    built!("12", "contradicting_roles", Calm, Both, a_subscribe::contradicting_roles),
    built!("13", "invalid_failover_timeout", Calm, Both, a_subscribe::invalid_failover_timeout),
    built!("14", "empty_framework_id", Calm, Both, a_subscribe::empty_id),
    built!("15", "tolerant_json", Calm, Json, a_protocol::tolerant_json),
    built!("16", "authentication", Calm, Both, a_authentication::realms),
    built!("17", "redirects_of_followers", Trio, Json, a_masters::followers),
    built!("18", "redirect_endpoint", Trio, Json, a_masters::redirect_endpoint),
    built!("19", "one_record_per_chunk", Calm, Both, a_protocol::record_per_chunk),
    built!("20", "executor_endpoint", Calm, Both, c_executors::endpoint),
    built!("21", "agent_api_streams", Calm, Both, h_agent_endpoints::operator_api),
    built!("22", "operator_calls", Calm, Both, a_masters::operator_calls),
    // B: offers and allocation.
    built!("23", "first_offer", Calm, Both, b_offers::whole_agents),
    built!("24", "decline_and_revive", Calm, Both, b_filters::decline_and_revive),
    built!("25", "offer_filter_hides_only_less", Calm, Json, b_filters::filter_of_less),
    built!("26", "shortest_filter", Calm, Json, b_filters::shortest_filter),
    built!("27", "odd_refuse_seconds", Calm, Both, b_filters::odd_filters),
    built!("28", "unused_resources_return", Calm, Both, b_filters::unused_part_returns),
    built!("29", "teardown_frees_resources", Calm, Json, b_offers::teardown_frees),
    built!("30", "task_error_returns_the_offer", Calm, Both, b_accept::error_returns_offer),
    built!("31", "offer_timeout", Quick, Json, b_filters::offer_timeout),
    built!("32", "suppress_and_revive", Calm, Both, b_filters::suppression),
    built!("33", "equal_shares", Calm, Json, b_offers::equal_shares),
    built!("34", "weights", Calm, Both, b_allocation::weights),
    built!("35", "nested_roles", Calm, Json, b_offers::nested_roles),
    built!("36", "smallest_offer", Calm, Json, b_offers::smallest_offer),
    built!("37", "excluded_from_fairness", Mixed, Json, b_allocation::excluded_from_fairness),
    built!("38", "gpu_capability", Mixed, Both, b_allocation::gpu_capability),
    built!("39", "whitelist_and_regions", Mixed, Json, b_allocation::whitelist_and_regions),
    built!("40", "several_roles", Calm, Both, b_offers::several_roles),
    built!("41", "offer_constraints", Mixed, Both, b_allocation::offer_constraints),
    built!("42", "combined_offers", Calm, Json, b_accept::combined_offers),
    built!("43", "invalid_combinations", Calm, Both, b_accept::invalid_combinations),
    built!("44", "stale_offers", Calm, Both, b_accept::stale_offers),
    built!("45", "scalar_rounding", Calm, Both, b_accept::rounding),
    // C: the life of tasks.
    built!("46", "task_running", Calm, Both, c_tasks::running),
    built!("47", "exit_codes", Calm, Both, c_tasks::exit_codes),
    built!("48", "kill_task", Calm, Both, c_kills::killing),
    built!("49", "kill_unknown_task", Calm, Both, c_kills::unknown_tasks),
    built!("50", "kill_during_launch", Calm, Json, c_executors::killed_during_launch),
    built!("51", "repeated_updates", Quick, Both, c_tasks::repeated_updates),
    built!("52", "unacknowledged_end", Quick, Both, c_tasks::unacknowledged_end),
    built!("53", "invalid_tasks", Calm, Both, c_executors::invalid),
    built!("54", "executor_reuse", Calm, Both, c_executors::reuse),
    built!("55", "framework_message", Calm, Both, c_executors::messages),
    built!("56", "shutdown_of_an_executor", Calm, Json, c_executors::shutdowns),
    built!("57", "lost_executor", Calm, Json, c_executors::lost),
    built!("58", "executor_timeouts", Quick, Json, c_executors::timeouts),
    later("59", "task_groups", "the DEFAULT executor is not built yet"),
    built!("60", "task_group_validation", Calm, Both, c_executors::group_validation),
    built!("61", "max_completion_time", Calm, Json, c_tasks::longest_run, "commands only"),
    later("62", "health_checks", CHECKS),
    later("63", "checks", CHECKS),
    later("64", "resource_limits", "isolation is not built yet"),
    later("65", "fetcher", "fetching is not built yet"),
    built!("66", "labels_and_discovery", Calm, Both, c_executors::labels),
    built!(
        "67",
        "commands_and_their_environment",
        Calm,
        Both,
        c_tasks::commands,
        "commands run as the agent's own user"
    ),
    built!("68", "environment_of_executors", Calm, Json, c_executors::environment),
    // D: frameworks that fail and come back.
    built!("69", "replaced_framework", Calm, Both, d_reconnect::replaced),
    built!("70", "failover_timeout", Calm, Json, d_reconnect::failover_timeout),
    built!("71", "back_in_time", Calm, Json, d_reconnect::back_in_time),
    built!("72", "missed_update", Quick, Both, d_reconnect::missed_update),
    built!("73", "changed_on_return", Calm, Both, d_frameworks::changed_on_return),
    built!("74", "update_framework", Calm, Both, d_frameworks::update_call),
    built!("75", "framework_with_its_own_id", Calm, Both, d_reconnect::own_id),
    built!(
        "76",
        "operator_teardown",
        Calm,
        Both,
        d_frameworks::operator_teardown,
        "permissions are not built yet"
    ),
    // E: reconciliation.
    built!("77", "reconcile_known_tasks", Calm, Both, e_reconciliation::match_and_mismatch),
    built!("78", "reconcile_unknown_tasks", Quick, Both, e_reconciliation::all_unknown),
    built!("79", "reconcile_before_agents_are_back", Trio, Json, e_reconciliation::agent_not_back),
    built!("80", "reconcile_operations", Trio, Json, e_operations::reconcile),
    // F: agents that are cut off, restarted, gone.
    built!("81", "partitioned_agent", Quick, Both, f_partitions::partitioned),
    built!("82", "partitioned_agent_returns", Quick, Both, f_partitions::comes_back),
    built!("83", "task_ends_during_partition", Quick, Json, f_partitions::ended_meanwhile),
    built!("84", "rate_limited_removal", Limited, Both, f_fates::limited_removals),
    built!("85", "agent_never_back", Quick, Json, f_agents::never_back),
    built!("86", "brief_absence_of_an_agent", Calm, Json, f_agents::brief_absence),
    later("87", "agent_recovery", "not tested yet"),
    built!("88", "lost_launch", Calm, Json, f_agents::lost_launch),
    built!("89", "agent_gone", Quick, Both, f_fates::agent_gone),
    later("90", "reconfigured_agent", "agents cannot change their resources yet"),
    built!("91", "reservations_survive_restarts", Trio, Json, f_reservations::survive),
    built!("92", "forgotten_agents", Limited, Json, f_fates::forgotten_agents),
    built!("93", "agent_unavailable_during_recovery", Calm, Both, h_agent_endpoints::recovery),
    // G: the leading master fails.
    built!("94", "tasks_survive_the_leader", Swift, Both, g_failover::tasks_survive),
    built!("95", "killed_after_accept", Trio, Json, g_failover::killed_after_accept),
    built!("96", "killed_during_acknowledgement", Trio, Json, g_failover::killed_during_acknowledgement),
    built!("97", "exact_agents_after_failover", Trio, Json, g_leaders::exact_agents),
    built!("98", "former_leader", Trio, Json, g_leaders::former_leader),
    built!("99", "absent_framework_is_torn_down", Trio, Json, g_leaders::absent_framework),
    built!("100", "failover_deadline_survives", Trio, Json, g_failover::deadline_survives),
    // H: what operators use.
    built!("101", "quota", Calm, Both, h_quota::quota, "permissions are not built yet"),
    built!("102", "weights_by_operators", Trio, Both, h_quota::weights),
    built!("103", "reservations", Calm, Both, h_reservations::all, "permissions are not built yet"),
    built!("104", "maintenance", Calm, Both, h_maintenance::maintenance),
    built!("105", "draining", Quick, Both, h_drain::draining),
    built!("106", "operator_events", Quick, Both, h_subscribers::whole_stream),
    built!("107", "endpoints", Calm, Json, h_summary::all_endpoints),
    later("108", "authorization", PERMISSIONS),
    later("109", "nested_containers", "nested containers are not built yet"),
    later("110", "oversubscription", "oversubscription is not built yet"),
    built!("110b", "prefixes_of_paths", Calm, Both, h_endpoints::prefixes),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_there_once_and_in_order() {
        let mut expected: Vec<String> = (1..=110).map(|number| number.to_string()).collect();
        expected.push("110b".to_owned());
        let found: Vec<&str> = table().iter().map(|scenario| scenario.number).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn names_are_unique_and_carry_their_numbers() {
        let names: std::collections::BTreeSet<&str> = table().iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), table().len());
        let tags: Vec<String> = ["7", "46", "110b"]
            .iter()
            .filter_map(|number| Some(table().iter().find(|one| one.number == *number)?.tag()))
            .collect();
        assert_eq!(tags, ["s007", "s046", "s110b"]);
    }
}
