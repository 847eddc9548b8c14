//! Users who want to harm: what they get for it, and that the agent goes on for everybody else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tepui_proto::tepui::agent_link::call as link_call;
use tepui_proto::v1;
use v1::TaskState as State;
use v1::executor::{Call, call, event};

use crate::executor::{Executor, task};
use crate::master::{Master, PATIENCE, shell};
use crate::rig::{Rig, lines};

const LINGER: &str = "echo started > started; while :; do sleep 0.05; done";

/// An agent that is impatient, with an executor that has subscribed.
async fn with_executor(id: &str) -> (Master, Rig, Executor) {
    let master = Master::start().await;
    let rig = Rig::start_with(vec![master.address.clone()], |config| {
        config.timers.body_timeout = Duration::from_millis(300);
    })
    .await;
    master.registration(1).await;
    master.run(task("t1", id, LINGER), 1).await;
    let mut executor = Executor::new(&rig.address, id);
    executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;
    (master, rig, executor)
}

/// Sends bytes as they are, and returns the status of the answer; 0 if the connection ends without one.
fn raw(address: &str, bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be cut off in the middle.
    let _cut = stream.write_all(bytes);
    let mut head = [0; 12];
    match stream.read_exact(&mut head) {
        Ok(()) => std::str::from_utf8(&head[9..]).unwrap().parse().unwrap(),
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no answer, and no end");
            0
        }
    }
}

async fn raw_in_thread(address: &str, bytes: Vec<u8>) -> u16 {
    let address = address.to_owned();
    tokio::task::spawn_blocking(move || raw(&address, &bytes)).await.unwrap()
}

#[tokio::test]
async fn nobody_speaks_for_an_executor_that_it_is_not() {
    let (master, rig, executor) = with_executor("e").await;
    // Known to the framework, but as a command.
    master.run(shell("cmd", "echo up; sleep 1000"), 2).await;
    lines(&rig.sandbox("cmd").join("stdout")).await;
    let ids = |framework: &str, id: &str, kind| Call {
        framework_id: Some(v1::FrameworkId { value: Some(framework.to_owned()) }),
        executor_id: Some(v1::ExecutorId { value: Some(id.to_owned()) }),
        ..executor.call(kind)
    };
    let long = "x".repeat(100_000);
    for (framework, id) in [
        ("other", "e"),
        ("", "e"),
        ("fw", ""),
        ("fw", "cmd"),
        ("fw/e", "e"),
        ("../fw", "e"),
        ("fw", "e\0"),
        (long.as_str(), "e"),
    ] {
        for kind in [call::Type::Subscribe, call::Type::Message] {
            let mut call = ids(framework, id, kind);
            call.message = Some(call::Message { data: Some(Bytes::from_static(b"x")) });
            assert_eq!(executor.post(&call).await, 400, "{framework:.20} {id}");
        }
    }
    // What it says about tasks of others is not believed: acknowledged, so that it does not come again, and no more.
    let mut status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("cmd".to_owned()) }),
        state: Some(State::TaskFailed.into()),
        source: Some(v1::task_status::Source::Executor.into()),
        uuid: Some(Bytes::from_static(&[9; 16])),
        ..Default::default()
    };
    let update = |status: &v1::TaskStatus| Call {
        update: Some(call::Update { status: Some(status.clone()) }),
        ..executor.call(call::Type::Update)
    };
    assert_eq!(executor.post(&update(&status)).await, 202);
    status.task_id = Some(v1::TaskId { value: Some("../../etc".to_owned()) });
    assert_eq!(executor.post(&update(&status)).await, 202);
    let tasks = rig.get_json("/metrics/snapshot").await;
    assert_eq!(
        (&tasks["slave/tasks_failed"], &tasks["slave/tasks_running"]),
        (&0.0.into(), &1.0.into()),
        "{tasks}"
    );
}

#[tokio::test]
async fn bodies_that_are_too_long_too_slow_or_broken_get_their_answer() {
    let (_master, rig, mut executor) = with_executor("e").await;
    for path in ["/api/v1/executor", "/api/v1"] {
        let head = |length: usize| {
            let host = &rig.address;
            format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
                .into_bytes()
        };
        assert_eq!(raw_in_thread(&rig.address, head(10)).await, 408, "{path}: nothing comes");
        assert_eq!(
            raw_in_thread(&rig.address, [head(10), b"{".to_vec()].concat()).await,
            408,
            "{path}: too little"
        );
        let mut nested = b"[".repeat(100_000);
        assert_eq!(
            raw_in_thread(&rig.address, [head(nested.len()), nested.clone()].concat()).await,
            400,
            "{path}"
        );
        nested = [b"{\"type\":".repeat(50_000), b"1".to_vec()].concat();
        assert_eq!(
            raw_in_thread(&rig.address, [head(nested.len()), nested.clone()].concat()).await,
            400,
            "{path}"
        );
        let chunked = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
        );
        let broken = raw_in_thread(&rig.address, chunked.into_bytes()).await;
        assert!([0, 400].contains(&broken), "{path}: {broken}");
    }
    let too_long = vec![b' '; (1 << 20) + 1];
    let request = rig.client.post(format!("http://{}/api/v1", rig.address));
    let response = request.header("content-type", "application/json").body(too_long).send().await.unwrap();
    assert_eq!(response.status(), 413);
    let request = rig.client.post(format!("http://{}/api/v1", rig.address));
    let request = request.header("content-type", "application/recordio");
    let request = request.header("message-content-type", "application/json");
    for (body, expected) in [
        ("99999999999999999999\n{}", 400),
        ("-1\n{}", 400),
        ("\n{}", 400),
        ("0\n", 400),
        ("5\n{}", 400),
        ("2000000\n", 400),
        ("2\n{}2\n{}", 400),
    ] {
        let response = request.try_clone().unwrap().body(body).send().await.unwrap();
        assert_eq!(response.status(), expected, "{body}");
    }
    let head = "x: y\r\n".repeat(10_000);
    let head = format!("GET /state HTTP/1.1\r\nhost: x\r\n{head}\r\n").into_bytes();
    let refused = raw_in_thread(&rig.address, head).await;
    assert!([0, 400, 431].contains(&refused), "{refused}");
    // Everybody else is served as before.
    executor.report("t1", State::TaskRunning).await;
}

#[tokio::test]
async fn what_an_executor_says_cannot_cost_the_agent_its_master() {
    let (master, rig, mut executor) = with_executor("e").await;
    let refused = |update: v1::TaskStatus, executor: &Executor| Call {
        update: Some(call::Update { status: Some(update) }),
        ..executor.call(call::Type::Update)
    };
    let mut status = executor.status("t1", State::TaskRunning);
    status.data = Some(vec![0; 5 << 20].into());
    assert_eq!(executor.post(&refused(status, &executor)).await, 400, "longer than schedulers can read");
    let data = Some(Bytes::from(vec![0; 20 << 20]));
    let message = Call { message: Some(call::Message { data }), ..executor.call(call::Type::Message) };
    assert_eq!(executor.post(&message).await, 400);
    // Data of this size in all updates of many tasks would make a registration that no master takes.
    let mut status = executor.status("t1", State::TaskRunning);
    status.data = Some(vec![0; 3 << 20].into());
    executor.update(status).await;
    executor.next(event::Type::Acknowledged).await;
    assert_eq!(
        master.update("t1", State::TaskRunning).await.data().len(),
        3 << 20,
        "the framework gets it whole"
    );
    master.close_stream();
    let registered = master.registration(2).await;
    assert!(registered.encoded_len() < 10_000, "{}", registered.encoded_len());
    let told = registered.tasks[0].latest_status.as_ref().unwrap();
    assert_eq!((told.state(), told.data.clone()), (State::TaskRunning, None));

    // A scheduler that acknowledges nothing: there is a bound, and the end of the task still gets through.
    master.hold_acknowledgements();
    let mut statuses = Vec::new();
    let busy = loop {
        let mut status = executor.status("t1", State::TaskRunning);
        let mut uuid = [7; 16];
        uuid[..8].copy_from_slice(&(statuses.len() as u64).to_le_bytes());
        status.uuid = Some(Bytes::copy_from_slice(&uuid));
        status.data = None;
        statuses.push(status.clone());
        match executor.post(&refused(status, &executor)).await {
            202 => assert!(statuses.len() <= 1_010, "no bound"),
            other => break other,
        }
    };
    assert_eq!((busy, statuses.len()), (429, 1_001));
    assert_eq!(executor.post(&refused(statuses[0].clone(), &executor)).await, 202, "it came before");
    let finished = executor.status("t1", State::TaskFinished);
    assert_eq!(executor.post(&refused(finished, &executor)).await, 202);
    // Messages that nobody takes are dropped, and cost nothing else.
    let small = Call {
        message: Some(call::Message { data: Some(vec![1; 1 << 20].into()) }),
        ..executor.call(call::Type::Message)
    };
    for _ in 0..100 {
        assert_eq!(executor.post(&small).await, 202);
    }
    master.call(link_call::Type::Message).await;
    assert_eq!(master.registrations().len(), 2, "the link is the same");
    assert_eq!(rig.get("/health").await.0, 200);
}

#[tokio::test]
async fn paths_lead_to_sandboxes_only() {
    let (_master, rig, _executor) = with_executor("e").await;
    lines(&rig.sandbox("e").join("started")).await;
    let run = "/frameworks/fw/executors/e/runs/latest";
    assert_eq!(rig.get_json(&format!("/files/read?path={run}/started&offset=0")).await["data"], "started\n");
    let work_dir = rig.work_dir();
    for place in [
        format!("{run}/../../../../../../../../etc/passwd"),
        format!("{run}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
        format!("{run}/%252e%252e/passwd"),
        format!("{run}//etc/passwd"),
        format!("{run}/started/../../../../../../../../../meta/journal"),
        format!("{run}/started%00"),
        format!("{run}/stdout/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fmeta%2fjournal"),
        "/frameworks/../../meta/journal".to_owned(),
        "/frameworks//etc/passwd".to_owned(),
        "//etc/passwd".to_owned(),
        "etc/passwd".to_owned(),
        "/slave/log/../../etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
        format!("{}/meta/journal", work_dir.display()),
        format!("{}/slaves/../meta/journal", work_dir.display()),
        format!("{}/endpoint.json", work_dir.display()),
        format!("{run}/{}", "a/".repeat(3_000)),
    ] {
        for endpoint in ["read?offset=0&path=", "browse?path=", "download?path="] {
            let (status, _, body) = rig.get(&format!("/files/{endpoint}{place}")).await;
            let text = String::from_utf8_lossy(&body);
            assert!([400, 404].contains(&status), "{endpoint}{place:.80}: {status} {text:.200}");
        }
        let path = format!("/tepui/v1/sandbox?framework_id=fw&task_id=t1&path={place}");
        let (status, _, body) = rig.get(&path).await;
        assert!([400, 404].contains(&status), "{path:.120}: {}", String::from_utf8_lossy(&body));
    }
    for name in ["framework_id=..&task_id=t1", "framework_id=fw&task_id=..", "framework_id=fw&task_id=a%2fb"]
    {
        assert_eq!(rig.get(&format!("/tepui/v1/sandbox?{name}")).await.0, 400, "{name}");
    }
}
