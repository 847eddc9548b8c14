//! Flags of `tepui master` about agents that are given up and forgotten.

use std::str::FromStr;
use std::time::Duration;

use tepui_scheduler::Config;

use crate::args::parse_duration;

/// At most so many in this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RateLimit {
    count: u32,
    duration: Duration,
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not of the form N/DURATION, such as 1/10mins");
        let (count, duration) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let duration = parse_duration(duration.trim())?;
        if count == 0 || duration.is_zero() {
            return Err(wrong());
        }
        Ok(RateLimit { count, duration })
    }
}

/// Reads `80%`.
fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    number.filter(|number| *number <= 100).ok_or_else(|| format!("{text:?} is not a percentage up to 100%"))
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Agents given up and forgotten")]
pub(super) struct RemovalArgs {
    /// Give up no more than so many silent agents in this time, such as 1/10mins [no limit].
    #[arg(long, value_name = "N/DURATION")]
    agent_removal_rate_limit: Option<RateLimit>,
    /// After a change of leader, give none up while more than this part of all agents is missing [100%].
    #[arg(long, value_parser = percent, value_name = "PERCENT")]
    recovery_agent_removal_limit: Option<u32>,
    /// Between two looks for unreachable and gone agents to be forgotten [15mins].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    registry_gc_interval: Option<Duration>,
    /// Forget agents that have been unreachable or gone for longer than this [2weeks].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    registry_max_agent_age: Option<Duration>,
    /// Forget the oldest unreachable agents, and gone ones, beyond this number [102400].
    #[arg(long, value_name = "N")]
    registry_max_agent_count: Option<usize>,
}

impl RemovalArgs {
    pub(super) fn apply(&self, config: &mut Config) {
        let (timers, limits) = (&mut config.timers, &mut config.limits);
        if let Some(limit) = self.agent_removal_rate_limit {
            timers.agent_removal_interval = limit.duration / limit.count;
        }
        let set = |to: &mut Duration, from: Option<Duration>| *to = from.unwrap_or(*to);
        set(&mut timers.registry_gc_interval, self.registry_gc_interval);
        set(&mut timers.registry_max_agent_age, self.registry_max_agent_age);
        if let Some(count) = self.registry_max_agent_count {
            limits.registry_max_agent_count = count;
        }
        if let Some(percent) = self.recovery_agent_removal_limit {
            limits.recovery_agent_removal_percent = percent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_mesos_writes_them() {
        let limit = |text: &str| RateLimit::from_str(text).ok().map(|limit| limit.duration / limit.count);
        assert_eq!(limit("1/10mins"), Some(Duration::from_secs(600)));
        assert_eq!(limit("4/2secs"), Some(Duration::from_millis(500)));
        for bad in ["", "1", "0/1secs", "1/0secs", "x/1secs", "1/never"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
        assert_eq!((percent("80%"), percent("0"), percent("100%")), (Ok(80), Ok(0), Ok(100)));
        assert!(percent("101%").is_err() && percent("most").is_err());
    }
}
