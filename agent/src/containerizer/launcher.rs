//! Starts supervising processes. Owns the step from a launch to a running command; after it the container is only watched.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::Settings;
use super::environment::{inherited, marks, variables};
use super::isolators::Isolator;
use super::start::Start;
use crate::supervise::records::{self, Spec};

/// The one line that a supervising process says.
const LINE_BYTES_MAX: u64 = 4096;

/// Lays out the sandbox and the container's folder. Blocking.
///
/// # Errors
/// Nothing was started.
pub(super) fn prepare(settings: &Settings, isolators: &[Box<dyn Isolator>], start: &Start) -> io::Result<()> {
    let command = start.command.clone();
    let value = command.value().to_owned();
    let mut spec = Spec {
        container_id: start.container_id.clone(),
        sandbox: String::new(),
        program: String::new(),
        name: None,
        arguments: Vec::new(),
        environment: Vec::new(),
        grace_ms: start.grace_ms,
        ends_with_agent: start.ends_with_agent(),
    };
    if command.shell() {
        spec.program = "/bin/sh".to_owned();
        spec.arguments = vec!["-c".to_owned(), value];
    } else {
        // As in Mesos the arguments are the whole of argv: the first one is the program's name for itself.
        let mut arguments = command.arguments.into_iter();
        spec.program = value;
        spec.name = arguments.next();
        spec.arguments = arguments.collect();
    }
    for isolator in isolators {
        isolator.prepare(&settings.layout, start, &mut spec)?;
    }
    spec.environment = variables(settings, start, &spec.sandbox);
    let folder = settings.layout.container(&start.container_id);
    fs::create_dir_all(&folder)?;
    records::write_spec(&folder, &spec)
}

/// Starts the supervising process of a prepared container and waits until it runs the command. If it is `tied`, it ends the
/// command as soon as its standard input is closed: the caller keeps that open, and the kernel closes it when the agent ends.
///
/// # Errors
/// The message says why there is no command. If the process is returned with it, it may still have to be ended.
pub(super) async fn start(
    settings: &Settings,
    container_id: &str,
    tied: bool,
    timeout: Duration,
) -> Result<Child, (String, Option<Child>)> {
    let folder = settings.layout.container(container_id);
    let mut child = spawn(settings, container_id, &folder, tied)
        .map_err(|error| (format!("start the supervising process: {error}"), None))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(("the supervising process has no voice".to_owned(), Some(child)));
    };
    let mut line = String::new();
    let mut reader = BufReader::new(stdout.take(LINE_BYTES_MAX));
    match tokio::time::timeout(timeout, reader.read_line(&mut line)).await {
        Err(_) => Err((format!("the command was not started within {timeout:?}"), Some(child))),
        Ok(Err(error)) => Err((format!("listen to the supervising process: {error}"), Some(child))),
        Ok(Ok(_)) => match line.trim_end().split_once(' ') {
            Some(("started", _)) => Ok(child),
            Some(("failed", reason)) => Err((reason.to_owned(), Some(child))),
            _ => Err(("the supervising process ended before it started the command".to_owned(), Some(child))),
        },
    }
}

fn spawn(settings: &Settings, container_id: &str, folder: &Path, tied: bool) -> io::Result<Child> {
    let empty = OsString::new();
    let (program, arguments) = settings.supervisor_command.split_first().unwrap_or((&empty, &[]));
    // It goes into a session of its own by itself; nothing here kills it when the agent goes, but it may see that by its input.
    Command::new(program)
        .args(arguments)
        .arg(folder)
        .env_clear()
        .envs(inherited(std::env::vars_os()))
        .envs(marks(settings, container_id))
        .current_dir(settings.layout.work_dir())
        .stdin(if tied { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(false)
        .spawn()
}
