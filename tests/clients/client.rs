//! A running script: what it has told, what it is told to do, and signals to it. Its processes end with the value. Owns no expectation.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tepui_tests::harness::PATIENCE;
use tokio::sync::mpsc;

use crate::installation::{Runner, scripts};

/// One script on one library.
#[derive(Debug)]
pub(crate) struct Client {
    script: &'static str,
    child: Child,
    commands: ChildStdin,
    lines: mpsc::UnboundedReceiver<Value>,
    heard: Vec<(Instant, Value)>,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Client {
    /// Starts a script with its settings, in a folder and a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(runner: &Runner, script: &'static str, settings: &Value) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tepui-client-").tempdir()?;
        let log = folder.path().join("log");
        let mut child = Command::new(&runner.program)
            .arg(scripts().join(script))
            .arg(settings.to_string())
            .envs(runner.environment.iter().map(|(name, value)| (name, value)))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {script}"))?;
        let commands = child.stdin.take().context("a pipe to the script")?;
        let output = child.stdout.take().context("a pipe from the script")?;
        let (sender, lines) = mpsc::unbounded_channel();
        // Ends with the script, at the latest when this value is dropped.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // A library may write lines of its own.
                let told =
                    serde_json::from_str(&line).ok().filter(|value: &Value| value["event"].is_string());
                if sender.send(told.unwrap_or(Value::String(line))).is_err() {
                    return;
                }
            }
        });
        Ok(Client { script, child, commands, lines, heard: Vec::new(), log, _folder: folder })
    }

    /// Sends a command.
    ///
    /// # Errors
    /// When the script has ended.
    pub(crate) fn tell(&mut self, command: &Value) -> anyhow::Result<()> {
        writeln!(self.commands, "{command}")
            .with_context(|| format!("{}: {command}\n{}", self.script, self.story()))
    }

    /// Waits for a command task's launch to be asked for: it is launched on the next offer.
    ///
    /// # Errors
    /// When the script has ended.
    pub(crate) fn launch(&mut self, id: &str, command: &str) -> anyhow::Result<()> {
        self.tell(&json!({ "do": "launch", "id": id, "command": command }))
    }

    /// The position after everything heard so far.
    pub(crate) fn now(&mut self) -> usize {
        self.take();
        self.heard.len()
    }

    /// Waits for an event from this position on that `pick` takes.
    ///
    /// # Errors
    /// When the script ends or nothing fits in time; the message holds what was heard.
    pub(crate) async fn wait_from<T>(
        &mut self,
        from: usize,
        what: &str,
        mut pick: impl FnMut(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut at = from;
        loop {
            self.take();
            if let Some(picked) = self.heard.iter().skip(at).find_map(|(_, event)| pick(event)) {
                return Ok(picked);
            }
            at = at.max(self.heard.len());
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.lines.recv()).await {
                Ok(Some(line)) => self.heard.push((Instant::now(), line)),
                Ok(None) => anyhow::bail!("{} ended before {what}\n{}", self.script, self.story()),
                Err(_late) => {
                    anyhow::bail!("{}: no {what} after {PATIENCE:?}\n{}", self.script, self.story())
                }
            }
        }
    }

    /// Waits for an event of this name, whenever it came.
    ///
    /// # Errors
    /// When none comes in time.
    pub(crate) async fn event(&mut self, name: &str) -> anyhow::Result<Value> {
        self.event_from(0, name).await
    }

    /// Waits for an event of this name from this position on.
    ///
    /// # Errors
    /// When none comes in time.
    pub(crate) async fn event_from(&mut self, from: usize, name: &str) -> anyhow::Result<Value> {
        self.wait_from(from, name, |event| (event["event"] == name).then(|| event.clone())).await
    }

    /// Waits until the library has passed on this state of a task. Returns the whole status.
    ///
    /// # Errors
    /// When it has not in time.
    pub(crate) async fn state(&mut self, task: &str, state: &str) -> anyhow::Result<Value> {
        self.wait_from(0, &format!("{state} of {task}"), |event| {
            (event["event"] == "update" && event["task"] == task && event["state"] == state)
                .then(|| event["status"].clone())
        })
        .await
    }

    /// All events of this name so far.
    pub(crate) fn all(&mut self, name: &str) -> Vec<Value> {
        self.take();
        self.heard
            .iter()
            .filter(|(_, event)| event["event"] == name)
            .map(|(_, event)| event.clone())
            .collect()
    }

    /// Names of all states of a task so far, in order.
    pub(crate) fn states(&mut self, task: &str) -> Vec<String> {
        let updates = self.all("update");
        let own = updates.iter().filter(|event| event["task"] == task);
        own.filter_map(|event| event["state"].as_str().map(str::to_owned)).collect()
    }

    /// How long after `since` the first event of this name from this position on was heard.
    pub(crate) fn after(&self, from: usize, name: &str, since: Instant) -> Option<Duration> {
        let heard = self.heard.iter().skip(from).find(|(_, event)| event["event"] == name);
        heard.map(|(at, _)| at.saturating_duration_since(since))
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let _gone = killpg(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    fn take(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.heard.push((Instant::now(), line));
        }
    }

    /// The last of what was heard and logged.
    fn story(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let logged: Vec<&str> = log.lines().collect();
        let mut story = String::new();
        for (_, event) in self.heard.iter().skip(self.heard.len().saturating_sub(25)) {
            let mut line = event.to_string();
            if let Some((end, _)) = line.char_indices().nth(300) {
                line.truncate(end);
            }
            story.push_str(&line);
            story.push('\n');
        }
        story.push_str("--- its log\n");
        story.push_str(&logged[logged.len().saturating_sub(25)..].join("\n"));
        story
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}
