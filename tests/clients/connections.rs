//! What these clients count on below the level of events, over bare connections and without a library: a stream that is asked for with
//! `Connection: close` streams as usual, and every end that a master decides on is a last chunk, then the end of the connection. A client that
//! hears only a broken connection waits (mesos-framework for ever), one that hears an end connects again at once.

use std::time::Duration;

use serde_json::{Value, json};
use tepui_tests::conformance::chunks::{self, RawAnswer};
use tepui_tests::harness::{self, TestCluster};

use crate::cluster;

const SCHEDULER: &str = "/api/v1/scheduler";
const OPERATOR: &str = "/api/v1/operator";

/// Posts as pymesos does.
async fn post(master: &str, path: &str, call: &Value) -> anyhow::Result<RawAnswer> {
    let headers =
        [("Content-Type", "application/json"), ("Accept", "application/json"), ("Connection", "close")];
    chunks::post(master, path, &headers, call.to_string().as_bytes()).await
}

/// Opens a stream.
async fn open(master: &str, path: &str, call: &Value) -> anyhow::Result<RawAnswer> {
    let answer = post(master, path, call).await?;
    anyhow::ensure!(answer.status() == Some(200), "{}", answer.head);
    anyhow::ensure!(answer.header("transfer-encoding") == Some("chunked"), "{}", answer.head);
    Ok(answer)
}

/// The call by which a framework subscribes, with its id if it has one.
fn subscribe(role: &str, id: Option<&str>) -> Value {
    let mut call = json!({
        "type": "SUBSCRIBE",
        "subscribe": { "framework_info": { "user": "root", "name": "raw", "role": role, "failover_timeout": 600.0 } },
    });
    if let Some(id) = id {
        call["framework_id"] = json!({ "value": id });
        call["subscribe"]["framework_info"]["id"] = json!({ "value": id });
    }
    call
}

/// The next event.
async fn next(stream: &mut RawAnswer) -> anyhow::Result<Option<Value>> {
    let Some(chunk) = stream.chunk().await? else { return Ok(None) };
    let text = String::from_utf8(chunk)?;
    let (length, record) = text.split_once('\n').unwrap_or_default();
    anyhow::ensure!(length.parse() == Ok(record.len()), "a chunk is no record: {text:?}");
    Ok(Some(serde_json::from_str(record)?))
}

/// Reads until the last chunk and the end of the connection. Returns the events, heartbeats and offers apart.
async fn end(mut stream: RawAnswer) -> anyhow::Result<Vec<Value>> {
    let mut events = Vec::new();
    while let Some(event) = next(&mut stream).await? {
        if event["type"] != "HEARTBEAT" && event["type"] != "OFFERS" {
            events.push(event);
        }
    }
    stream.closed().await?;
    Ok(events)
}

/// Subscribes. Returns the framework id, too.
async fn framework(master: &str, id: Option<&str>) -> anyhow::Result<(RawAnswer, String)> {
    let mut stream = open(master, SCHEDULER, &subscribe("*", id)).await?;
    let first = next(&mut stream).await?.unwrap_or_default();
    anyhow::ensure!(first["type"] == "SUBSCRIBED", "{first}");
    let id = first["subscribed"]["framework_id"]["value"].as_str().unwrap_or_default().to_owned();
    let second = next(&mut stream).await?.unwrap_or_default();
    anyhow::ensure!(second["type"] == "HEARTBEAT", "{second}");
    Ok((stream, id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_ends_streams_with_a_last_chunk() -> anyhow::Result<()> {
    let test = cluster::start(1, 1).await?;
    let master = test.cluster.masters()[0].clone();
    // It streams on, heartbeat after heartbeat, although the connection is to be closed afterwards.
    let (mut first, id) = framework(&master, None).await?;
    let mut heartbeats = 0;
    while heartbeats < 2 {
        let event = next(&mut first).await?.unwrap_or_default();
        heartbeats += usize::from(event["type"] == "HEARTBEAT");
    }
    // Replaced: an error, then the end.
    let (second, _) = framework(&master, Some(&id)).await?;
    let events = end(first).await?;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["type"], "ERROR");
    // Torn down by an operator.
    let teardown = json!({ "type": "TEARDOWN", "teardown": { "framework_id": { "value": id } } });
    assert_eq!(post(&master, OPERATOR, &teardown).await?.status(), Some(200));
    end(second).await?;
    // Refused inside the stream.
    let refused = end(open(&master, SCHEDULER, &subscribe("/wrong", None)).await?).await?;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["type"], "ERROR");
    Ok(())
}

/// A framework's and an operator's stream at the leader, as soon as one serves. Returns its index, too.
async fn both(test: &TestCluster) -> anyhow::Result<(usize, [RawAnswer; 2])> {
    harness::eventually("streams at a leader", || async {
        let leader = test.cluster.leader().await?;
        let master = &test.cluster.masters()[leader];
        let (scheduler, _) = framework(master, None).await.ok()?;
        let operator = open(master, OPERATOR, &json!({ "type": "SUBSCRIBE" })).await.ok()?;
        Some((leader, [scheduler, operator]))
    })
    .await
}

/// Fails if a stream does not end, or says more than a stream of its kind may before.
async fn all_end(streams: [RawAnswer; 2]) -> anyhow::Result<()> {
    let [scheduler, operator] = streams;
    // The framework comes back. Agents may have left for the next leader before, and taken their offers along.
    let last = end(scheduler).await?;
    assert!(last.iter().all(|event| event["type"] == "RESCIND"), "{last:?}");
    end(operator).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_does_not_lead_any_more_ends_all_streams() -> anyhow::Result<()> {
    let mut test = cluster::start(3, 1).await?;
    let (former, streams) = both(&test).await?;
    test.cluster.pause_master(former);
    let leader = harness::eventually("another leader", || async {
        test.cluster.leader().await.filter(|leader| *leader != former)
    })
    .await?;
    test.cluster.resume_master(former);
    all_end(streams).await?;
    // An empty request is how mesos-framework asks who leads now.
    let [address, expected] = [former, leader].map(|index| test.cluster.masters()[index].clone());
    harness::eventually("a redirect", || async {
        let answer = chunks::post(&address, SCHEDULER, &[], b"").await.ok()?;
        (answer.header("location") == Some(&format!("//{expected}{SCHEDULER}"))).then_some(())
    })
    .await?;
    // A leader without its peers steps down by itself.
    let (leader, streams) = both(&test).await?;
    let peers = [(leader + 1) % 3, (leader + 2) % 3];
    peers.iter().for_each(|peer| test.cluster.pause_master(*peer));
    let ended = all_end(streams).await;
    peers.iter().for_each(|peer| test.cluster.resume_master(*peer));
    ended?;
    // One that is told to stop hands over.
    let (leader, streams) = both(&test).await?;
    test.cluster.stop_master(leader, Duration::from_secs(60)).await?;
    all_end(streams).await
}
