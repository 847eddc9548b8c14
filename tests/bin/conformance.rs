//! `conformance`: carries out the scenarios of `docs/conformance.md` on clusters of its own. Prints what passed, failed and was skipped.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tepui_proto::MediaType;
use tepui_tests::conformance::{self, Encodings, Outcome, Report, Settings, State, Summary};

/// The page that `--write-docs` writes.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance.md");

#[derive(Parser)]
#[command(
    about = "Runs the conformance scenarios against real processes",
    after_help = "Examples:\n  conformance --list\n  conformance --run 46 47 110b\n  conformance --json"
)]
struct Arguments {
    /// Show all scenarios and run none.
    #[arg(long, conflicts_with_all = ["run", "write_docs"])]
    list: bool,
    /// Run these; without numbers all, as without the flag.
    #[arg(long, value_name = "N", num_args = 0..)]
    run: Option<Vec<String>>,
    /// One line of JSON a scenario and encoding, and one with the count.
    #[arg(long)]
    json: bool,
    /// Run all and write the page in the documentation.
    #[arg(long, conflicts_with = "run")]
    write_docs: bool,
}

fn main() -> ExitCode {
    if tepui_tests::acts_as_tepui() {
        return tepui::main();
    }
    let arguments = Arguments::parse();
    if arguments.list {
        list(arguments.json);
        return ExitCode::SUCCESS;
    }
    match carry_out(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(arguments: &Arguments) -> anyhow::Result<bool> {
    let settings =
        Settings { executable: std::env::current_exe()?, numbers: arguments.run.clone().unwrap_or_default() };
    let runtime = tokio::runtime::Runtime::new()?;
    let json = arguments.json;
    let campaign = Box::pin(conformance::run(&settings, |report| show(report, json)));
    let summary = runtime.block_on(tepui_tests::unless_interrupted(campaign))?;
    total(&summary, json);
    if arguments.write_docs {
        std::fs::write(Path::new(PAGE), conformance::page(&summary))?;
    }
    Ok(summary.failures().is_empty())
}

#[expect(clippy::print_stdout, reason = "a command that prints a list")]
fn list(json: bool) {
    for scenario in conformance::table() {
        let (encodings, text) = match scenario.state {
            State::Built(built) => {
                let encodings = match built.encodings {
                    Encodings::Both => "json,protobuf",
                    Encodings::Json => "json",
                    Encodings::Protobuf => "protobuf",
                };
                (
                    encodings,
                    if built.lacks.is_empty() { String::new() } else { format!("in part: {}", built.lacks) },
                )
            }
            State::Later(reason) => ("", format!("later: {reason}")),
        };
        if json {
            let line = serde_json::json!({
                "number": scenario.number, "name": scenario.name, "encodings": encodings, "remark": text,
            });
            println!("{line}");
        } else {
            println!("{:>5}  {:<40} {encodings:<14} {text}", scenario.number, scenario.name);
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command that prints results")]
fn show(report: &Report, json: bool) {
    let (word, reason) = match &report.outcome {
        Outcome::Passed => ("passed", ""),
        Outcome::Failed(reason) => ("failed", reason.as_str()),
        Outcome::Skipped(reason) => ("skipped", reason.as_str()),
    };
    if json {
        let timings = report.timings.iter().map(|(what, took)| serde_json::json!({"what": what, "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX)}));
        let timings: Vec<_> = timings.collect();
        let encoding = if report.encoding == MediaType::Json { "json" } else { "protobuf" };
        let line = serde_json::json!({
            "number": report.number, "name": report.name, "encoding": encoding, "outcome": word, "reason": reason,
            "milliseconds": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX), "timings": timings,
        });
        println!("{line}");
    } else {
        println!("{word:<8}{:<56}{:>7} ms  {reason}", report.name, report.took.as_millis());
        for (what, took) in &report.timings {
            println!("        {what}: {} ms", took.as_millis());
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command that prints results")]
fn total(summary: &Summary, json: bool) {
    let outcomes =
        |wanted: fn(&Outcome) -> bool| summary.reports.iter().filter(|one| wanted(&one.outcome)).count();
    let passed = outcomes(|outcome| *outcome == Outcome::Passed);
    let failed = outcomes(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = outcomes(|outcome| matches!(outcome, Outcome::Skipped(_)));
    if json {
        let line = serde_json::json!({
            "passed": passed, "failed": failed, "skipped": skipped,
            "passing": summary.passing().len(), "applicable": summary.applicable().len(), "all": conformance::table().len(),
        });
        println!("{line}");
    } else {
        println!("{passed} runs passed, {failed} failed, {skipped} skipped");
        println!("{}", conformance::count(summary));
    }
}
