//! The operator client, registers and leases against scripted masters, over real connections.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tepui_sdk::leader_call::CallError;
use tepui_sdk::lease::{Lease, LeaseLost};
use tepui_sdk::operator::{Client, OperatorError};
use tepui_sdk::state_store::{Cas, RegisterClient, RegisterError, VALUE_LIMIT_BYTES};
use tepui_sdk::tepui::operator::{Call, DriverSpec, Response, response};
use tepui_sdk::testing::ScriptedMaster;
use tepui_sdk::{MediaType, v1};

/// Calls with their tokens.
type Seen = Arc<Mutex<Vec<(Call, Option<String>)>>>;

fn client(masters: &[&ScriptedMaster]) -> Client {
    let masters = masters.iter().map(|master| master.address());
    Client::new(masters).expect("a client").patience(Duration::from_secs(5))
}

#[tokio::test]
async fn asks_any_master_in_both_encodings() {
    let leader = ScriptedMaster::start().await.unwrap();
    let standby = ScriptedMaster::start().await.unwrap();
    standby.stand_by(Some(leader.address()));
    leader.on_operator(|call, _| {
        let agents = v1::master::response::GetAgents::default();
        Ok(v1::master::Response { r#type: call.r#type, get_agents: Some(agents), ..Default::default() })
    });
    for media_type in [MediaType::Json, MediaType::Protobuf] {
        let client = client(&[&standby]).media_type(media_type);
        assert_eq!(client.get_agents().await.unwrap().agents, []);
        assert!(matches!(client.get_tasks().await, Err(OperatorError::Incomplete("get_tasks"))));
    }
}

#[tokio::test]
async fn waits_for_the_next_leader_and_names_a_refusal() {
    let master = ScriptedMaster::start().await.unwrap();
    let mut attempts = 0;
    master.on_tepui(move |call, _| {
        attempts += 1;
        match attempts {
            1 | 2 => Err((503, "recovering".into())),
            3 => {
                let name = call.submit_driver.as_ref().and_then(|submit| submit.spec.clone()).unwrap().name;
                let submit_driver = Some(response::SubmitDriver { name, ..Default::default() });
                Ok(Response { r#type: call.r#type, submit_driver, ..Default::default() })
            }
            _ => Err((409, "another spec".into())),
        }
    });
    let client = client(&[&master]);
    let spec = || DriverSpec {
        name: Some("d".into()),
        command: Some(v1::CommandInfo::default()),
        ..Default::default()
    };
    assert_eq!(client.submit_driver(spec()).await.unwrap().name(), "d");
    let refused = client.submit_driver(spec()).await.unwrap_err();
    let expected = CallError::Refused { status: 409, reason: "another spec".into() };
    assert_eq!(refused, OperatorError::Call(expected));
}

#[tokio::test]
async fn gives_up_at_its_deadline() {
    let master = ScriptedMaster::start().await.unwrap();
    let client = client(&[&master]).patience(Duration::from_millis(200));
    master.stand_by(None);
    let error = client.get_drivers(None).await.unwrap_err();
    assert!(matches!(error, OperatorError::Call(CallError::Unreachable(_))), "{error}");
    master.stop().await;
    let error = client.get_drivers(None).await.unwrap_err();
    assert!(matches!(error, OperatorError::Call(CallError::Unreachable(_))), "{error}");
}

fn cas_answer(result: response::state_cas::Result, version: u64, generation: u64) -> Response {
    let state_cas = response::StateCas {
        result: Some(result as i32),
        version: Some(version),
        generation: Some(generation),
    };
    Response {
        r#type: Some(response::Type::StateCas as i32),
        state_cas: Some(state_cas),
        ..Default::default()
    }
}

#[tokio::test]
async fn repeats_a_write_of_unknown_outcome_unchanged() {
    let master = ScriptedMaster::start().await.unwrap();
    let seen: Seen = Arc::default();
    let log = seen.clone();
    master.on_tepui(move |call, token| {
        let mut log = log.lock().unwrap();
        log.push((call.clone(), token.map(str::to_owned)));
        match log.len() {
            1 => Err((503, "no longer the leader".into())),
            _ => Ok(cas_answer(response::state_cas::Result::Ok, 8, 3)),
        }
    });
    let registers = RegisterClient::new(client(&[&master]), "flights", 3, "secret");
    let written = registers.cas("stream", 7, Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(written, Cas::Ok(8));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    let cas = seen[0].0.state_cas.clone().unwrap();
    assert_eq!(
        (cas.scope(), cas.key(), cas.expected_version(), cas.generation()),
        ("flights", "stream", 7, 3)
    );
    assert_eq!(seen[0].1.as_deref(), Some("secret"));
}

#[tokio::test]
async fn tells_conflicts_and_fences_apart() {
    let master = ScriptedMaster::start().await.unwrap();
    master.on_tepui(|call, _| {
        let key = call.state_cas.as_ref().map(|cas| cas.key().to_owned());
        Ok(match key.as_deref() {
            Some("old") => cas_answer(response::state_cas::Result::Conflict, 9, 3),
            Some("mine") => cas_answer(response::state_cas::Result::Fenced, 0, 4),
            _ => Response {
                r#type: Some(response::Type::StateGet as i32),
                state_get: Some(response::StateGet::default()),
                ..Default::default()
            },
        })
    });
    let registers = RegisterClient::new(client(&[&master]), "flights", 3, "secret");
    assert_eq!(registers.get("none").await.unwrap().version, 0);
    assert_eq!(registers.cas("old", 1, Bytes::new()).await.unwrap(), Cas::Conflict { version: 9 });
    assert_eq!(registers.cas("mine", 1, Bytes::new()).await.unwrap(), Cas::Fenced { generation: 4 });
    let large = registers.cas("large", 1, vec![0; VALUE_LIMIT_BYTES + 1].into()).await;
    assert!(matches!(large, Err(RegisterError::TooLarge(_))));
}

fn lease_answer(valid: bool) -> Response {
    let renew_lease = response::RenewLease { valid: Some(valid), generation: Some(5), lease_ms: Some(400) };
    Response {
        r#type: Some(response::Type::RenewLease as i32),
        renew_lease: Some(renew_lease),
        ..Default::default()
    }
}

fn lease(master: &ScriptedMaster) -> Lease {
    let timing = (Duration::from_millis(50), Duration::from_millis(400));
    Lease::new(client(&[master]), "flights", 3, "secret").timing(timing.0, timing.1)
}

#[tokio::test]
async fn a_lease_is_renewed_until_a_newer_launch_has_it() {
    let master = ScriptedMaster::start().await.unwrap();
    let mut renewals = 0;
    master.on_tepui(move |call, token| {
        assert_eq!(call.renew_lease.as_ref().unwrap().name(), "flights");
        assert_eq!(token, Some("secret"));
        renewals += 1;
        Ok(lease_answer(renewals < 4))
    });
    assert_eq!(lease(&master).keep().await, LeaseLost::Replaced { generation: 5 });
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_lost() {
    let master = ScriptedMaster::start().await.unwrap();
    let mut renewals = 0;
    master.on_tepui(move |_, _| {
        renewals += 1;
        if renewals < 3 { Ok(lease_answer(true)) } else { Err((503, "no leader".into())) }
    });
    let lost = tokio::time::timeout(Duration::from_secs(10), lease(&master).keep()).await.unwrap();
    assert!(matches!(lost, LeaseLost::Expired { unrenewed_ms } if unrenewed_ms >= 400), "{lost:?}");
}

#[tokio::test]
async fn a_master_that_is_asked_too_often_is_asked_again_when_it_wants() {
    let master = ScriptedMaster::start().await.unwrap();
    let mut attempts = 0;
    master.on_operator(move |call, _| {
        attempts += 1;
        if attempts == 1 {
            return Err((429, "too many".into()));
        }
        let agents = v1::master::response::GetAgents::default();
        Ok(v1::master::Response { r#type: call.r#type, get_agents: Some(agents), ..Default::default() })
    });
    let begun = std::time::Instant::now();
    assert_eq!(client(&[&master]).get_agents().await.unwrap().agents, []);
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After was 1");
}
