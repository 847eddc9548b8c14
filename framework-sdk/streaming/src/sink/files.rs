//! The exactly-once file sink.
//!
//! ```text
//! <sink>/.staging/b<batch>-g<generation>-<what>-<uuid>   written by anyone, seen by nobody
//! <sink>/batch=<batch>/part-<n>.<ext>                     made from it after the commit that names it
//! ```
//!
//! Publishing links the staged file to its published name, which fails if that exists, and then drops the staged name. So it
//! can be repeated by a recovering driver or by a stale one: only one attempt's files are ever named by a committed register,
//! and a published file is never replaced. Readers look at `batch=*/part-*`. Files of the newest batch must stay where they
//! are; a driver that recovers expects them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{Disk, FileFault, FileRef, is_plain_name, read_verified};
use crate::job::{Job, SinkFormat};
use crate::names;
use crate::register::OutputFile;
use crate::sink::encode_rows;
use crate::value::{Column, Value};

const STAGING: &str = ".staging";

/// Writes and publishes the output files of one job.
#[derive(Clone, Debug)]
pub struct FileSink {
    root: PathBuf,
    staging: PathBuf,
    format: SinkFormat,
    columns: Vec<Column>,
    disk: Disk,
}

impl FileSink {
    pub fn new(job: &Job, disk: Disk) -> Self {
        let root = job.sink.path.clone();
        let staging = root.join(STAGING);
        Self { root, staging, format: job.sink.format, columns: job.output_columns(), disk }
    }

    /// Makes the folders.
    pub fn prepare(&self) -> Result<(), FileFault> {
        self.disk.make_folder(&self.root)?;
        self.disk.make_folder(&self.staging)
    }

    /// Writes the rows of part `part` of a batch under a staged name; `None` if there are none.
    pub(crate) fn stage(
        &self,
        batch: u64,
        generation: u64,
        part: u32,
        rows: &[Vec<Value>],
    ) -> Result<Option<OutputFile>, FileFault> {
        if rows.is_empty() {
            return Ok(None);
        }
        let content = encode_rows(self.format, &self.columns, rows);
        let name = names::unique(batch, generation, &format!("part{part:05}"));
        let FileRef { name, bytes, sha256 } = self.disk.write_new(&self.staging, &name, &content)?;
        let published = format!("batch={batch:010}/part-{part:05}.{}", self.format.extension());
        Ok(Some(OutputFile { staged: name, published, rows: rows.len() as u64, bytes, sha256 }))
    }

    /// Publishes one file of a committed batch; doing it again changes nothing.
    ///
    /// # Errors
    /// If the file is neither staged nor published, or something else stands under its name.
    pub(crate) fn publish(&self, file: &OutputFile) -> Result<(), FileFault> {
        let staged = self.staging.join(&file.staged);
        let target = self.root.join(&file.published);
        let plain = file.published.split('/').all(is_plain_name) && is_plain_name(&file.staged);
        let Some(folder) = target.parent().filter(|_| plain) else {
            return Err(FileFault::corrupt(&target, "the register names a file outside of the sink"));
        };
        self.disk.make_folder(folder)?;
        if self.disk.replaces() {
            return fs::rename(&staged, &target)
                .or_else(|_| target.metadata().map(drop))
                .map_err(FileFault::io("publish", &target));
        }
        match fs::hard_link(&staged, &target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.verify(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && target.exists() => self.verify(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.staging.is_dir() => {
                return Err(FileFault::Lost { path: target, root: self.root.clone() });
            }
            Err(error) => return Err(FileFault::io("publish", &target)(error)),
        }
        self.disk.sync_folder(folder)?;
        crate::files::remove_if_present(&staged)
    }

    fn verify(&self, file: &OutputFile) -> Result<(), FileFault> {
        let reference =
            FileRef { name: file.published.clone(), bytes: file.bytes, sha256: file.sha256.clone() };
        read_verified(&self.root, &reference).map(drop)
    }

    pub(crate) fn staging(&self) -> &Path {
        &self.staging
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(folder: &Path) -> FileSink {
        let text = format!(
            "name = 'a'\n[source]\nkind = 'files'\npath = '/in'\ncolumns = [{{ name = 'x' }}]\n\
             [sink]\nkind = 'files'\npath = '{}'\n[checkpoint]\npath = '/state'\n",
            folder.display()
        );
        let sink = FileSink::new(&Job::from_toml_str(&text).unwrap(), Disk::DURABLE);
        sink.prepare().unwrap();
        sink
    }

    fn rows(text: &str) -> Vec<Vec<Value>> {
        vec![vec![Value::Text(text.into())]]
    }

    #[test]
    fn publishing_twice_is_publishing_once() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path());
        assert_eq!(sink.stage(1, 1, 0, &[]).unwrap(), None);
        let file = sink.stage(1, 1, 0, &rows("a")).unwrap().unwrap();
        assert!(!folder.path().join(&file.published).exists());
        for _ in 0..2 {
            sink.publish(&file).unwrap();
            assert_eq!(fs::read(folder.path().join(&file.published)).unwrap(), b"x\na\n");
            assert_eq!(fs::read_dir(sink.staging()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_published_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path());
        sink.publish(&sink.stage(1, 1, 0, &rows("a")).unwrap().unwrap()).unwrap();
        let other = sink.stage(1, 2, 0, &rows("b")).unwrap().unwrap();
        assert!(matches!(sink.publish(&other), Err(FileFault::Corrupt { .. })));
        assert_eq!(fs::read(folder.path().join(&other.published)).unwrap(), b"x\na\n");
    }

    #[test]
    fn lost_or_foreign_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path());
        let mut file = sink.stage(1, 1, 0, &rows("a")).unwrap().unwrap();
        fs::remove_file(sink.staging().join(&file.staged)).unwrap();
        assert!(matches!(sink.publish(&file), Err(FileFault::Lost { .. })));
        // Somebody emptied the output folder, and the job is submitted again.
        fs::remove_dir_all(folder.path()).unwrap();
        sink.prepare().unwrap();
        let lost = sink.publish(&file).unwrap_err().to_string();
        assert!(lost.contains(folder.path().to_str().unwrap()) && lost.contains("another `name`"), "{lost}");
        file.published = "../part".into();
        assert!(sink.publish(&file).unwrap_err().to_string().contains("outside"));
    }
}
