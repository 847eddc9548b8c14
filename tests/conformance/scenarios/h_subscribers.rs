//! Scenario 106, its limits: how many may follow the operator events, and what becomes of a follower that does not read.

use anyhow::Context as _;
use tepui_proto::v1::master::{self, Event, event};
use tepui_proto::v1::scheduler::{Call, call};
use tepui_proto::v1::{FrameworkInfo, Label, Labels};
use tepui_proto::wire;

use super::{h_events, h_health};
use crate::conformance::Context;
use crate::conformance::context::{STREAM_BYTES, SUBSCRIBERS};
use crate::conformance::wire::messages::{framework_id, lasting, of};
use crate::conformance::wire::{Stream, chunks, next_in_time};

/// What waits in the system's own buffers of a connection, at most; the rest waits in the master.
const SYSTEM_BUFFERS: usize = 12 << 20;
/// Length of one update in this scenario.
const UPDATE_BYTES: usize = 256 << 10;

pub(crate) async fn whole_stream(cx: &mut Context) -> anyhow::Result<()> {
    h_events::operator_stream(cx).await?;
    h_events::agents_on_the_stream(cx).await?;
    Box::pin(h_health::health_on_the_stream(cx)).await?;
    one_too_many(cx).await?;
    slow_reader(cx).await
}

async fn subscribed(cx: &Context) -> anyhow::Result<Stream> {
    let mut stream = cx.operator_stream().await?;
    let first: Event = next_in_time(&mut stream).await?.context("an empty stream")?;
    anyhow::ensure!(first.r#type() == event::Type::Subscribed, "{first:?} instead of SUBSCRIBED");
    Ok(stream)
}

/// Reads heartbeats until the stream is seen to live, or ends.
async fn lives(stream: &mut Stream) -> anyhow::Result<bool> {
    for _ in 0..3 {
        if next_in_time::<Event>(stream).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The oldest follower goes when there is one more than may be.
async fn one_too_many(cx: &Context) -> anyhow::Result<()> {
    let mut streams = Vec::new();
    for _ in 0..SUBSCRIBERS {
        streams.push(subscribed(cx).await?);
    }
    for stream in &mut streams {
        anyhow::ensure!(lives(stream).await?, "a follower went although there was room");
    }
    streams.push(subscribed(cx).await?);
    let mut oldest = streams.remove(0);
    while next_in_time::<Event>(&mut oldest).await.context("the oldest stream does not end")?.is_some() {}
    for stream in &mut streams {
        anyhow::ensure!(lives(stream).await?, "another follower than the oldest went");
    }
    Ok(())
}

async fn followers(cx: &Context) -> anyhow::Result<f64> {
    let metrics = cx.http.get_json(&cx.leader().await?, "/metrics/snapshot").await?;
    metrics["master/operator_event_stream_subscribers"].as_f64().context("no number of followers")
}

/// A follower that never reads is let go, and what it did not read is not kept for it.
async fn slow_reader(cx: &Context) -> anyhow::Result<()> {
    cx.eventually("an end of the earlier followers", async || {
        (followers(cx).await.ok()? == 0.0).then_some(())
    })
    .await?;
    let call = master::Call { r#type: Some(master::call::Type::Subscribe as i32), ..Default::default() };
    let headers = [("content-type", cx.media.as_str()), ("accept", cx.media.as_str())];
    let mut sleeper =
        chunks::post(&cx.leader().await?, "/api/v1", &headers, &wire::encode(cx.media, &call)).await?;
    anyhow::ensure!(sleeper.status() == Some(200), "{}", sleeper.head);
    let mut reader = subscribed(cx).await?;
    anyhow::ensure!(followers(cx).await? == 2.0, "two follow");

    let mut framework = cx.subscribe(lasting("talkative")).await?;
    let mut told = 0;
    let most = (SYSTEM_BUFFERS + 2 * STREAM_BYTES) / UPDATE_BYTES;
    let mut number = 0;
    while followers(cx).await? > 1.0 {
        anyhow::ensure!(
            number < most,
            "{told} bytes were told, and the follower that never reads is still there"
        );
        number += 1;
        let label = Label { key: Some("text".to_owned()), value: Some(text(number)) };
        let info = FrameworkInfo {
            id: Some(framework_id(&framework.id)),
            labels: Some(Labels { labels: vec![label] }),
            ..lasting("talkative")
        };
        let update = call::UpdateFramework { framework_info: Some(info), ..Default::default() };
        let call = Call {
            framework_id: Some(framework_id(&framework.id)),
            update_framework: Some(update),
            ..of(call::Type::UpdateFramework)
        };
        framework.post(&call).await?.expect(200)?;
        told += UPDATE_BYTES;
        // Whoever reads misses nothing.
        loop {
            let event: Event = next_in_time(&mut reader).await?.context("a reader was let go")?;
            let updated = event.framework_updated.and_then(|updated| updated.framework);
            let labels = updated.and_then(|one| one.framework_info).and_then(|info| info.labels);
            let labels = labels.unwrap_or_default().labels;
            if labels.first().is_some_and(|label| label.value() == text(number)) {
                break;
            }
        }
    }
    // What was on its way arrives, and then the stream ends.
    let mut read = 0;
    loop {
        match sleeper.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) => break,
            Err(error) => anyhow::bail!("after {read} bytes: {error:#}"),
        }
    }
    anyhow::ensure!(read < told + STREAM_BYTES, "{read} bytes were kept of {told}");
    framework.tear_down().await?;
    Ok(())
}

fn text(number: usize) -> String {
    let mut text = format!("{number} ");
    text.push_str(&"x".repeat(UPDATE_BYTES));
    text
}
