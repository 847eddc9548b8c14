//! Names of files below the checkpoint and staging folders: `b<batch>-g<generation>-<what>`. Unique, and sortable by batch,
//! so that what nobody refers to can be recognised as left over.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::files::{FileFault, remove_if_present};

/// Left-overs that one sweep removes at most.
const MAX_REMOVED: usize = 1000;

/// Returns a name that was never used; `what` says what the file is.
pub(crate) fn unique(batch: u64, generation: u64, what: &str) -> String {
    format!("b{batch:010}-g{generation:06}-{what}-{}", uuid::Uuid::new_v4().simple())
}

/// Removes the files of `folder` that belong to `batch` or an older one and are not in `keep`. Returns how many.
pub(crate) fn sweep(folder: &Path, batch: u64, keep: &BTreeSet<String>) -> Result<usize, FileFault> {
    let mut removed = 0;
    for item in fs::read_dir(folder).map_err(FileFault::io("read folder", folder))? {
        let item = item.map_err(FileFault::io("read folder", folder))?;
        let Ok(name) = item.file_name().into_string() else { continue };
        if batch_of(&name).is_some_and(|b| b <= batch) && !keep.contains(&name) {
            remove_if_present(&item.path())?;
            removed += 1;
            if removed == MAX_REMOVED {
                break;
            }
        }
    }
    Ok(removed)
}

fn batch_of(name: &str) -> Option<u64> {
    let (batch, rest) = name.strip_prefix('b')?.split_once("-g")?;
    rest.contains('-').then(|| batch.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_that_nobody_refers_to_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let kept = unique(3, 1, "delta");
        let names = [unique(2, 1, "delta"), kept.clone(), unique(4, 1, "base"), "other".into(), "b1".into()];
        for name in &names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(sweep(folder.path(), 3, &BTreeSet::from([kept])).unwrap(), 1);
        let left: Vec<bool> = names.iter().map(|n| folder.path().join(n).exists()).collect();
        assert_eq!(left, [false, true, true, true, true]);
    }
}
