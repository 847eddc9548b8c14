//! The numbers of `/metrics/snapshot` in Prometheus' text form, for `/metrics`: the same facts, with what varies within a name (framework, role,
//! state, reason) as labels. Owns the names; counts nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One number of a family: its labels and its value.
type Sample = (Vec<(&'static str, String)>, f64);

/// All numbers, each family in one piece, each with the prefix `mesos_`.
pub(crate) fn render(numbers: &[(String, f64)]) -> String {
    let mut families: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for (name, number) in numbers {
        let (family, labels) = family(name);
        families.entry(family).or_default().push((labels, *number));
    }
    let mut text = String::with_capacity(numbers.len() * 64);
    for (family, samples) in &families {
        text.push_str(&format!("# TYPE {family} unknown\n"));
        for (labels, number) in samples {
            text.push_str(family);
            let mut before = '{';
            for (label, value) in labels {
                // Writing into a text cannot fail.
                let _ = write!(text, "{before}{label}=\"{}\"", escaped(value));
                before = ',';
            }
            if !labels.is_empty() {
                text.push('}');
            }
            let _ = writeln!(text, " {number}");
        }
    }
    text
}

/// The family of a name, and its labels.
fn family(name: &str) -> (String, Vec<(&'static str, String)>) {
    let own = |text: &str| text.to_owned();
    if let Some(rest) = name.strip_prefix("master/frameworks/") {
        let mut parts = rest.splitn(3, '/');
        if let (Some(framework), Some(id), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
            let mut labels = vec![("framework", own(framework)), ("framework_id", own(id))];
            let rest = match rest.strip_prefix("roles/").and_then(|rest| rest.rsplit_once('/')) {
                Some((role, last)) => {
                    labels.push(("role", own(role)));
                    format!("role/{last}")
                }
                None => match rest.rsplit_once('/') {
                    Some((kind, value)) if matches!(kind, "calls" | "events" | "operations") => {
                        labels.push(("type", own(value)));
                        format!("{kind}_by_type")
                    }
                    Some((kind, state)) if kind.starts_with("tasks/") => {
                        labels.push(("state", own(state)));
                        own(kind)
                    }
                    _ => own(rest),
                },
            };
            return (plain(&format!("master/framework/{rest}")), labels);
        }
    }
    if let Some(rest) = name.strip_prefix("master/task_") {
        let mut parts = rest.splitn(3, '/');
        if let (Some(state), Some(source), Some(reason)) = (parts.next(), parts.next(), parts.next()) {
            let cut = |text: &str, prefix: &str| own(text.strip_prefix(prefix).unwrap_or(text));
            let labels = vec![
                ("state", own(state)),
                ("source", cut(source, "source_")),
                ("reason", cut(reason, "reason_")),
            ];
            return (plain("master/task_transitions"), labels);
        }
    }
    if let Some(rest) = name.strip_prefix("master/operations/") {
        return match rest.split_once('/') {
            Some((kind, state)) => {
                (plain(&format!("master/operations_by_type/{state}")), vec![("type", own(kind))])
            }
            None => (plain(name), Vec::new()),
        };
    }
    for (start, end) in
        [("allocator/mesos/roles/", "/shares/dominant"), ("allocator/mesos/offer_filters/roles/", "/active")]
    {
        if let Some(role) = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)) {
            return (
                plain(&format!("{start}{}", &end[1..]).replace("roles/", "role/")),
                vec![("role", own(role))],
            );
        }
    }
    if let Some((role, rest)) =
        name.strip_prefix("allocator/mesos/quota/roles/").and_then(|rest| rest.split_once("/resources/"))
        && let Some((resource, kind)) = rest.rsplit_once('/')
    {
        let labels = vec![("role", own(role)), ("resource", own(resource))];
        return (plain(&format!("allocator/mesos/quota/{kind}")), labels);
    }
    // A principal may hold slashes, the number after it does not.
    if let Some((principal, kind)) = name.strip_prefix("frameworks/").and_then(|rest| rest.rsplit_once('/')) {
        return (plain(&format!("frameworks/{kind}")), vec![("principal", own(principal))]);
    }
    (plain(name), Vec::new())
}

/// What Prometheus takes for a name.
fn plain(name: &str) -> String {
    let safe = name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '_' });
    std::iter::once("mesos_".to_owned()).chain(safe.map(String::from)).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_becomes_a_label() {
        let table = [
            ("master/cpus_total", "mesos_master_cpus_total"),
            ("registrar/state_store_ms/p50", "mesos_registrar_state_store_ms_p50"),
            (
                "master/frameworks/a%20b/f-1/calls/accept",
                r#"mesos_master_framework_calls_by_type{framework="a%20b",framework_id="f-1",type="accept"}"#,
            ),
            (
                "master/frameworks/n/f/calls",
                r#"mesos_master_framework_calls{framework="n",framework_id="f"}"#,
            ),
            (
                "master/frameworks/n/f/tasks/active/task_running",
                r#"mesos_master_framework_tasks_active{framework="n",framework_id="f",state="task_running"}"#,
            ),
            (
                "master/frameworks/n/f/roles/a/b/suppressed",
                r#"mesos_master_framework_role_suppressed{framework="n",framework_id="f",role="a/b"}"#,
            ),
            (
                "master/task_failed/source_agent/reason_gc_error",
                r#"mesos_master_task_transitions{state="failed",source="agent",reason="gc_error"}"#,
            ),
            ("master/operations/total", "mesos_master_operations_total"),
            ("master/operations/reserve/total", r#"mesos_master_operations_by_type_total{type="reserve"}"#),
            (
                "allocator/mesos/offer_filters/roles/a/b/active",
                r#"mesos_allocator_mesos_offer_filters_role_active{role="a/b"}"#,
            ),
            (
                "allocator/mesos/quota/roles/dev/resources/cpus/limit",
                r#"mesos_allocator_mesos_quota_limit{role="dev",resource="cpus"}"#,
            ),
            (
                "frameworks/ops/a/messages_received",
                r#"mesos_frameworks_messages_received{principal="ops/a"}"#,
            ),
        ];
        for (name, expected) in table {
            let text = render(&[(name.to_owned(), 1.5)]);
            let family = expected.split('{').next().unwrap();
            assert_eq!(text, format!("# TYPE {family} unknown\n{expected} 1.5\n"), "{name}");
        }
        let odd = render(&[("allocator/mesos/roles/a\"b\\/shares/dominant".to_owned(), 0.0)]);
        assert!(odd.contains(r#"{role="a\"b\\"} 0"#), "{odd}");
    }

    #[test]
    fn a_family_stands_in_one_piece() {
        let number = |name: &str| (name.to_owned(), 1.0);
        let text = render(&[
            number("allocator/mesos/roles/a/shares/dominant"),
            number("master/elected"),
            number("allocator/mesos/roles/b/shares/dominant"),
        ]);
        assert_eq!(text.matches("# TYPE").count(), 2, "{text}");
    }
}
