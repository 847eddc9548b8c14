//! What Mesos' processes have beside their own endpoints, on masters and agents alike: pages of help, how much is logged for a
//! while, and the host's numbers under their older names.
//!
//! Pure text in, plain data out. Each server has its own table of pages and its own log.

use std::time::Duration;

use crate::duration;

/// The name of a process in Mesos, an endpoint of it, and what that is for.
pub type Page = (&'static str, &'static str, &'static str);

/// The path of a page, with its process.
pub fn url((process, name, _): &Page) -> String {
    if name.is_empty() { format!("/{process}") } else { format!("/{process}/{name}") }
}

/// The text below `/help`: all pages, those of a process, or one. `own` is the process whose name may stand in front of any path.
///
/// # Errors
/// The name of what there is no help for.
pub fn help(pages: &[Page], own: &str, path: &str) -> Result<String, String> {
    let path = path.replace("%28", "(").replace("%29", ")");
    let path = path.trim_matches('/');
    let path = path.strip_prefix(own).map_or(path, |rest| rest.trim_start_matches('/'));
    // `stats.json` has its suffix in its name.
    let bare = |path: &str| path.trim_matches('/').trim_end_matches(".json").to_owned();
    let wanted = bare(path.strip_prefix("help").unwrap_or_default());
    let chosen = |page: &&Page| wanted.is_empty() || wanted == page.0 || wanted == bare(&url(page));
    let lines: Vec<String> =
        pages.iter().filter(chosen).map(|page| format!("{}\n    {}\n", url(page), page.2)).collect();
    if lines.is_empty() { Err(wanted) } else { Ok(lines.concat()) }
}

/// Reads the query of `/logging/toggle`: nothing, or a level and for how long.
///
/// # Errors
/// A text that names the parameter which is missing or wrong.
pub fn toggle(level: Option<&str>, duration: Option<&str>) -> Result<Option<(u32, Duration)>, String> {
    let (level, duration) = match (level, duration) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err("expecting 'level=value' in the query".to_owned()),
        (Some(_), None) => return Err("expecting 'duration=value' in the query".to_owned()),
        (Some(level), Some(duration)) => (level, duration),
    };
    let level =
        level.parse().map_err(|_| format!("'level' must be a whole number from 0 on, not '{level}'"))?;
    let duration =
        duration::parse(duration).map_err(|error| format!("failed to parse 'duration': {error}"))?;
    Ok(Some((level, duration)))
}

/// The name of a host's number at `/system/stats.json`, where the metrics have `system/…`.
pub fn system_name(metric: &str) -> String {
    match metric.trim_start_matches("system/") {
        load if load.starts_with("load_") => format!("avg_{load}"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: &[Page] = &[
        ("master", "api/v1", "calls"),
        ("registrar(1)", "registry", "what is kept"),
        ("system", "stats.json", "the host"),
        ("version", "", "versions"),
    ];

    #[test]
    fn pages_are_found_by_process_and_by_endpoint() {
        let lines = |path: &str| help(PAGES, "master", path).map(|text| text.lines().count() / 2);
        for path in ["/help", "/help/", "/help.json", "/master/help"] {
            assert_eq!(lines(path), Ok(4), "{path}");
        }
        for path in [
            "/help/master",
            "/help/master/api/v1",
            "/help/registrar%281%29/registry",
            "/help/system/stats.json",
            "/help/version",
        ] {
            assert_eq!(lines(path), Ok(1), "{path}");
        }
        assert_eq!(lines("/help/master/nothing"), Err("master/nothing".to_owned()));
        assert!(help(PAGES, "master", "/help/version").unwrap().starts_with("/version\n    versions"));
    }

    #[test]
    fn a_level_needs_its_time_and_what_is_wrong_is_named() {
        assert_eq!(toggle(None, None), Ok(None));
        assert_eq!(toggle(Some("2"), Some("5secs")), Ok(Some((2, Duration::from_secs(5)))));
        for (level, duration, named) in [
            (None, Some("5secs"), "'level=value'"),
            (Some("2"), None, "'duration=value'"),
            (Some("-1"), Some("5secs"), "'level'"),
            (Some("2"), Some("soon"), "'duration'"),
        ] {
            let error = toggle(level, duration).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn numbers_have_their_older_names() {
        assert_eq!(system_name("system/load_1min"), "avg_load_1min");
        assert_eq!(system_name("system/cpus_total"), "cpus_total");
    }
}
