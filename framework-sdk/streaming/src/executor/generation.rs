//! The highest driver generation that this executor has worked for. It never goes back, not even when the process restarts in
//! its sandbox: a driver of a lower generation is a left-over.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::FileFault;

const FILE: &str = "stream-generation.json";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    generation: u64,
}

/// The highest generation seen.
#[derive(Debug)]
pub(crate) struct HighestGeneration {
    path: PathBuf,
    generation: u64,
}

impl HighestGeneration {
    /// Reads what the sandbox remembers; nothing yet is generation 0.
    pub(crate) fn load(sandbox: &Path) -> Result<Self, FileFault> {
        let path = sandbox.join(FILE);
        let generation = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(FileFault::io("read", &path)(error)),
            Ok(bytes) => {
                let content: Content =
                    serde_json::from_slice(&bytes).map_err(|e| FileFault::corrupt(&path, e.to_string()))?;
                if content.format != FORMAT {
                    let detail =
                        format!("it has format {}, this version knows format {FORMAT}", content.format);
                    return Err(FileFault::corrupt(&path, detail));
                }
                content.generation
            }
        };
        Ok(Self { path, generation })
    }

    pub(super) fn get(&self) -> u64 {
        self.generation
    }

    /// Remembers `generation`, durably, before anything is done for it. Returns false for a lower one.
    pub(super) fn raise(&mut self, generation: u64) -> Result<bool, FileFault> {
        if generation <= self.generation {
            return Ok(generation == self.generation);
        }
        let content = serde_json::to_vec(&Content { format: FORMAT, generation })
            .map_err(|e| FileFault::corrupt(&self.path, e.to_string()))?;
        let draft = self.path.with_extension("draft");
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&draft)?;
            file.write_all(&content)?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)
        };
        write().map_err(FileFault::io("write", &self.path))?;
        self.generation = generation;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let sandbox = tempfile::tempdir().unwrap();
        let mut highest = HighestGeneration::load(sandbox.path()).unwrap();
        assert_eq!(highest.get(), 0);
        assert!(highest.raise(3).unwrap());
        assert!(highest.raise(3).unwrap());
        assert!(!highest.raise(2).unwrap());
        let again = HighestGeneration::load(sandbox.path()).unwrap();
        assert_eq!(again.get(), 3);
        fs::write(sandbox.path().join(FILE), r#"{"format":4,"generation":9}"#).unwrap();
        assert!(HighestGeneration::load(sandbox.path()).unwrap_err().to_string().contains("format 4"));
    }
}
