//! The drain and the operations that a master tells of, as the agent's endpoints show them.

use serde_json::{Value, json};
use tepui_proto::tepui::agent_link::event::{Type as News, UpdateDrain, UpdateOperations};
use tepui_proto::v1;
use v1::offer::operation;

use crate::master::{Master, PATIENCE, framework};
use crate::rig::Rig;
use crate::shown::ask;

const START_MS: u64 = 1_700_000_000_999;

/// Asks until the answer satisfies.
async fn eventually(rig: &Rig, kind: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let answer = ask(rig, json!({"type": kind})).await;
            if satisfies(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the answer that is waited for")
}

async fn drain(master: &Master, config: Option<v1::DrainConfig>) {
    let update = UpdateDrain { start_wall_ms: config.map(|_| START_MS), config };
    master.send(News::UpdateDrain, |event| event.update_drain = Some(update)).await;
}

async fn operations(master: &Master, reset: bool, ids: &[&str]) {
    let operation = |id: &&str| {
        let operation_id = Some(v1::OperationId { value: Some((*id).to_owned()) });
        let status = v1::OperationStatus {
            operation_id: operation_id.clone(),
            state: Some(v1::OperationState::OperationFinished.into()),
            ..Default::default()
        };
        v1::Operation {
            framework_id: framework().id,
            agent_id: Some(v1::AgentId { value: Some("master-S0".to_owned()) }),
            info: Some(v1::offer::Operation {
                r#type: Some(operation::Type::Reserve.into()),
                id: operation_id,
                ..Default::default()
            }),
            latest_status: Some(status),
            statuses: Vec::new(),
            uuid: Some(v1::Uuid { value: Some(vec![7; 16].into()) }),
        }
    };
    let update = UpdateOperations {
        reset: Some(reset),
        operations: ids.iter().map(operation).collect(),
        settled: Vec::new(),
    };
    master.send(News::UpdateOperations, |event| event.update_operations = Some(update)).await;
}

#[tokio::test]
async fn a_drain_is_shown_until_it_is_over_also_after_a_restart() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    let none = ask(&rig, json!({"type": "GET_AGENT"})).await;
    assert!(none.get("drain_config").is_none() && none.get("estimated_drain_start_time").is_none(), "{none}");
    let grace = v1::DurationInfo { nanoseconds: Some(5_000_000_000) };
    drain(&master, Some(v1::DrainConfig { max_grace_period: Some(grace), mark_gone: Some(true) })).await;
    let shown = eventually(&rig, "GET_AGENT", |answer| answer.get("drain_config").is_some()).await;
    let config = json!({"max_grace_period": {"nanoseconds": 5_000_000_000_u64}, "mark_gone": true});
    assert_eq!(shown["drain_config"], config);
    assert_eq!(shown["estimated_drain_start_time"]["nanoseconds"], 1_700_000_000_000_000_000_u64);
    // The master is not there when the agent starts again.
    rig.stop_agent().await;
    master.redirect_to("127.0.0.1:1");
    rig.start_agent(|_| {}).await;
    let state = rig.get_json("/state").await;
    assert_eq!(state["drain_config"], config, "{state}");
    assert_eq!(state["estimated_drain_start_time_seconds"], 1_700_000_000);
    let again = ask(&rig, json!({"type": "GET_AGENT"})).await;
    for member in ["drain_config", "estimated_drain_start_time"] {
        assert_eq!(again[member], shown[member], "{again}");
    }
}

#[tokio::test]
async fn the_end_of_a_drain_is_shown() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    drain(&master, Some(v1::DrainConfig::default())).await;
    eventually(&rig, "GET_AGENT", |answer| answer.get("drain_config").is_some()).await;
    drain(&master, None).await;
    let shown = eventually(&rig, "GET_AGENT", |answer| answer.get("drain_config").is_none()).await;
    assert!(shown.get("estimated_drain_start_time").is_none(), "{shown}");
    let state = rig.get_json("/state").await;
    assert!(state.get("drain_config").is_none(), "{state}");
    assert!(state.get("estimated_drain_start_time_seconds").is_none(), "{state}");
}

#[tokio::test]
async fn operations_are_shown_as_the_master_tells_of_them() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    let listed = |answer: &Value| -> Vec<String> {
        let list = answer["operations"].as_array().cloned().unwrap_or_default();
        list.iter().map(|one| one["info"]["id"]["value"].as_str().unwrap().to_owned()).collect()
    };
    operations(&master, false, &["one"]).await;
    let shown = eventually(&rig, "GET_OPERATIONS", |answer| listed(answer) == ["one"]).await;
    let one = &shown["operations"][0];
    assert_eq!(one["framework_id"]["value"], "fw");
    assert_eq!(one["agent_id"]["value"], "master-S0");
    assert_eq!(
        (&one["info"]["type"], &one["latest_status"]["state"]),
        (&json!("RESERVE"), &json!("OPERATION_FINISHED"))
    );
    assert!(one["uuid"]["value"].is_string(), "{one}");
    operations(&master, true, &["three", "two"]).await;
    eventually(&rig, "GET_OPERATIONS", |answer| listed(answer) == ["three", "two"]).await;
    operations(&master, true, &[]).await;
    eventually(&rig, "GET_OPERATIONS", |answer| listed(answer).is_empty()).await;
}
