//! Every name of Mesos' metrics that the contract lists, one by one: it is there, and it tells the truth about a small cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use tepui_proto::v1;
use tepui_proto::v1::quota::QuotaConfig;
use tepui_proto::v1::scheduler::{Call, call};
use tepui_proto::v1::task_status::{Reason, Source};
use tepui_proto::v1::{TaskState, TaskStatus, value};
use tepui_scheduler_core::OperatorCall;
use tepui_scheduler_core::testing::{
    Harness, create, framework_info, launch, reserve, reserved, resources, task, uuid,
};

use super::fixture::{Fixture, json, text};

/// Whatever it says, it is there.
const ANY: f64 = f64::NAN;

/// Agents of 4 and 2 processors; the framework `f` of role `web` runs a task of one on the first, has reserved one, refused the rest, and was
/// refused an operation; the role has a quota.
fn cluster() -> Harness {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024;disk:100");
    let mut info = framework_info("f");
    info.role = Some("web".to_owned());
    let peer = harness.framework_with(info);
    let offer = harness.offer(&peer);
    let mut one = task("t", "cpus:1;mem:64");
    one.agent_id = offer.agent_id.clone();
    let operations =
        vec![launch(vec![one]), reserve(reserved("cpus:1", &["web"])), create(resources("disk:1"))];
    harness.accept_with(&peer, &[&offer], operations, Some(1e9));
    harness.take_resources(&mut agent);
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    harness.advance(200);
    harness.agent("cpus:2;mem:1024;disk:100");
    harness.advance(200);
    let amounts =
        |cpus: f64| [("cpus".to_owned(), value::Scalar { value: Some(cpus) })].into_iter().collect();
    let config = QuotaConfig { role: Some("web".to_owned()), guarantees: amounts(2.0), limits: amounts(5.0) };
    harness.operator(OperatorCall::UpdateQuota { force: true, configs: vec![config] }, None);
    let heavy = v1::WeightInfo { role: Some("web".to_owned()), weight: Some(2.0) };
    harness.operator(OperatorCall::UpdateWeights(vec![heavy]), None);
    harness.advance(200);
    harness
}

#[tokio::test]
async fn every_name_of_the_contract_is_there_and_tells_the_truth() {
    let harness = cluster();
    let fixture = Fixture::leading();
    let local = harness.master.local_view();
    let offered: f64 = local
        .offers
        .values()
        .flat_map(|offer| &offer.resources)
        .filter(|one| one.name() == "cpus")
        .filter_map(|one| one.scalar?.value)
        .sum();
    fixture.publish(harness.registry.clone());
    fixture.board.publish_local(Some(local));
    let stats = &fixture.stats;
    stats.stored(Duration::from_millis(2));
    stats.fetched(Duration::from_millis(7));
    stats.allocated(Duration::from_millis(3), 20);
    stats.transition(&TaskStatus {
        state: Some(TaskState::TaskFailed as i32),
        source: Some(Source::Executor as i32),
        reason: Some(Reason::CommandExecutorFailed as i32),
        ..Default::default()
    });
    let id = harness.registry.frameworks.keys().find(|id| id.as_str() == "m1-0000").unwrap().clone();
    let subscribed = call::Subscribe { framework_info: Some(framework_info("f")), ..Default::default() };
    let accept = call::Accept { operations: vec![reserve(Vec::new())], ..Default::default() };
    let event = v1::scheduler::Event {
        r#type: Some(v1::scheduler::event::Type::Subscribed as i32),
        subscribed: Some(v1::scheduler::event::Subscribed {
            framework_id: Some(id.to_proto()),
            ..Default::default()
        }),
        ..Default::default()
    };
    stats.event(1, &event);
    for (kind, call) in [
        (call::Type::Subscribe, Call { subscribe: Some(subscribed), ..Default::default() }),
        (
            call::Type::Accept,
            Call { accept: Some(accept), framework_id: Some(id.to_proto()), ..Default::default() },
        ),
    ] {
        stats.call(&call, kind);
    }
    let shown = json(fixture.get("/metrics/snapshot").await).await;
    let numbers: BTreeMap<String, f64> = shown
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, number)| (name.clone(), number.as_f64().unwrap()))
        .collect();

    let mut expected: Vec<(String, f64)> = Vec::new();
    let mut expect = |name: &str, number: f64| expected.push((name.to_owned(), number));
    // master resources
    for (name, total, used) in
        [("cpus", 6.0, 1.0), ("mem", 2048.0, 64.0), ("disk", 200.0, 0.0), ("gpus", 0.0, 0.0)]
    {
        expect(&format!("master/{name}_total"), total);
        expect(&format!("master/{name}_used"), used);
        expect(&format!("master/{name}_percent"), if total > 0.0 { used / total } else { 0.0 });
        for part in ["total", "used", "percent"] {
            expect(&format!("master/{name}_revocable_{part}"), 0.0);
        }
    }
    // master health
    for name in [
        "master/uptime_secs",
        "system/cpus_total",
        "system/load_1min",
        "system/load_5min",
        "system/load_15min",
        "system/mem_free_bytes",
        "system/mem_total_bytes",
    ] {
        expect(name, ANY);
    }
    expect("master/elected", 1.0);
    // agents
    for (name, number) in [
        ("slaves_active", 2.0),
        ("slaves_inactive", 0.0),
        ("slaves_connected", 2.0),
        ("slaves_disconnected", 0.0),
        ("slaves_unreachable", 0.0),
        ("slave_registrations", 0.0),
        ("slave_reregistrations", 0.0),
        ("slave_removals", 0.0),
        ("slave_removals/reason_unhealthy", 0.0),
        ("slave_removals/reason_unregistered", 0.0),
        ("slave_removals/reason_registered", 0.0),
        ("slave_unreachable_scheduled", 0.0),
        ("slave_unreachable_completed", 0.0),
        ("slave_unreachable_canceled", 0.0),
        ("recovery_slave_removals", 0.0),
        // frameworks
        ("frameworks_active", ANY),
        ("frameworks_inactive", 0.0),
        ("frameworks_connected", ANY),
        ("frameworks_disconnected", 0.0),
        ("outstanding_offers", harness.master.local_view().offers.len() as f64),
        ("dropped_messages", 0.0),
        ("event_queue_messages", 0.0),
        ("event_queue_dispatches", 0.0),
        ("event_queue_http_requests", 0.0),
        ("operator_event_stream_subscribers", 0.0),
        ("task_failed/source_executor/reason_command_executor_failed", 1.0),
        ("messages_register_framework", 1.0),
        ("messages_launch_tasks", 1.0),
    ] {
        expect(&format!("master/{name}"), number);
    }
    // tasks
    for state in [
        "staging",
        "starting",
        "running",
        "killing",
        "unreachable",
        "finished",
        "failed",
        "killed",
        "lost",
        "error",
        "dropped",
        "gone",
        "gone_by_operator",
    ] {
        let there = matches!(state, "running" | "failed");
        expect(&format!("master/tasks_{state}"), if there { 1.0 } else { 0.0 });
    }
    // messages
    for name in [
        "reregister_framework",
        "unregister_framework",
        "deactivate_framework",
        "kill_task",
        "decline_offers",
        "revive_offers",
        "suppress_offers",
        "resource_request",
        "reconcile_tasks",
        "reconcile_operations",
        "status_update",
        "status_update_acknowledgement",
        "operation_status_update",
        "operation_status_update_acknowledgement",
        "framework_to_executor",
        "executor_to_framework",
        "register_slave",
        "reregister_slave",
        "unregister_slave",
        "update_slave",
        "exited_executor",
        "authenticate",
    ] {
        expect(&format!("master/messages_{name}"), 0.0);
    }
    for name in [
        "framework_to_executor_messages",
        "executor_to_framework_messages",
        "status_updates",
        "status_update_acknowledgements",
        "operation_status_updates",
        "operation_status_update_acknowledgements",
    ] {
        expect(&format!("master/valid_{name}"), 0.0);
        expect(&format!("master/invalid_{name}"), 0.0);
    }
    // operations
    for (kind, states) in [
        ("", [2.0, 0.0, 1.0, 1.0, 0.0]),
        ("reserve/", [1.0, 0.0, 1.0, 0.0, 0.0]),
        ("create/", [1.0, 0.0, 0.0, 1.0, 0.0]),
    ] {
        for (state, number) in ["total", "pending", "finished", "error", "dropped"].into_iter().zip(states) {
            expect(&format!("master/operations/{kind}{state}"), number);
        }
    }
    for kind in ["unreserve", "destroy", "grow_volume", "shrink_volume", "create_disk", "destroy_disk"] {
        for state in [
            "total",
            "pending",
            "finished",
            "failed",
            "error",
            "dropped",
            "recovering",
            "unreachable",
            "gone_by_operator",
        ] {
            expect(&format!("master/operations/{kind}/{state}"), 0.0);
        }
    }
    // per framework
    let of = format!("master/frameworks/f/{id}");
    for (name, number) in [
        ("subscribed", 1.0),
        ("calls", 2.0),
        ("calls/accept", 1.0),
        ("events", 1.0),
        ("events/subscribed", 1.0),
        ("offers/sent", 0.0),
        ("offers/accepted", 0.0),
        ("offers/declined", 0.0),
        ("offers/rescinded", 0.0),
        ("operations", 1.0),
        ("operations/reserve", 1.0),
        ("tasks/active/task_running", 1.0),
        ("roles/web/suppressed", 0.0),
    ] {
        expect(&format!("{of}/{name}"), number);
    }
    // registry and timers
    for (name, newest) in [
        ("registrar/state_fetch_ms", 7.0),
        ("registrar/state_store_ms", 2.0),
        ("allocator/mesos/allocation_run_ms", 3.0),
        ("allocator/mesos/allocation_run_latency_ms", 20.0),
    ] {
        expect(name, newest);
        expect(&format!("{name}/count"), 1.0);
        for part in ["min", "max", "p50", "p90", "p95", "p99", "p999", "p9999"] {
            expect(&format!("{name}/{part}"), newest);
        }
    }
    let mut written = Vec::new();
    harness.registry.write_snapshot(&mut written).unwrap();
    expect("registrar/registry_size_bytes", written.len() as f64);
    expect("registrar/queued_operations", 0.0);
    expect("registrar/log/recovered", ANY);
    expect("registrar/log/ensemble_size", 1.0);
    // allocator
    let allocation = harness.master.allocation();
    assert!(allocation.runs > 2);
    expect("allocator/mesos/allocation_runs", allocation.runs as f64);
    expect("allocator/mesos/event_queue_dispatches", 0.0);
    for (name, total) in [("cpus", 6.0), ("mem", 2048.0), ("disk", 200.0)] {
        expect(&format!("allocator/mesos/resources/{name}/total"), total);
        expect(
            &format!("allocator/mesos/resources/{name}/offered_or_allocated"),
            if name == "cpus" { 1.0 + offered } else { ANY },
        );
    }
    // By its weight of two. All that is not offered or held is the rest of the first agent, which was refused: all of its disk is.
    let dominant = ["cpus", "mem", "disk"].map(|kind| {
        let view = harness.master.local_view();
        let offers = view.offers.values().flat_map(|offer| &offer.resources);
        let offered: f64 = offers.filter(|one| one.name() == kind).filter_map(|one| one.scalar?.value).sum();
        let (held, total) = match kind {
            "cpus" => (1.0, 6.0),
            "mem" => (64.0, 2048.0),
            _ => (0.0, 200.0),
        };
        (held + offered) / total / 2.0
    });
    let dominant = dominant.into_iter().fold(0.0, f64::max);
    assert!(dominant > 0.1);
    expect("allocator/mesos/roles/web/shares/dominant", dominant);
    expect("allocator/mesos/offer_filters/roles/web/active", 1.0);
    let quota = "allocator/mesos/quota/roles/web/resources";
    expect(&format!("{quota}/cpus/guarantee"), 2.0);
    expect(&format!("{quota}/cpus/limit"), 5.0);
    expect(&format!("{quota}/cpus/offered_or_allocated"), 1.0 + offered);
    // What is reserved counts once, held or not.
    expect(&format!("{quota}/cpus/consumed"), 2.0 + unreserved_on_offer(&harness));
    for (name, number) in &expected {
        let Some(told) = numbers.get(name) else { panic!("{name} is missing") };
        assert!(number.is_nan() || told == number, "{name} is {told}, not {number}");
    }
}

fn unreserved_on_offer(harness: &Harness) -> f64 {
    let view = harness.master.local_view();
    let offered = view.offers.values().flat_map(|offer| &offer.resources);
    let free = offered.filter(|one| one.name() == "cpus" && one.reservations.is_empty());
    free.filter_map(|one| one.scalar?.value).sum()
}

#[tokio::test]
async fn prometheus_is_told_the_same() {
    let harness = cluster();
    let fixture = Fixture::leading();
    fixture.publish(harness.registry.clone());
    fixture.board.publish_local(Some(harness.master.local_view()));
    let numbers = json(fixture.get("/metrics/snapshot").await).await;
    let rendered = text(fixture.get("/metrics").await).await;
    let samples = rendered.lines().filter(|line| line.starts_with("mesos_"));
    assert_eq!(samples.count(), numbers.as_object().unwrap().len(), "one sample for each number");
    for line in [
        "mesos_master_cpus_total 6",
        "mesos_master_operations_by_type_finished{type=\"reserve\"} 1",
        "mesos_allocator_mesos_quota_guarantee{role=\"web\",resource=\"cpus\"} 2",
        "mesos_allocator_mesos_offer_filters_role_active{role=\"web\"} 1",
    ] {
        assert!(rendered.lines().any(|known| known == line), "{line}");
    }
    assert!(rendered.contains("tepui_master_leader") && rendered.ends_with("# EOF\n"), "our own stay");
    let mut families = std::collections::BTreeSet::new();
    for line in rendered.lines().filter(|line| line.starts_with("# TYPE")) {
        assert!(families.insert(line.split(' ').nth(2)), "twice: {line}");
    }
}

#[tokio::test]
async fn agents_that_operators_deactivated_are_connected_and_not_active() {
    use tepui_scheduler_core::FleetCall;
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4");
    harness.agent("cpus:4");
    harness.operator(OperatorCall::Fleet(FleetCall::Deactivate(agent.id.clone())), None);
    let fixture = Fixture::leading();
    fixture.publish(harness.registry.clone());
    let numbers = json(fixture.get("/metrics/snapshot").await).await;
    for (name, number) in [("active", 1), ("inactive", 1), ("connected", 2), ("disconnected", 0)] {
        assert_eq!(numbers[format!("master/slaves_{name}")], f64::from(number), "{name}");
    }
}
