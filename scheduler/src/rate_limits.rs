//! The text form of rate limits: Mesos' message `RateLimits` as JSON.
//!
//! Owns which fields there are and what is said about a wrong one. How limits are carried out is the core's.

use serde_json::{Map, Value, json};
use tepui_scheduler_core::rate_limits::{Rate, RateLimits, WrongRate};

/// Reads `{"limits":[{"principal":"foo","qps":55.5,"capacity":100000}],"aggregate_default_qps":333,"aggregate_default_capacity":1000000}`.
///
/// # Errors
/// Names the field that is wrong. A field that does not exist is wrong, too: a misspelt limit would limit nobody.
pub fn parse_rate_limits(text: &str) -> Result<RateLimits, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(object) = value else { return Err("must be an object".to_owned()) };
    known(&object, "", &["limits", "aggregate_default_qps", "aggregate_default_capacity"])?;
    let mut all = RateLimits::default();
    let entries = match object.get("limits") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err("limits must be a list".to_owned()),
    };
    for (index, entry) in entries.iter().enumerate() {
        let at = format!("limits[{index}]");
        let Value::Object(entry) = entry else { return Err(format!("{at} must be an object")) };
        let at = format!("{at}.");
        known(entry, &at, &["principal", "qps", "capacity"])?;
        let principal = match entry.get("principal") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            _ => return Err(format!("{at}principal must be a name")),
        };
        let rate = rate(entry, &at, "qps", "capacity")?;
        if all.limits.insert(principal.clone(), rate).is_some() {
            return Err(format!("{at}principal '{principal}' has a limit already"));
        }
    }
    all.aggregate_default = rate(&object, "", "aggregate_default_qps", "aggregate_default_capacity")?;
    Ok(all)
}

/// The same limits as text again, in one line; nothing if there are none.
pub(crate) fn text(limits: &RateLimits) -> String {
    if *limits == RateLimits::default() {
        return String::new();
    }
    let mut all = Map::new();
    let entries = limits.limits.iter().map(|(principal, rate)| {
        let mut entry = Map::from_iter([("principal".to_owned(), json!(principal))]);
        put(&mut entry, rate.as_ref(), "qps", "capacity");
        Value::Object(entry)
    });
    all.insert("limits".to_owned(), entries.collect());
    put(&mut all, limits.aggregate_default.as_ref(), "aggregate_default_qps", "aggregate_default_capacity");
    Value::Object(all).to_string()
}

fn put(object: &mut Map<String, Value>, rate: Option<&Rate>, qps: &str, capacity: &str) {
    if let Some(rate) = rate {
        object.insert(qps.to_owned(), json!(rate.qps()));
        object.insert(capacity.to_owned(), json!(rate.capacity() as u64));
    }
}

fn known(object: &Map<String, Value>, at: &str, names: &[&str]) -> Result<(), String> {
    match object.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!("{at}{name} is not known; there are {}", names.join(", "))),
        None => Ok(()),
    }
}

/// Without `qps` there is no limit, whatever the capacity is.
fn rate(object: &Map<String, Value>, at: &str, qps: &str, capacity: &str) -> Result<Option<Rate>, String> {
    let wrong_qps = || format!("{at}{qps} must be a number above 0");
    let wrong_capacity = || format!("{at}{capacity} must be a whole number, 1 or more");
    let places = match object.get(capacity) {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_u64().ok_or_else(wrong_capacity)?),
    };
    let calls = match object.get(qps) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_f64().ok_or_else(wrong_qps)?,
    };
    Rate::new(calls, places).map(Some).map_err(|wrong| match wrong {
        WrongRate::Qps => wrong_qps(),
        WrongRate::Capacity => wrong_capacity(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_mesos_is_read_and_comes_back_as_text() {
        let limits = parse_rate_limits(
            r#"{"limits":[{"principal":"foo","qps":55.5,"capacity":100000},{"principal":"bar","qps":300},
                {"principal":"baz"}],"aggregate_default_qps":333,"aggregate_default_capacity":1000000}"#,
        )
        .unwrap();
        assert_eq!(limits.limits["foo"], Some(Rate::new(55.5, Some(100_000)).unwrap()));
        assert_eq!(limits.limits["bar"], Some(Rate::new(300.0, None).unwrap()));
        assert_eq!(limits.limits["baz"], None);
        assert_eq!(limits.aggregate_default, Some(Rate::new(333.0, Some(1_000_000)).unwrap()));
        assert_eq!(parse_rate_limits(&text(&limits)).unwrap(), limits);
        assert_eq!(text(&RateLimits::default()), "");
        // Mesos ignores a capacity without a rate.
        assert!(parse_rate_limits(r#"{"aggregate_default_capacity":5}"#).unwrap().is_empty());
    }

    #[test]
    fn a_mistake_is_named_by_its_field() {
        for (text, expected) in [
            ("", "no JSON"),
            ("[]", "must be an object"),
            (r#"{"limits":{}}"#, "limits must be a list"),
            (r#"{"limits":[7]}"#, "limits[0] must be an object"),
            (r#"{"limits":[{"qps":1}]}"#, "limits[0].principal must"),
            (r#"{"limits":[{"principal":""}]}"#, "limits[0].principal must"),
            (r#"{"limits":[{"principal":"a"},{"principal":"b","qps":"many"}]}"#, "limits[1].qps must"),
            (r#"{"limits":[{"principal":"a","qps":0}]}"#, "limits[0].qps must"),
            (r#"{"limits":[{"principal":"a","qps":-2}]}"#, "limits[0].qps must"),
            (r#"{"limits":[{"principal":"a","qps":1,"capacity":-1}]}"#, "limits[0].capacity must"),
            (r#"{"limits":[{"principal":"a","qps":1,"capacity":0}]}"#, "limits[0].capacity must"),
            (r#"{"limits":[{"principal":"a","capacity":1.5}]}"#, "limits[0].capacity must"),
            (r#"{"limits":[{"principal":"a"},{"principal":"a"}]}"#, "limits[1].principal 'a' has"),
            (r#"{"limits":[{"principal":"a","rate":1}]}"#, "limits[0].rate is not known"),
            (r#"{"aggregate_default_qps":true}"#, "aggregate_default_qps must"),
            (r#"{"aggregate_qps":1}"#, "aggregate_qps is not known"),
        ] {
            let error = parse_rate_limits(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
