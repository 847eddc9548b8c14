//! A live picture of a cluster from `/tepui/v1/events` of any master: a map of objects, kept up to date, from another master when one goes
//! away. Owns the connection; knows nothing of what the objects mean beyond their kind and id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Silence after which a master is given up; heartbeats come every five seconds.
const SILENCE: Duration = Duration::from_secs(12);
/// Longest line of the stream.
const MAX_LINE_BYTES: usize = 4 << 20;

/// Objects by kind and id.
pub type Objects = BTreeMap<(String, String), Value>;

/// The picture, and the task that keeps it.
#[derive(Debug)]
pub struct Live {
    objects: Arc<Mutex<Objects>>,
    changed: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Live {
    /// Follows the events of these masters (`host:port`), one at a time.
    pub fn follow(masters: Vec<String>) -> Self {
        let objects = Arc::new(Mutex::new(Objects::new()));
        let (sender, changed) = watch::channel(0);
        let mut follower = Follower { objects: Arc::clone(&objects), changed: sender, fresh: None };
        #[expect(clippy::disallowed_methods, reason = "owned by this value, aborted when it is dropped")]
        let task = tokio::spawn(async move {
            for master in masters.iter().cycle() {
                if let Err(reason) = follower.listen(master).await {
                    tracing::debug!(%master, %reason, "event stream ended");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Live { objects, changed, task }
    }

    /// Runs `read` over the objects as they are now.
    pub fn read<T>(&self, read: impl FnOnce(&Objects) -> T) -> T {
        read(&self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One object, if there is one.
    pub fn object(&self, kind: &str, id: &str) -> Option<Value> {
        self.read(|objects| objects.get(&(kind.to_owned(), id.to_owned())).cloned())
    }

    /// All objects of one kind, in order of their ids.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.read(|objects| {
            objects.iter().filter(|((found, _), _)| found == kind).map(|(_, object)| object.clone()).collect()
        })
    }

    /// Waits for a change, but no longer than `within`.
    pub async fn changed(&mut self, within: Duration) {
        // A closed channel means that nothing will change any more; the caller's own deadline ends its loop.
        if let Ok(Err(_closed)) = tokio::time::timeout(within, self.changed.changed()).await {
            tokio::time::sleep(within).await;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The reading side.
struct Follower {
    objects: Arc<Mutex<Objects>>,
    changed: watch::Sender<u64>,
    /// Objects of a snapshot that is still arriving.
    fresh: Option<Objects>,
}

impl Follower {
    async fn listen(&mut self, master: &str) -> anyhow::Result<()> {
        tepui_sdk::transport::install_crypto();
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .build()
            .context("make an HTTP client")?;
        let answer =
            client.get(format!("http://{master}/tepui/v1/events")).send().await?.error_for_status()?;
        let mut body = answer.bytes_stream();
        let mut buffer: Vec<u8> = Vec::new();
        let mut event = String::new();
        loop {
            let piece = tokio::time::timeout(SILENCE, body.next()).await.context("no heartbeat")?;
            buffer.extend_from_slice(&piece.context("end of stream")??);
            anyhow::ensure!(buffer.len() < MAX_LINE_BYTES, "a line is too long");
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end();
                if let Some(name) = line.strip_prefix("event:") {
                    event = name.trim().to_owned();
                } else if let Some(data) = line.strip_prefix("data:") {
                    self.on_event(&event, data.trim())?;
                }
            }
        }
    }

    fn on_event(&mut self, event: &str, data: &str) -> anyhow::Result<()> {
        match event {
            "snapshot-begin" => self.fresh = Some(Objects::new()),
            "ready" => {
                if let Some(fresh) = self.fresh.take() {
                    *self.objects.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                }
            }
            "object" => {
                let mut message: Value = serde_json::from_str(data).context("parse an event")?;
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let (Some(kind), Some(id)) = (text(&message["kind"]), text(&message["id"])) else {
                    anyhow::bail!("an event without kind and id");
                };
                let object = message["object"].take();
                match &mut self.fresh {
                    Some(fresh) => put(fresh, kind, id, object),
                    None => put(
                        &mut self.objects.lock().unwrap_or_else(PoisonError::into_inner),
                        kind,
                        id,
                        object,
                    ),
                }
            }
            _heartbeat_or_newer => return Ok(()),
        }
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }
}

fn put(objects: &mut Objects, kind: String, id: String, object: Value) {
    if object.is_null() {
        objects.remove(&(kind, id));
    } else {
        objects.insert((kind, id), object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower() -> (Follower, Arc<Mutex<Objects>>) {
        let objects = Arc::new(Mutex::new(Objects::new()));
        let (changed, _) = watch::channel(0);
        (Follower { objects: Arc::clone(&objects), changed, fresh: None }, objects)
    }

    #[test]
    fn a_snapshot_replaces_the_picture_only_when_it_is_complete() {
        let (mut follower, objects) = follower();
        follower.on_event("object", r#"{"kind":"agent","id":"a","object":{"n":1}}"#).unwrap();
        follower.on_event("snapshot-begin", "{}").unwrap();
        follower.on_event("object", r#"{"kind":"agent","id":"b","object":{"n":2}}"#).unwrap();
        assert_eq!(objects.lock().unwrap().len(), 1);
        assert!(objects.lock().unwrap().contains_key(&("agent".into(), "a".into())));
        follower.on_event("ready", "{}").unwrap();
        assert!(objects.lock().unwrap().contains_key(&("agent".into(), "b".into())));
        assert_eq!(objects.lock().unwrap().len(), 1);
    }

    #[test]
    fn null_removes_an_object_and_nonsense_is_refused() {
        let (mut follower, objects) = follower();
        follower.on_event("object", r#"{"kind":"task","id":"t","object":{}}"#).unwrap();
        follower.on_event("object", r#"{"kind":"task","id":"t","object":null}"#).unwrap();
        assert!(objects.lock().unwrap().is_empty());
        assert!(follower.on_event("object", "{").is_err());
        assert!(follower.on_event("object", "{}").is_err());
    }
}
