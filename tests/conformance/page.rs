//! `docs/conformance.md`: the list as people read it. Made from the table and one run; judges nothing.

use super::runner::Summary;
use super::{Encodings, Scenario, State, table};

const HEAD: &str = "# Conformance

What a Mesos-compatible cluster must do, as scenarios seen from outside over HTTP against real processes. The numbers are stable; each
stands in the name of its test. This page is written by

    cargo run --release -p tepui-tests --bin conformance -- --write-docs

and the same command with `--run 46 47` carries out some of them, with `--list` shows them all. `cargo test -p tepui-tests --test scenarios`
runs every one that is built.
";

/// The groups, by their first number.
const GROUPS: [(&str, &str); 8] = [
    ("1", "A. Surface of the protocol"),
    ("23", "B. Offers and allocation"),
    ("46", "C. Life of tasks"),
    ("69", "D. Failure and return of frameworks"),
    ("77", "E. Reconciliation"),
    ("81", "F. Agents: partition, restart, gone"),
    ("94", "G. Failure of the leading master"),
    ("101", "H. What operators use"),
];

/// The counts that are published, as one line.
pub fn count(summary: &Summary) -> String {
    let (passing, applicable) = (summary.passing(), summary.applicable());
    let partly = table().iter().filter(|one| passing.contains(&one.number) && !lacks(one).is_empty()).count();
    let later = table().iter().filter(|one| matches!(one.state, State::Later(_))).count();
    format!(
        "{} of {} applicable scenarios pass, {partly} of them in part; {later} of all {} are for later.",
        passing.len(),
        applicable.len(),
        table().len()
    )
}

/// The whole page.
pub fn page(summary: &Summary) -> String {
    let mut text = format!("{HEAD}\n**{}**\n", count(summary));
    for scenario in table() {
        if let Some((_, title)) = GROUPS.iter().find(|(first, _)| *first == scenario.number) {
            text.push_str(&format!(
                "\n## {title}\n\n| # | Scenario | Encodings | State |\n|---|---|---|---|\n"
            ));
        }
        text.push_str(&row(scenario, summary));
    }
    text
}

fn row(scenario: &Scenario, summary: &Summary) -> String {
    let name = scenario.name.replace('_', " ");
    let (encodings, state) = match scenario.state {
        State::Later(reason) => ("", format!("later: {reason}")),
        State::Built(built) => {
            let encodings = match built.encodings {
                Encodings::Both => "JSON, protobuf",
                Encodings::Json => "JSON",
                Encodings::Protobuf => "protobuf",
            };
            let state = if summary.passing().contains(&scenario.number) {
                "passes"
            } else if summary.applicable().contains(&scenario.number) {
                "**fails**"
            } else {
                "not run"
            };
            let lacks =
                if built.lacks.is_empty() { String::new() } else { format!("; in part: {}", built.lacks) };
            (encodings, format!("{state}{lacks}"))
        }
    };
    format!("| {} | {name} | {encodings} | {state} |\n", scenario.number)
}

fn lacks(scenario: &Scenario) -> &'static str {
    match scenario.state {
        State::Built(built) => built.lacks,
        State::Later(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_row_for_each_scenario_and_claims_nothing_that_was_not_run() {
        let page = page(&Summary::default());
        for scenario in table() {
            assert!(page.contains(&format!("\n| {} | ", scenario.number)), "{}", scenario.number);
        }
        assert!(!page.contains("| passes"));
        assert!(page.contains("0 of 0 applicable"));
        for (_, title) in GROUPS {
            assert!(page.contains(title), "{title}");
        }
    }
}
