//! The endpoints about the process itself: names, shapes and answers to mistakes.

use std::sync::Arc;

use hyper::StatusCode;
use tepui_scheduler_core::registry::AgentRecord;

use super::fixture::{Fixture, json, text};
use super::plain::registry;

#[tokio::test]
async fn the_host_is_told_under_the_old_names() {
    for master in [Fixture::leading(), Fixture::standby(Some("b:1"))] {
        let host = json(master.get("/system/stats.json").await).await;
        for name in ["cpus_total", "avg_load_1min", "avg_load_5min", "avg_load_15min", "mem_total_bytes"] {
            assert!(host[name].is_number(), "{name}: {host}");
        }
        assert!(host["mem_free_bytes"].as_f64() <= host["mem_total_bytes"].as_f64());
        assert_eq!(host.as_object().unwrap().len(), 6);
    }
    let master = Fixture::leading();
    let wrapped = text(master.get("/system/stats.json?jsonp=show").await).await;
    assert!(wrapped.starts_with("show("), "{wrapped}");
}

#[tokio::test]
async fn the_log_is_toggled_as_in_mesos() {
    let master = Fixture::standby(None);
    let level = async || text(master.get("/logging/toggle").await).await;
    assert_eq!(level().await, "0\n");
    assert_eq!(master.get("/logging/toggle?level=2&duration=10mins").await.status(), StatusCode::OK);
    assert_eq!(level().await, "2\n");
    for (query, word) in [
        ("level=1", "duration"),
        ("duration=1secs", "level"),
        ("level=-1&duration=1secs", "level"),
        ("level=high&duration=1secs", "level"),
        ("level=1&duration=soon", "duration"),
    ] {
        let refused = master.get(&format!("/logging/toggle?{query}")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query}");
        assert!(text(refused).await.contains(word), "{query}");
    }
    assert_eq!(level().await, "2\n", "a mistake changes nothing");
}

#[tokio::test]
async fn the_registry_has_the_shape_of_mesos() {
    let master = Fixture::leading();
    let mut registry = registry();
    registry.wall_ms = 1_000_000;
    registry.weights.insert("eng".into(), 2.0);
    registry.gone_agents.insert("gone".into(), 0);
    let lost = AgentRecord { unreachable_ms: Some(1), unreachable_wall_ms: 2, ..Default::default() };
    registry.agents.insert("lost".into(), Arc::new(lost));
    master.publish(registry);
    for path in ["/registrar(1)/registry", "/registrar%281%29/registry"] {
        let shown = json(master.get(path).await).await;
        let slave = &shown["slaves"]["slaves"][0]["info"];
        assert!(slave["hostname"].is_string() && slave["id"]["value"].is_string(), "{shown}");
        for list in ["quotas", "quota_configs", "weights", "schedules"] {
            assert!(shown[list].is_array(), "{list}");
        }
        assert_eq!(shown["slaves"]["slaves"].as_array().unwrap().len(), 1, "{shown}");
        assert_eq!(shown["weights"][0]["info"]["weight"], 2.0);
        assert!(shown["machines"]["machines"].is_array());
        for list in ["unreachable", "gone"] {
            let agents = shown[list]["slaves"].as_array().unwrap();
            assert_eq!(agents.len(), 1, "{list}: {shown}");
            for left in agents {
                assert!(
                    left["id"]["value"].is_string() && left["timestamp"]["nanoseconds"].is_i64(),
                    "{left}"
                );
            }
        }
    }
}

#[tokio::test]
async fn offer_constraints_are_told_for_each_framework_and_role() {
    let master = Fixture::leading();
    let registry = registry();
    master.publish(registry.clone());
    for path in
        ["/hierarchical-allocator(1)/offer_constraints_debug", "/allocator%281%29/offer_constraints_debug"]
    {
        let shown = json(master.get(path).await).await;
        let frameworks = shown["frameworks"].as_object().unwrap();
        assert_eq!(frameworks.len(), registry.frameworks.len());
        for (id, record) in &registry.frameworks {
            let framework = &frameworks[id.as_str()];
            assert!(framework["suppressed_roles"].is_array());
            for role in record.roles() {
                assert!(framework["excluded_by_attribute_constraints"][&role].is_array(), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn help_is_there_for_everybody() {
    let master = Fixture::standby(None);
    let all = text(master.get("/help").await).await;
    for path in ["/master/state", "/files/read", "/logging/toggle", "/registrar(1)/registry"] {
        assert!(all.contains(&format!("{path}\n")), "{all}");
    }
    let one = text(master.get("/help/master/state").await).await;
    assert_eq!(one.lines().count(), 2, "{one}");
    assert_eq!(master.get("/help/nothing").await.status(), StatusCode::NOT_FOUND);
}
