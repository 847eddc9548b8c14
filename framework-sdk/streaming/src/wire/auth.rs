//! How a driver and an executor of one job recognise each other: both can read the job's key on the checkpoint folder.
//!
//! The key is made once per job, readable by its owner alone, and never leaves the folder: it stands neither in the register
//! nor in a task's environment, which dashboards show.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::files::{FileFault, hex};

const FILE: &str = "stream.key";
const KEY_BYTES: usize = 32;
const BLOCK: usize = 64;

/// The key of one job.
#[derive(Clone)]
pub(crate) struct JobKey(Vec<u8>);

impl JobKey {
    /// Reads the key, or makes it if this is the job's first driver.
    pub(crate) fn load_or_create(checkpoint: &Path) -> Result<Self, FileFault> {
        fs::create_dir_all(checkpoint).map_err(FileFault::io("create folder", checkpoint))?;
        let path = checkpoint.join(FILE);
        if !path.exists() {
            let fresh: [u8; KEY_BYTES] = rand::random();
            let draft = checkpoint.join(format!(".{FILE}-{}", uuid::Uuid::new_v4().simple()));
            let write = || -> io::Result<()> {
                let mut file =
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
                file.write_all(format!("1 {}\n", hex(&fresh)).as_bytes())?;
                file.sync_all()?;
                match fs::hard_link(&draft, &path) {
                    // Another driver was faster: its key is the job's.
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => fs::remove_file(&draft),
                }
            };
            write().map_err(FileFault::io("write", &path))?;
        }
        Self::load(checkpoint)
    }

    /// Reads the key.
    pub(crate) fn load(checkpoint: &Path) -> Result<Self, FileFault> {
        let path = checkpoint.join(FILE);
        let text = fs::read_to_string(&path).map_err(FileFault::io("read", &path))?;
        let Some((format, key)) = text.trim_end().split_once(' ') else {
            return Err(FileFault::corrupt(&path, "it is no key"));
        };
        if format != "1" {
            return Err(FileFault::corrupt(
                &path,
                format!("it has format {format}, this version knows format 1"),
            ));
        }
        if key.len() != 2 * KEY_BYTES {
            return Err(FileFault::corrupt(&path, "the key has another length"));
        }
        Ok(Self(key.as_bytes().to_vec()))
    }

    /// Returns a message authentication code (HMAC-SHA-256) over `parts`, in hexadecimal.
    pub(crate) fn mac(&self, parts: &[&str]) -> String {
        let mut block = [0u8; BLOCK];
        block.copy_from_slice(&self.0[..BLOCK]);
        let mut inner = Sha256::new_with_prefix(block.map(|b| b ^ 0x36));
        for part in parts {
            // Lengths keep two lists of parts apart that run into the same text.
            inner.update((part.len() as u64).to_be_bytes());
            inner.update(part.as_bytes());
        }
        let mut outer = Sha256::new_with_prefix(block.map(|b| b ^ 0x5c));
        outer.update(inner.finalize());
        hex(&outer.finalize())
    }

    /// Returns whether `mac` is that of `parts`, in a time that does not depend on where it differs.
    pub(crate) fn verify(&self, parts: &[&str], mac: &str) -> bool {
        let expected = self.mac(parts);
        let same = expected.bytes().zip(mac.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
        same && expected.len() == mac.len()
    }
}

/// Returns a number that was never used.
pub(crate) fn nonce() -> String {
    hex(&rand::random::<[u8; 16]>())
}

/// What the driver's code is computed over.
pub(crate) fn welcome_parts<'a>(
    job: &'a str,
    generation: &'a str,
    theirs: &'a str,
    mine: &'a str,
) -> [&'a str; 5] {
    ["driver", job, generation, theirs, mine]
}

/// What the executor's code is computed over.
pub(crate) fn proof_parts<'a>(
    job: &'a str,
    executor: &'a str,
    theirs: &'a str,
    mine: &'a str,
) -> [&'a str; 5] {
    ["executor", job, executor, theirs, mine]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_key_per_job_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        assert!(JobKey::load(folder.path()).is_err());
        let first = JobKey::load_or_create(folder.path()).unwrap();
        let second = JobKey::load_or_create(folder.path()).unwrap();
        let mac = first.mac(&["a", "b"]);
        assert!(second.verify(&["a", "b"], &mac));
        for (parts, mac) in
            [(["ab", ""], mac.as_str()), (["a", "c"], &mac), (["a", "b"], ""), (["a", "b"], &mac[1..])]
        {
            assert!(!second.verify(&parts, mac));
        }
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for content in ["", "2 abc", "1 abc"] {
            fs::write(&path, content).unwrap();
            assert!(JobKey::load(folder.path()).is_err(), "{content:?}");
        }
    }
}
