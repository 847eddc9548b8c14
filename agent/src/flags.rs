//! The agent's flags as `/flags`, `/state` and GET_FLAGS show them: what it was told, under the names that Mesos' agents use for
//! the same. Owns that list; no secret is in it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Config;

/// Returns names and values; what was not given is left out.
pub(crate) fn flags(config: &Config, address: SocketAddr) -> Vec<(String, String)> {
    let timers = &config.timers;
    let always = [
        ("authenticate_http_executors", config.authenticate_http_executors.to_string()),
        ("gc_delay", seconds(timers.gc_delay)),
        ("ip", config.ip.to_string()),
        ("isolation", "posix/cpu,posix/mem".to_owned()),
        ("master", config.masters.join(",")),
        ("port", address.port().to_string()),
        ("registration_backoff_max", seconds(timers.reconnect_max)),
        ("kill_grace", seconds(timers.kill_grace)),
        ("update_retry_min", seconds(timers.update_retry_min)),
        ("update_retry_max", seconds(timers.update_retry_max)),
        ("work_dir", config.work_dir.display().to_string()),
    ];
    let given = [
        ("attributes", config.attributes.clone()),
        ("hostname", config.hostname.clone()),
        ("jwt_secret_key", config.jwt_secret_key.as_ref().map(|path| path.display().to_string())),
        ("log_file", config.log_file.as_ref().map(|path| path.display().to_string())),
        ("resources", config.resources.clone()),
    ];
    let always = always.into_iter().map(|(name, value)| (name.to_owned(), value));
    let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut all: Vec<(String, String)> = always.chain(given).collect();
    all.sort();
    all
}

/// As flags are written.
fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{}secs", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn flags_tell_what_was_given_but_no_secret() {
        let mut config = Config::new(vec!["a:1".to_owned(), "b:2".to_owned()], "/x");
        config.secret = Some(Secret::new("hush"));
        config.resources = Some("cpus:1".to_owned());
        config.jwt_secret_key = Some("/etc/key".into());
        config.timers.kill_grace = Duration::from_millis(1500);
        let flags = flags(&config, SocketAddr::from(([127, 0, 0, 1], 7)));
        let value =
            |name: &str| flags.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        assert_eq!(value("master"), Some("a:1,b:2"));
        assert_eq!(value("port"), Some("7"));
        assert_eq!(value("resources"), Some("cpus:1"));
        assert_eq!(value("kill_grace"), Some("1500ms"));
        assert_eq!(value("authenticate_http_executors"), Some("false"));
        assert_eq!(value("jwt_secret_key"), Some("/etc/key"));
        assert_eq!(value("attributes"), None);
        assert!(flags.iter().all(|(_, value)| !value.contains("hush")));
        assert!(flags.is_sorted());
    }
}
