//! The part of `tepui master`'s flags that is about who may use its API.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tepui_proto::basic::Credentials;
use tepui_scheduler::{Authentication, Config, RateLimits, parse_rate_limits};

/// Flags about the API.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "API")]
pub(crate) struct HttpArgs {
    /// Ask for credentials on endpoints that only read.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    authenticate_http_readonly: bool,
    /// Ask for credentials on endpoints that can change something, and on the operator API.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    authenticate_http_readwrite: bool,
    /// Ask frameworks for credentials.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    authenticate_http_frameworks: bool,
    /// File that names who may come in: JSON, or lines of a principal and its secret.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// How many calls the frameworks of a principal may send: Mesos' RateLimits as JSON, or the file with it; more get 429.
    #[arg(long, value_name = "JSON|FILE")]
    rate_limits: Option<String>,
    /// Show numbers for each framework in /metrics/snapshot.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    publish_per_framework_metrics: bool,
    /// Bytes that wait for one reader of a stream before it is disconnected [67108864].
    #[arg(long, value_name = "BYTES")]
    max_stream_bytes: Option<usize>,
    /// Subscribers of the operator event stream; when one more comes, the oldest goes [1000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_operator_event_stream_subscribers: Option<u32>,
}

impl HttpArgs {
    /// Takes the flags over into the configuration.
    ///
    /// # Errors
    /// When the credentials or the rate limits cannot be read.
    pub(crate) fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        let credentials = match &self.credentials {
            Some(path) => {
                // Mesos takes a URL here, too.
                // As text: a path would lose its root together with the scheme.
                let path = path
                    .to_str()
                    .and_then(|text| text.strip_prefix("file://"))
                    .map_or(path.as_path(), Path::new);
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("read the credentials {}", path.display()))?;
                Credentials::parse(&text)
                    .with_context(|| format!("understand the credentials {}", path.display()))?
            }
            None => Credentials::default(),
        };
        config.authentication = Authentication {
            readonly: self.authenticate_http_readonly,
            readwrite: self.authenticate_http_readwrite,
            frameworks: self.authenticate_http_frameworks,
            credentials,
        };
        if let Some(value) = &self.rate_limits {
            config.rate_limits = rate_limits(value)?;
        }
        config.per_framework_metrics = self.publish_per_framework_metrics;
        config.limits.stream_bytes = self.max_stream_bytes.unwrap_or(config.limits.stream_bytes);
        if let Some(subscribers) = self.max_operator_event_stream_subscribers {
            config.limits.operator_subscribers = usize::try_from(subscribers).unwrap_or(usize::MAX);
        }
        Ok(())
    }
}

/// Reads the flag's value: JSON, or as in Mesos the path of a file with it.
fn rate_limits(value: &str) -> anyhow::Result<RateLimits> {
    let text = match value.trim_start().starts_with('{') {
        true => value.to_owned(),
        false => {
            let path = value.strip_prefix("file://").unwrap_or(value);
            std::fs::read_to_string(path).with_context(|| format!("read the rate limits {path}"))?
        }
    };
    parse_rate_limits(&text).map_err(|error| anyhow::anyhow!("rate_limits cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_come_from_the_flag_or_from_a_file() {
        let text = r#"{"limits":[{"principal":"foo","qps":55.5,"capacity":100}]}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.json");
        std::fs::write(&path, text).unwrap();
        let direct = rate_limits(text).unwrap();
        assert!(direct.limits.contains_key("foo"));
        for value in [path.display().to_string(), format!("file://{}", path.display())] {
            assert_eq!(rate_limits(&value).unwrap(), direct);
        }
        let error = rate_limits(r#"{"limits":[{"principal":"foo","qps":0}]}"#).unwrap_err().to_string();
        assert_eq!(error, "rate_limits cannot be used: limits[0].qps must be a number above 0");
        assert!(
            rate_limits("/nowhere/limits.json").unwrap_err().to_string().contains("/nowhere/limits.json")
        );
    }
}
