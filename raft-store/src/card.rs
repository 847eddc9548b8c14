//! What a folder says about itself, beside the log: which folder it is, and whose.
//!
//! Owns one small file that is written when the folder is first used and never changed but to add the number. It is what tells a
//! folder that lost its log, or was emptied, from the one that the cluster knows. Refuses a folder whose log is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::config::NodeId;
use crate::error::OpenError;
use crate::seat::Incarnation;

const FILE: &str = "incarnation";
const PLACE: u64 = 0x696e_6361_726e;
/// What the files of the log begin with.
const LOG: &str = "log";

/// See the module head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) incarnation: Incarnation,
    /// Absent while a number is being asked for.
    pub(crate) node_id: Option<NodeId>,
}

impl Card {
    /// The card in this folder, if there is one.
    pub(crate) fn read(dir: &Path) -> Result<Option<Card>, OpenError> {
        let file = dir.join(FILE);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { what: file.display().to_string(), source }),
        };
        let card = codec::unseal(PLACE, &bytes).and_then(codec::from_bytes);
        card.map(Some).map_err(|e| OpenError::Damaged { file, reason: e.to_string() })
    }

    /// The card of a folder that asks for a number: the same one each time, so that asking again gives the same number.
    pub(crate) fn draft(dir: &Path) -> Result<Card, OpenError> {
        make_folder(dir)?;
        if let Some(card) = Card::read(dir)? {
            return Ok(card);
        }
        let card = Card { incarnation: Incarnation::draw(), node_id: None };
        card.write(dir)?;
        Ok(card)
    }

    /// Before the log is opened: the folder must be this replica's, and must not have lost its log.
    pub(crate) fn check(dir: &Path, node_id: NodeId) -> Result<(), OpenError> {
        let Some(Card { node_id: Some(owner), .. }) = Card::read(dir)? else { return Ok(()) };
        let file = dir.join(FILE);
        if owner != node_id {
            let reason = format!("it belongs to replica {owner}, not to {node_id}");
            return Err(OpenError::Foreign { file, reason });
        }
        let io_error = |source| OpenError::Io { what: dir.display().to_string(), source };
        for entry in fs::read_dir(dir).map_err(io_error)? {
            if entry.map_err(io_error)?.file_name().to_string_lossy().starts_with(LOG) {
                return Ok(());
            }
        }
        let reason = format!("the log of replica {node_id} is missing, although this folder was in use");
        Err(OpenError::Damaged { file: dir.to_owned(), reason })
    }

    /// After the log was opened or made: the folder is this replica's from now on. Folders of earlier versions get a card now.
    pub(crate) fn complete(dir: &Path, node_id: NodeId) -> Result<Incarnation, OpenError> {
        let found = Card::read(dir)?;
        let incarnation = found.map_or_else(Incarnation::draw, |card| card.incarnation);
        let card = Card { incarnation, node_id: Some(node_id) };
        if found != Some(card) {
            card.write(dir)?;
        }
        Ok(incarnation)
    }

    /// Durable when it returns; never half a file.
    fn write(&self, dir: &Path) -> Result<(), OpenError> {
        let (path, draft) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
        let bytes = codec::seal(PLACE, &codec::to_bytes(self));
        let written = (|| {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(dir)?.sync_all()
        })();
        written.map_err(|source| OpenError::Io { what: path.display().to_string(), source })
    }
}

/// The log holds what clients submitted, secrets of theirs included: nobody else reads it.
pub(crate) fn make_folder(dir: &Path) -> Result<(), OpenError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| OpenError::Io { what: dir.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_again_is_asking_for_the_same_folder() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("raft");
        let card = Card::draft(&dir).unwrap();
        assert_eq!((Card::draft(&dir).unwrap(), card.node_id), (card, None));
        Card::check(&dir, 4).unwrap();
        assert_eq!(Card::complete(&dir, 4).unwrap(), card.incarnation);
        assert_eq!(Card::draft(&dir).unwrap(), Card { node_id: Some(4), ..card });
    }

    #[test]
    fn a_folder_that_lost_its_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        Card::complete(dir, 2).unwrap();
        assert!(matches!(Card::check(dir, 2), Err(OpenError::Damaged { .. })));
        fs::write(dir.join("log.redb"), "x").unwrap();
        Card::check(dir, 2).unwrap();
        assert!(matches!(Card::check(dir, 3), Err(OpenError::Foreign { .. })));
    }

    #[test]
    fn damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        Card::complete(dir, 2).unwrap();
        let good = fs::read(dir.join(FILE)).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            fs::write(dir.join(FILE), bad).unwrap();
            assert!(Card::read(dir).is_err(), "byte {byte}");
        }
    }
}
