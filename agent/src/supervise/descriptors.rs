//! Open files that this process was started with. Owns that none of them reaches the command: it gets its three streams, and what else
//! the agent's caller had left open is not its business.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The last of the three streams.
const STDERR: i32 = 2;

/// Closes everything above the three streams for whatever this process executes. Call it before there are other threads.
///
/// # Errors
/// The open files cannot be listed, or one of them not be marked.
pub(super) fn keep_from_children() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if number > STDERR {
            mark(number)?;
        }
    }
    Ok(())
}

#[expect(unsafe_code, reason = "files that this process inherited have no owner in it to be borrowed from")]
fn mark(number: i32) -> io::Result<()> {
    // SAFETY: the number was just read from the list of open files, which is still being read and so is open itself; only this
    // thread runs, so nobody closes the file during the one call for which it is borrowed.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}
