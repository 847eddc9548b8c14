//! Those who connect and do nothing, or too often: they are turned away, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tepui_agent::Config;
use tepui_proto::v1;
use v1::TaskState as State;
use v1::executor::{call, event};

use crate::executor::{Executor, task};
use crate::master::{Master, PATIENCE};
use crate::rig::Rig;

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

/// An agent with an executor that has subscribed, so that its stream is open.
async fn with_executor(change: impl FnOnce(&mut Config)) -> (Master, Rig, Executor) {
    let master = Master::start().await;
    let rig = Rig::start_with(vec![master.address.clone()], change).await;
    master.registration(1).await;
    master.run(task("t1", "e", "sleep 1000"), 1).await;
    let mut executor = Executor::new(&rig.address, "e");
    executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;
    (master, rig, executor)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Returns whether a request over this connection is answered; it stays open.
fn is_answered(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let _cut = stream.write_all(HEALTH);
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.extend_from_slice(&byte),
            Ok(_) => return false,
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no answer, and no end");
                return false;
            }
        }
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    true
}

/// Waits for the other side to end the connection; returns how long that took.
fn ends(mut stream: TcpStream) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it is never ended");
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_connections_harms_nobody_who_is_there() {
    let (_master, rig, mut executor) = with_executor(|config| config.connections_max = 12).await;
    let address = rig.address.clone();
    // Over a connection of its own, which stays.
    executor.report("t1", State::TaskRunning).await;
    let mut early = connect(&address);
    assert!(is_answered(&mut early));
    let flood: Vec<TcpStream> = (0..100).map(|_| connect(&address)).collect();
    // The first that come too late are ended without an answer; the others hold what is free.
    let mut refused = 0;
    let mut held = Vec::new();
    for mut stream in flood {
        if is_answered(&mut stream) {
            held.push(stream);
        } else {
            refused += 1;
        }
    }
    assert!((1..12).contains(&held.len()) && refused >= 88, "{} held, {refused} refused", held.len());
    // Who was there goes on, over what was open.
    assert!(is_answered(&mut early));
    executor.report("t1", State::TaskRunning).await;
    // There is room again as soon as somebody leaves.
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while !is_answered(&mut connect(&address)) {
        assert!(Instant::now() < deadline, "no room");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_head_is_cut_off_and_an_idle_connection_is_not() {
    let head = Duration::from_millis(400);
    let (_master, rig, mut executor) = with_executor(|config| config.timers.head_timeout = head).await;
    let address = rig.address.clone();
    let mut idle = connect(&address);
    assert!(is_answered(&mut idle));
    // Nothing at all; a part of a head, of the first bytes that tell the protocol, and of one that never ends.
    let mut cut = vec![connect(&address)];
    for part in [&b"GET"[..], &HEALTH[..HEALTH.len() - 2], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = connect(&address);
        stream.write_all(part).unwrap();
        cut.push(stream);
    }
    let mut second = connect(&address);
    assert!(is_answered(&mut second));
    second.write_all(b"GET /health HT").unwrap();
    cut.push(second);
    let mut dripping = connect(&address);
    let mut drip = dripping.try_clone().unwrap();
    let dripper = std::thread::spawn(move || {
        let start = Instant::now();
        while drip.write_all(b"x").is_ok() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        start.elapsed()
    });
    for stream in cut {
        ends(stream);
    }
    let mut end = [0];
    assert!(!matches!(dripping.read(&mut end), Ok(1)), "bytes that are no head win no time");
    drop(dripping);
    assert!(dripper.join().unwrap() < PATIENCE);
    // All of them took longer than a head may; what is open and whole does not mind.
    assert!(is_answered(&mut idle), "an idle connection has another timer");
    executor.report("t1", State::TaskRunning).await;
    assert_eq!(rig.get("/health").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_not_used_any_more_ends_and_a_stream_does_not() {
    let (_master, rig, mut executor) =
        with_executor(|config| config.timers.idle_timeout = Duration::from_millis(300)).await;
    let mut idle = connect(&rig.address);
    assert!(is_answered(&mut idle));
    ends(idle);
    // The executor's stream was silent for longer than that.
    executor.report("t1", State::TaskRunning).await;
}
