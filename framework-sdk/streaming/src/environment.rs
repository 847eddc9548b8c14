//! The job in a task's environment: the variable `TEPUI_JOB` holds its TOML in base64, for driver and executors alike.

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tepui_sdk::v1;

use crate::job::Job;

/// Base64 of the job's TOML.
pub(crate) const JOB: &str = "TEPUI_JOB";

pub(crate) fn encode(job: &Job) -> String {
    STANDARD.encode(job.as_toml())
}

/// Reads the job that this process works for.
pub(crate) fn job() -> anyhow::Result<Job> {
    let text = std::env::var(JOB).with_context(|| format!("the variable {JOB} is not set"))?;
    decode(&text)
}

fn decode(text: &str) -> anyhow::Result<Job> {
    let bytes = STANDARD.decode(text).with_context(|| format!("the variable {JOB} is not base64"))?;
    let toml = String::from_utf8(bytes).with_context(|| format!("the variable {JOB} is not text"))?;
    Ok(Job::from_toml_str(&toml)?)
}

/// Returns the command that runs a hidden subcommand of the agent's own executable.
pub(crate) fn command<const N: usize>(subcommand: &str, variables: [(&str, String); N]) -> v1::CommandInfo {
    let variable = |(name, value): (&str, String)| v1::environment::Variable {
        name: Some(name.to_owned()),
        value: Some(value),
        ..v1::environment::Variable::default()
    };
    v1::CommandInfo {
        // The shell is there only to find the executable, which the agent names in TEPUI_BIN.
        shell: Some(true),
        value: Some(format!("exec \"$TEPUI_BIN\" {subcommand}")),
        environment: Some(v1::Environment { variables: variables.into_iter().map(variable).collect() }),
        ..v1::CommandInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_the_environment() {
        let text = "name = 'a'\n[source]\nkind = 'files'\npath = '/in'\ncolumns = [{ name = 'x' }]\n\
                    [sink]\nkind = 'files'\npath = '/out'\n[checkpoint]\npath = '/state'\n";
        let job = Job::from_toml_str(text).unwrap();
        assert_eq!(decode(&encode(&job)).unwrap().as_toml(), text);
        assert!(decode("%").unwrap_err().to_string().contains("TEPUI_JOB"));
        assert!(decode("eA==").is_err());
    }
}
