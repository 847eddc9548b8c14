//! Executors that have to prove who they are.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use tepui_agent::{Config, Server};
use tepui_proto::tepui::agent_link::call as link_call;
use tepui_proto::v1;
use v1::TaskState as State;
use v1::executor::{Call, call, event};

use crate::executor::{Executor, task};
use crate::master::{Master, shell};
use crate::rig::{Rig, lines};

const LINGER: &str = "env > env.txt; echo started > started; until [ -e go ]; do sleep 0.02; done; exit 3";

fn guarded(key: &Path) -> impl Fn(&mut Config) {
    let key = key.to_owned();
    move |config| {
        config.jwt_secret_key = Some(key.clone());
        config.authenticate_http_executors = true;
        config.timers.executor_reregistration_timeout = Duration::from_secs(15);
    }
}

fn key_in(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("key");
    fs::write(&path, "0123456789abcdef0123456789abcdef").unwrap();
    path
}

/// The token that an executor found in its environment.
async fn token_of(rig: &Rig, executor: &str) -> Option<String> {
    lines(&rig.sandbox(executor).join("started")).await;
    let environment = fs::read_to_string(rig.sandbox(executor).join("env.txt")).unwrap();
    let shown =
        environment.lines().find_map(|line| line.strip_prefix("MESOS_EXECUTOR_AUTHENTICATION_TOKEN="));
    shown.map(str::to_owned)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn message(executor: &Executor) -> Call {
    let message = call::Message { data: Some(Bytes::from_static(b"x")) };
    Call { message: Some(message), ..executor.call(call::Type::Message) }
}

#[tokio::test]
async fn an_executor_speaks_for_itself_alone_and_goes_on_after_a_restart() {
    let keys = tempfile::tempdir().unwrap();
    let key = key_in(keys.path());
    let master = Master::start().await;
    let mut rig = Rig::start_with(vec![master.address.clone()], guarded(&key)).await;
    master.registration(1).await;
    master.run(task("t1", "e", LINGER), 1).await;
    master.run(task("t2", "other", LINGER), 2).await;
    let token = token_of(&rig, "e").await.expect("it has a token");
    let others = token_of(&rig, "other").await.expect("it has a token");

    let mut executor = Executor::new(&rig.address, "e");
    let kinds = [call::Type::Subscribe, call::Type::Message, call::Type::Heartbeat];
    let refused = async |executor: &Executor, expected: [u16; 3]| {
        for (kind, expected) in kinds.into_iter().zip(expected) {
            let call = Call { r#type: Some(kind.into()), ..message(executor) };
            assert_eq!(executor.post(&call).await, expected, "{kind:?}");
        }
    };
    refused(&executor, [401; 3]).await;
    // One in sixteen tokens ends with an A by itself.
    let last = if token.ends_with('A') { 'Q' } else { 'A' };
    executor.token = Some(format!("{}{last}", &token[..token.len() - 1]));
    refused(&executor, [401; 3]).await;
    executor.token = Some(others.clone());
    refused(&executor, [403, 403, 202]).await;
    // What is asked for is looked at after who asks: a method, a type of content, and what was never there.
    let url = format!("http://{}/slave(1)/api/v1/executor", rig.address);
    for (shown, expected) in [(None, 401), (Some(&token), 405)] {
        let mut request = rig.client.get(&url);
        if let Some(token) = shown {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), expected);
        let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
        assert_eq!(challenge, shown.is_none().then_some("Bearer realm=\"mesos-agent-executor\""));
    }
    let stranger = Executor::with_token(&rig.address, "nobody", &token);
    assert_eq!(stranger.post(&message(&stranger)).await, 400, "unknown executor");

    executor.token = Some(token.clone());
    assert_eq!(executor.post(&message(&executor)).await, 403, "not subscribed");
    let subscribed = executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;
    executor.report("t1", State::TaskRunning).await;
    let container_id = subscribed.container_id.unwrap().value.unwrap();
    assert_eq!(part(&token, 0), json!({"alg": "HS256", "typ": "JWT"}));
    assert_eq!(part(&token, 1), json!({"fid": "fw", "eid": "e", "cid": container_id}));
    // One that has subscribed is as safe from others.
    let thief = Executor::with_token(&rig.address, "e", &others);
    refused(&thief, [403, 403, 202]).await;
    // Operators are asked for nothing.
    assert_eq!(rig.get("/state").await.0, 200);

    rig.stop_agent().await;
    rig.start_agent(guarded(&key)).await;
    master.registration(2).await;
    let mut again = Executor::new(&rig.address, "e");
    assert_eq!(again.post(&again.call(call::Type::Subscribe)).await, 401);
    again.token = Some(token.clone());
    let known = call::Subscribe { unacknowledged_tasks: vec![task("t1", "e", LINGER)], ..Default::default() };
    again.subscribe(known).await;
    again.report("t1", State::TaskFinished).await;

    // A later executor of the same name is somebody else.
    fs::write(rig.sandbox("e").join("go"), "").unwrap();
    master.call(link_call::Type::ExecutorExited).await;
    master.run(task("t3", "e", "sleep 1000"), 3).await;
    let deadline = tokio::time::Instant::now() + crate::master::PATIENCE;
    while again.post(&again.call(call::Type::Subscribe)).await != 403 {
        assert!(tokio::time::Instant::now() < deadline, "the new one is never known");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_key_alone_gives_tokens_and_asks_for_none() {
    let keys = tempfile::tempdir().unwrap();
    let key = key_in(keys.path());
    let master = Master::start().await;
    let mut rig = Rig::start_with(vec![master.address.clone()], |config| {
        config.jwt_secret_key = Some(key.clone());
    })
    .await;
    master.registration(1).await;
    master.run(task("t1", "e", LINGER), 1).await;
    let token = token_of(&rig, "e").await.expect("it has a token");
    let mut executor = Executor::new(&rig.address, "e");
    executor.token = Some("what is shown does not count".to_owned());
    executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;
    executor.report("t1", State::TaskRunning).await;
    // Commands do not speak to the agent.
    master.run(shell("t2", LINGER), 2).await;
    assert_eq!(token_of(&rig, "t2").await, None);
    // So the switch can be turned on while executors run.
    rig.stop_agent().await;
    rig.start_agent(guarded(&key)).await;
    let mut again = Executor::with_token(&rig.address, "e", &token);
    again.subscribe(call::Subscribe::default()).await;
    // Without a key there is no token.
    let other = Rig::start(&master).await;
    master.registration(3).await;
    master.run(task("t4", "e", LINGER), 4).await;
    assert_eq!(token_of(&other, "e").await, None);
}

#[tokio::test]
async fn asking_for_tokens_that_nobody_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(vec!["127.0.0.1:1".to_owned()], folder.path());
    config.port = 0;
    config.authenticate_http_executors = true;
    let refused = Server::start(config.clone()).await.err().unwrap().to_string();
    assert!(refused.contains("jwt_secret_key"), "{refused}");
    config.jwt_secret_key = Some(folder.path().join("none"));
    let refused = Server::start(config).await.err().unwrap().to_string();
    assert!(refused.contains("none"), "{refused}");
}
