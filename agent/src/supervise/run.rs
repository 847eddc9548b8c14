//! The life of one supervising process, from the lock to the exit record. Owns the order of those steps.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, sigprocmask};
use nix::unistd::{Pid, getpgid, setsid};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

use super::records::{self, ExitRecord, Spec, Started};
use super::{descriptors, processes};
use crate::gc;

/// Exit codes of the supervising process itself; the agent reads the exit record, these are for people.
const OK: i32 = 0;
const FAILED: i32 = 1;
pub(super) const USAGE: i32 = 2;
const NOT_MINE: i32 = 3;

/// How long killed processes may take to disappear (one that waits for a disk may take for ever).
const REAP_TIMEOUT: Duration = Duration::from_secs(5);

/// Of the thread that waits for the end of the agent.
const TIE_STACK_BYTES: usize = 128 << 10;

pub(super) fn run(folder: &Path) -> i32 {
    // Held until the very end: whoever gets the lock knows that nobody supervises any more.
    let _lock = match records::try_lock(folder) {
        Ok(Some(lock)) => lock,
        Ok(None) => return NOT_MINE,
        Err(_) => return FAILED,
    };
    match records::read_exit(folder) {
        Ok(None) => {}
        Ok(Some(_)) => return NOT_MINE,
        Err(_) => return FAILED,
    }
    let exit = match supervise(folder) {
        Ok(exit) => exit,
        Err(error) => {
            let message = error.to_string();
            say(&format!("failed {}", message.replace('\n', " ")));
            ExitRecord::NotStarted { message }
        }
    };
    if records::write_exit(folder, &exit).is_ok() { OK } else { FAILED }
}

/// Starts the command and waits for its end. An error means that it was not started.
fn supervise(folder: &Path) -> io::Result<ExitRecord> {
    let spec = records::read_spec(folder)?;
    descriptors::keep_from_children()?;
    // Fails only for a leader of a process group, and then this process is apart from the agent already.
    let _already_apart = setsid();
    prctl::set_child_subreaper(true)?;
    let own = std::process::id().cast_signed();
    let start_time = processes::stat(own).map(|stat| stat.start_time).unwrap_or_default();
    // Whoever reads the record may send a signal at once: it must be waited for by then, and not end this process.
    let signals = block_signals()?;
    records::write_started(folder, Started { pid: own, start_time })?;
    if spec.ends_with_agent {
        end_with_agent(own)?;
    }
    let child = command(&spec)?.spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("start {} in {}: {error}", spec.program, spec.sandbox))
    })?;
    let pid = Pid::from_raw(child.id().cast_signed());
    say(&format!("started {pid}"));
    let mut ending = Ending { folder, spec: &spec, pid, force_at: None };
    let (status, childless) = loop {
        // Waiting for blocked signals cannot fail; if it does, a pause keeps this loop from spinning.
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                if let (Some(status), childless) = reap(pid) {
                    // Looking through all processes of the host is only worth it if something was left behind.
                    break (status, childless);
                }
            }
            Ok(Signal::SIGUSR1) => ending.force_if_due(),
            Ok(_) => ending.ask(),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    };
    let kill_asked = ending.force_at.is_some();
    if !childless {
        end_stragglers(pid);
    }
    // Before the exit record: with that the agent may forget the task, and what it does not know it may sweep.
    gc::restart_age(Path::new(&spec.sandbox));
    Ok(ExitRecord::Ended { status, kill_asked })
}

fn block_signals() -> io::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        signals.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)?;
    Ok(signals)
}

/// Asks this process to end its command as soon as the agent is gone. Signals must be blocked already.
fn end_with_agent(own: i32) -> io::Result<()> {
    let watch = move || {
        // The agent never writes: whatever this returns means that the other end is closed.
        let _closed = io::copy(&mut io::stdin().lock(), &mut io::sink());
        processes::signal(own, Signal::SIGTERM);
    };
    thread::Builder::new().stack_size(TIE_STACK_BYTES).spawn(watch).map(drop)
}

fn command(spec: &Spec) -> io::Result<Command> {
    let sandbox = Path::new(&spec.sandbox);
    let output = |name: &str| -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(sandbox.join(name))
    };
    let mut command = Command::new(&spec.program);
    if let Some(name) = &spec.name {
        command.arg0(name);
    }
    command
        .args(&spec.arguments)
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(sandbox)
        .stdin(Stdio::null())
        .stdout(output("stdout")?)
        .stderr(output("stderr")?)
        .process_group(0);
    unblock_signals(&mut command);
    Ok(command)
}

/// A child inherits the blocked signals of its parent, so without this a SIGTERM would wait for ever.
#[expect(unsafe_code, reason = "only the child, between fork and exec, can change its own mask")]
fn unblock_signals(command: &mut Command) {
    let none = SigSet::empty();
    let unblock = move || sigprocmask(SigmaskHow::SIG_SETMASK, Some(&none), None).map_err(io::Error::from);
    // SAFETY: between fork and exec the child makes one system call and turns an error number into a value; it allocates
    // nothing, takes no lock and touches no memory that it shares with another thread.
    unsafe { command.pre_exec(unblock) };
}

/// How the command is brought to its end.
struct Ending<'a> {
    folder: &'a Path,
    spec: &'a Spec,
    pid: Pid,
    force_at: Option<Instant>,
}

impl Ending<'_> {
    /// Asks the command to end, and arranges to force it; a nearer end wins over a later one.
    fn ask(&mut self) {
        let grace_ms = match records::read_kill(self.folder) {
            Ok(Some(kill)) => kill.grace_ms,
            Ok(None) | Err(_) => self.spec.grace_ms,
        };
        let grace = Duration::from_millis(grace_ms);
        // Beyond what the clock can express it would never be forced.
        let Some(force_at) = Instant::now().checked_add(grace) else { return };
        if self.force_at.is_some_and(|known| known <= force_at) {
            return;
        }
        let first = self.force_at.replace(force_at).is_none();
        if first {
            self.signal_all(Signal::SIGTERM);
        }
        let own = std::process::id().cast_signed();
        thread::spawn(move || {
            thread::sleep(grace);
            processes::signal(own, Signal::SIGUSR1);
        });
    }

    fn force_if_due(&self) {
        if self.force_at.is_some_and(|at| at <= Instant::now()) {
            self.signal_all(Signal::SIGKILL);
        }
    }

    fn signal_all(&self, signal: Signal) {
        let _gone = killpg(self.pid, signal);
        // Whoever left the group is still below this process.
        for pid in processes::descendants(std::process::id().cast_signed()) {
            if getpgid(Some(Pid::from_raw(pid))) != Ok(self.pid) {
                processes::signal(pid, signal);
            }
        }
    }
}

/// Collects every child that has ended; returns the wait status of the command if it is among them, and whether no child is
/// left.
///
/// The status is taken as it is: nix collects a child that died of a real-time signal and then fails, as it has no name for
/// the signal, so that the end would be lost.
fn reap(command: Pid) -> (Option<i32>, bool) {
    let mut status = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid.as_raw_pid() == command.as_raw() => status = Some(ended.as_raw()),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return (status, true),
            Ok(None) | Err(_) => return (status, false),
        }
    }
}

/// Kills whatever the command left behind, and waits until it is gone. All of it is below this process, wherever it was
/// started from, because orphans come to their nearest reaper.
fn end_stragglers(group: Pid) {
    let own = std::process::id().cast_signed();
    let deadline = Instant::now() + REAP_TIMEOUT;
    loop {
        let left = processes::descendants(own);
        // The whole group at once stops one that forks faster than it is found. The command itself is reaped, so its id
        // names the group only as long as the group has a member.
        if left.iter().any(|pid| getpgid(Some(Pid::from_raw(*pid))) == Ok(group)) {
            let _gone = killpg(group, Signal::SIGKILL);
        }
        for pid in &left {
            processes::signal(*pid, Signal::SIGKILL);
        }
        let (_, childless) = reap(group);
        if childless || Instant::now() > deadline {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Tells the agent, if it still listens.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _not_heard = writeln!(out, "{line}").and_then(|()| out.flush());
}
