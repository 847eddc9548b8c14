//! From a checked job to what the masters supervise.

use tepui_sdk::tepui::operator::{DriverSpec, Supervise, supervise};

use crate::driver::scalars;
use crate::environment;
use crate::job::Job;

/// What a driver takes: it computes little, and holds the open windows.
const DRIVER_CPUS: f64 = 0.5;
const DRIVER_MEM_MIB: u64 = 128;
const LEASE_MS: u64 = 10_000;
const BACKOFF_INITIAL_MS: u64 = 200;
const BACKOFF_MAX_MS: u64 = 10_000;

/// A job that cannot run on agents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: has to be absolute, because driver and executors run elsewhere ({path})")]
pub struct RelativePath {
    pub key: &'static str,
    pub path: String,
}

/// Describes the driver of `job` for `SUBMIT_DRIVER`. The same job always gives the same specification, so that submitting it
/// again changes nothing.
///
/// # Errors
/// If a folder's path is relative: see [`Job::with_base`].
pub fn driver_spec(job: &Job) -> Result<DriverSpec, RelativePath> {
    if let Some((key, path)) = job.relative_path() {
        return Err(RelativePath { key, path: path.display().to_string() });
    }
    Ok(DriverSpec {
        name: Some(job.name.clone()),
        role: Some(job.role.clone()),
        command: Some(environment::command("stream-driver", [(environment::JOB, environment::encode(job))])),
        resources: scalars(DRIVER_CPUS, DRIVER_MEM_MIB),
        supervise: Some(Supervise {
            policy: Some(supervise::Policy::OnFailure as i32),
            backoff_initial_ms: Some(BACKOFF_INITIAL_MS),
            backoff_max_ms: Some(BACKOFF_MAX_MS),
            ..Supervise::default()
        }),
        lease_ms: Some(LEASE_MS),
        ..DriverSpec::default()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_absolute_paths_are_submitted() {
        let text = "name = 'a'\n[source]\nkind = 'files'\npath = 'in'\ncolumns = [{ name = 'x' }]\n\
                    [sink]\nkind = 'files'\npath = '/out'\n[checkpoint]\npath = 'state'\n";
        let job = Job::from_toml_str(text).unwrap();
        assert!(driver_spec(&job).unwrap_err().to_string().starts_with("source.path: "));
        let job = job.with_base(Path::new("/base")).unwrap();
        assert_eq!(job.source.path, Path::new("/base/in"));
        assert_eq!(job.sink.path, Path::new("/out"));
        let spec = driver_spec(&job).unwrap();
        assert_eq!((spec.name.as_deref(), spec.resources.len()), (Some("a"), 2));
        assert_eq!(driver_spec(&job).unwrap(), spec);
    }
}
