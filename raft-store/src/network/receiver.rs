//! Snapshots on their way in: pieces are appended to one file until it is whole, and a transfer that broke off goes on where it ended.
//!
//! Owns that one file, which is bounded, and what is known of it. Hands out only a file that was verified. Installs nothing.

use std::fs::{File, remove_file};
use std::io::Write;
use std::path::PathBuf;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::StatusCode;
use futures::StreamExt;
use tokio::sync::Mutex;

use super::MAX_SNAPSHOT;
use super::server::{Failure, bad_request, on_disk, unavailable};
use super::wire::{Label, Message, SnapshotHead};
use crate::config::NodeId;
use crate::snapshot::{SnapshotFile, Snapshots};
use crate::types::Vote;

/// Synced whenever so many bytes came: one sync of everything would hold up those of the log.
const PORTION: u64 = 4 << 20;

/// See the module head.
pub(super) struct Receiver {
    snapshots: Snapshots,
    /// Held while one is received.
    partial: Mutex<Option<Partial>>,
}

/// What there is of a snapshot so far.
struct Partial {
    label: Label,
    path: PathBuf,
    held: u64,
}

impl Receiver {
    pub(super) fn new(snapshots: Snapshots) -> Receiver {
        Receiver { snapshots, partial: Mutex::new(None) }
    }

    /// How many bytes of this snapshot are here.
    pub(super) fn held(&self, label: &Label) -> u64 {
        let Ok(partial) = self.partial.try_lock() else { return 0 };
        partial.as_ref().filter(|partial| partial.label == *label).map_or(0, |partial| partial.held)
    }

    /// Takes what a replica sends. The file keeps its temporary name.
    pub(super) async fn receive(&self, from: NodeId, body: Body) -> Result<(Vote, SnapshotFile), Failure> {
        let Ok(mut partial) = self.partial.try_lock() else {
            return Err(unavailable("another snapshot is being received"));
        };
        let mut chunks = body.into_data_stream();
        let (head, first) = read_head(&mut chunks).await?;
        if head.vote.node != from {
            return Err(bad_request("vote of another replica"));
        }
        if head.label.length > MAX_SNAPSHOT {
            let text = format!("snapshot larger than {MAX_SNAPSHOT} bytes");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        let fits = |p: &Partial| p.label == head.label && p.held == head.offset;
        if head.offset == 0 {
            if let Some(old) = partial.take() {
                // It is removed at the next start at the latest.
                drop(on_disk(move || remove_file(old.path)).await);
            }
            *partial = Some(Partial { label: head.label, path: self.snapshots.temporary(), held: 0 });
        } else if !partial.as_ref().is_some_and(fits) {
            return Err(Failure::new(
                StatusCode::CONFLICT,
                format!("byte {} is not the next one", head.offset),
            ));
        }
        let Some(current) = partial.as_mut() else { return Err(unavailable("no file")) };
        take(current, first, chunks).await?;
        if current.held < head.label.length {
            return Err(bad_request(format!(
                "it ends after {} of {} bytes",
                current.held, head.label.length
            )));
        }
        let Some(Partial { path, .. }) = partial.take() else { return Err(unavailable("no file")) };
        let (snapshots, whole) = (self.snapshots.clone(), path.clone());
        let checked = on_disk(move || {
            let checked = snapshots.check(&whole);
            if checked.is_err() {
                // What is wrong with it is wrong for good: the next attempt begins anew.
                drop(remove_file(&whole));
            }
            Ok(checked)
        });
        Ok((head.vote.into(), checked.await?.map_err(bad_request)?))
    }
}

async fn read_head(chunks: &mut BodyDataStream) -> Result<(SnapshotHead, Bytes), Failure> {
    let mut head = Vec::with_capacity(SnapshotHead::SIZE);
    while let Some(chunk) = chunks.next().await {
        let mut chunk = chunk.map_err(bad_request)?;
        let missing = (SnapshotHead::SIZE - head.len()).min(chunk.len());
        head.extend_from_slice(&chunk.split_to(missing));
        if head.len() == SnapshotHead::SIZE {
            return Ok((SnapshotHead::decode(&head).map_err(bad_request)?, chunk));
        }
    }
    Err(bad_request("it ends within its head"))
}

/// Appends everything that comes. After an error, what was appended before stays.
async fn take(partial: &mut Partial, first: Bytes, chunks: BodyDataStream) -> Result<(), Failure> {
    let path = partial.path.clone();
    let mut file = on_disk(move || File::options().append(true).create(true).open(path)).await?;
    let mut unsynced = 0;
    let mut chunks = futures::stream::iter([Ok(first)]).chain(chunks);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(bad_request)?;
        let length = chunk.len() as u64;
        if partial.held + length > partial.label.length {
            return Err(bad_request("it is longer than it should be"));
        }
        unsynced += length;
        let sync = unsynced >= PORTION;
        file = on_disk(move || {
            file.write_all(&chunk)?;
            if sync {
                file.sync_data()?;
            }
            Ok(file)
        })
        .await?;
        partial.held += length;
        if sync {
            unsynced = 0;
        }
    }
    on_disk(move || file.sync_all()).await
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::codec::{LogIdRecord, StoredMembershipRecord, VoteRecord};
    use crate::snapshot::Header;
    use crate::types::StoredMembership;

    const VOTE: VoteRecord = VoteRecord { term: 3, node: 2, committed: true };

    /// A snapshot of another replica, and its bytes.
    fn snapshot(dir: &std::path::Path) -> (Label, Vec<u8>) {
        let theirs = Snapshots::open(&dir.join("theirs")).unwrap();
        let header = Header {
            cluster_id: "c".to_owned(),
            last: Some(LogIdRecord { term: 3, node: 2, index: 9 }),
            membership: StoredMembershipRecord::from(&StoredMembership::default()),
        };
        let body = Box::new(|out: &mut dyn Write| out.write_all(&[7; 300_000]));
        let file = theirs.write(&header, body).unwrap();
        (Label::of(&file).unwrap(), std::fs::read(&file.path).unwrap())
    }

    fn body(label: Label, offset: u64, pieces: Vec<io::Result<Bytes>>) -> Body {
        let head = SnapshotHead { vote: VOTE, label, offset }.encode();
        Body::from_stream(futures::stream::iter([Ok(head.into())]).chain(futures::stream::iter(pieces)))
    }

    #[tokio::test]
    async fn a_broken_transfer_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (label, bytes) = snapshot(dir.path());
        let receiver = Receiver::new(Snapshots::open(&dir.path().join("ours")).unwrap());
        let piece = |range: std::ops::Range<usize>| Ok(Bytes::copy_from_slice(&bytes[range]));
        let broken = vec![piece(0..100_000), piece(100_000..120_000), Err(io::Error::other("cut"))];
        assert!(receiver.receive(2, body(label, 0, broken)).await.is_err());
        assert_eq!(receiver.held(&label), 120_000);
        assert_eq!(receiver.held(&Label { seal: label.seal ^ 1, ..label }), 0, "another one");

        // Neither a gap nor an overlap is taken.
        for wrong in [119_999, 120_001] {
            let refused = receiver.receive(2, body(label, wrong, vec![])).await;
            assert!(matches!(refused, Err(Failure { status: StatusCode::CONFLICT, .. })), "{wrong}");
        }
        let rest = vec![piece(120_000..bytes.len())];
        let Ok((_, file)) = receiver.receive(2, body(label, 120_000, rest)).await else { panic!("refused") };
        assert_eq!(Label::of(&file).unwrap(), label);
        assert_eq!(receiver.held(&label), 0, "it is whole");
    }

    #[tokio::test]
    async fn what_is_damaged_on_the_way_or_too_long_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (label, bytes) = snapshot(dir.path());
        let ours = dir.path().join("ours");
        let receiver = Receiver::new(Snapshots::open(&ours).unwrap());
        let mut bad = bytes.clone();
        bad[200_000] ^= 1;
        assert!(receiver.receive(2, body(label, 0, vec![Ok(bad.into())])).await.is_err());
        assert_eq!(receiver.held(&label), 0);
        assert_eq!(std::fs::read_dir(&ours).unwrap().count(), 0);
        let long = vec![Ok(bytes.clone().into()), Ok(Bytes::from_static(b"x"))];
        assert!(receiver.receive(2, body(label, 0, long)).await.is_err());
        assert!(
            receiver.receive(1, body(label, 0, vec![Ok(bytes.clone().into())])).await.is_err(),
            "foreign vote"
        );
        assert!(receiver.receive(2, body(label, 0, vec![Ok(bytes.into())])).await.is_ok());
    }
}
