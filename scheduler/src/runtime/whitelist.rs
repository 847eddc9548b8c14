//! The file that lists hosts whose agents may be offered: one name a line, read again every second.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::runtime::handle::Handle;

/// Between two looks at the file: an operator who waits for the effect of a change should not wait long.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reads the list; empty lines do not count.
///
/// # Errors
/// When the file cannot be read as text.
pub(crate) fn read(path: &Path) -> io::Result<BTreeSet<String>> {
    Ok(parse(&std::fs::read_to_string(plain(path))?))
}

/// As Mesos, takes `file:///hosts` for `/hosts`.
fn plain(path: &Path) -> &Path {
    path.to_str().and_then(|text| text.strip_prefix("file://")).map_or(path, Path::new)
}

fn parse(text: &str) -> BTreeSet<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Tells the event loop what changed in the file, until it is stopped. A file that cannot be read changes nothing.
pub(crate) async fn watch(
    path: PathBuf,
    mut known: BTreeSet<String>,
    handle: Handle,
    stop: CancellationToken,
) {
    let mut unreadable = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        match tokio::fs::read_to_string(plain(&path)).await {
            Err(error) => {
                if !unreadable {
                    tracing::warn!(path = %path.display(), %error, "failed to read the whitelist");
                }
                unreadable = true;
            }
            Ok(text) => {
                unreadable = false;
                let hosts = parse(&text);
                if hosts != known {
                    tracing::info!(hosts = hosts.len(), "the whitelist changed");
                    known.clone_from(&hosts);
                    if handle.whitelist(Some(hosts)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_a_line() {
        assert_eq!(parse(" a \n\nb\r\n"), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(parse("").is_empty());
    }

    #[test]
    fn a_path_may_be_written_as_a_locator() {
        assert_eq!(plain(Path::new("file:///etc/hosts.list")), Path::new("/etc/hosts.list"));
        assert_eq!(plain(Path::new("/etc/file://")), Path::new("/etc/file://"));
    }
}
