//! A job in one process: the same engine over a register in memory and slots in the same process.
//!
//! For trying out a job description, and for crash tests: the engine stops or sleeps at named points, successors take over,
//! left-overs wake up late.

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod flights;
mod memory_register;
mod slots;

use std::path::PathBuf;

use crate::driver::{Engine, EngineError, NoProbe, Probe, Setup};
use crate::files::Disk;
use crate::job::Job;
use crate::register::Register;

pub use memory_register::MemoryRegister;
pub(crate) use slots::LocalSlots;

/// Runs a finite job to its end in this process, and returns the last register.
///
/// # Errors
/// Whatever stops the engine; a source that never ends is waited for.
pub async fn run(job: &Job) -> Result<Register, EngineError> {
    let register = MemoryRegister::default();
    let generation = register.next_generation();
    run_generation(job, &register, generation, NoProbe, Disk::DURABLE).await
}

/// Runs a job as one driver generation.
pub(crate) async fn run_generation<P: Probe + Clone>(
    job: &Job,
    register: &MemoryRegister,
    generation: u64,
    probe: P,
    disk: Disk,
) -> Result<Register, EngineError> {
    let mut engine = Engine::new(Setup {
        job: job.clone(),
        store: register.writer(generation),
        slots: LocalSlots::new(job, disk, probe.clone()),
        probe,
        disk,
        generation,
        address: None,
    });
    engine.claim().await?;
    engine.run().await?;
    Ok(engine.register().clone())
}

/// Returns the published files of a sink folder, by name.
///
/// # Errors
/// If the folder cannot be read.
pub fn published_files(sink: &std::path::Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for batch in std::fs::read_dir(sink)? {
        let batch = batch?;
        if !batch.file_name().to_string_lossy().starts_with("batch=") {
            continue;
        }
        for part in std::fs::read_dir(batch.path())? {
            files.push(part?.path());
        }
    }
    files.sort();
    Ok(files)
}
