//! Puts the campaign apart from the machine, if the system allows: its own networks, mounts and processes, which the kernel takes away
//! with the last process, even if the campaign is killed. Says whether it could.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

/// Tells a process that it is apart, and what it is there.
const STAGE: &str = "TEPUI_CHAOS_STAGE";
/// The number of the first process, outside: names bear it.
pub const NUMBER: &str = "TEPUI_CHAOS_NUMBER";
/// What folders of campaigns are named after.
const PREFIX: &str = "tepui-chaos-";

/// The flags of `unshare`: gone with its child, and its child with it.
const APART: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// What this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A process of the machine.
    Outside,
    /// The first process apart: waits for orphans.
    First,
    /// The campaign, apart.
    Campaign,
}

/// What this process is.
pub fn stage() -> Stage {
    match std::env::var(STAGE).as_deref() {
        Ok("first") => Stage::First,
        Ok("campaign") => Stage::Campaign,
        _outside => Stage::Outside,
    }
}

/// The process number by which things of this campaign are named.
pub(super) fn number() -> u32 {
    std::env::var(NUMBER).ok().and_then(|number| number.parse().ok()).unwrap_or_else(std::process::id)
}

/// The beginning of the campaign's folder's name.
pub(super) fn folder_prefix() -> String {
    format!("{PREFIX}{}-", number())
}

/// Why no process can be put apart here, if so.
///
/// # Errors
/// The reason, for people.
pub fn is_possible() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("not root".to_owned());
    }
    let script = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link add one type veth peer name two && \
                  tc qdisc add dev one clsact && tc filter add dev one ingress pref 1 bpf da bytecode '1,6 0 0 0' && \
                  ip link add three type bridge && nsenter --version";
    let output = Command::new("unshare")
        .args(APART)
        .args(["sh", "-c", script])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// Becomes the campaign apart: this executable with the same arguments.
///
/// # Errors
/// When that cannot be had; otherwise it does not return.
pub fn go() -> anyhow::Result<Infallible> {
    let error = Command::new("unshare")
        .args(APART)
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "first")
        .env(NUMBER, std::process::id().to_string())
        .exec();
    Err(error).context("start unshare")
}

/// The first process of those apart: starts the campaign and takes the orphans, as the machine's first process would, until it ends.
///
/// # Errors
/// When the campaign cannot be started.
pub fn be_first() -> anyhow::Result<ExitCode> {
    super::namespaces::command("ip", &["link", "set", "lo", "up"])?;
    std::fs::create_dir_all("/run/netns")?;
    // Seen by nobody outside, and gone with this process.
    super::namespaces::command("mount", &["-t", "tmpfs", "none", "/run/netns"])?;
    let child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "campaign")
        .spawn()
        .context("start the campaign")?;
    let campaign = Pid::from_raw(child.id().cast_signed());
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == campaign => {
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
            Ok(WaitStatus::Signaled(pid, ..)) if pid == campaign => return Ok(ExitCode::FAILURE),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for the campaign"),
        }
    }
}

/// Removes what campaigns that were killed have left: the folders of processes that are no more.
pub fn sweep() {
    let folders = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok);
    for folder in folders {
        let name = folder.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        if let Some(owner) = owner
            && kill(Pid::from_raw(owner), None) == Err(Errno::ESRCH)
        {
            // Somebody else may be sweeping, too.
            let _gone = std::fs::remove_dir_all(folder.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_campaign_left_is_swept_and_nothing_else() {
        let mut dead = Command::new("true").spawn().unwrap();
        let left = tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", dead.id())).tempdir().unwrap();
        let own = tempfile::Builder::new().prefix(&folder_prefix()).tempdir().unwrap();
        assert!(dead.wait().unwrap().success());
        sweep();
        assert!(!left.path().exists());
        assert!(own.path().exists());
    }
}
