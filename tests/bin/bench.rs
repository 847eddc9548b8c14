//! `bench`: measures figures by their ids. Prints a table for people, or one line of JSON a figure.

use std::process::ExitCode;

use clap::Parser;
use tepui_tests::benches::{self, Figure, IDS, Settings};

#[derive(Parser)]
#[command(
    about = "Measures Tepui",
    after_help = "Examples:\n  bench P4 P13\n  bench all --json\n  bench P12 --short\n  bench elections --minutes 10 --profile wan"
)]
struct Arguments {
    /// Ids from P1 to P15, `elections`, `registry`, or `all`.
    #[arg(required = true)]
    ids: Vec<String>,
    /// A smoke run with few repetitions.
    #[arg(long)]
    short: bool,
    /// Minutes of each part of `elections`.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The masters' `--raft-profile`.
    #[arg(long)]
    profile: Option<String>,
    /// One line of JSON a figure.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if tepui_tests::acts_as_tepui() {
        return tepui::main();
    }
    if std::env::args().nth(1).as_deref() == Some("raft-node") {
        return benches::raft_node();
    }
    if std::env::args().nth(1).as_deref() == Some("snapshot-node") {
        return benches::snapshot_node();
    }
    if std::env::args().nth(1).as_deref() == Some("simulated-agents") {
        return benches::simulated_agents(std::env::args().skip(2));
    }
    if std::env::args().nth(1).as_deref() == Some("allocator-peak") {
        return benches::allocator_peak(std::env::args().skip(2));
    }
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(measure_all(&arguments))
}

#[expect(clippy::print_stdout, reason = "a command that prints figures")]
async fn measure_all(arguments: &Arguments) -> ExitCode {
    let ids: Vec<String> = if arguments.ids.iter().any(|id| id == "all") {
        IDS.map(str::to_owned).to_vec()
    } else {
        arguments.ids.clone()
    };
    if let Some(unknown) = ids.iter().find(|id| !IDS.contains(&id.as_str())) {
        eprintln!("unknown id {unknown}; known are {}", IDS.join(" "));
        return ExitCode::from(2);
    }
    let executable = match std::env::current_exe() {
        Ok(executable) => executable,
        Err(error) => {
            eprintln!("find the own executable: {error}");
            return ExitCode::FAILURE;
        }
    };
    let minutes = if arguments.short { arguments.minutes.min(0.2) } else { arguments.minutes };
    let settings =
        Settings { short: arguments.short, minutes, profile: arguments.profile.clone(), executable };
    let mut good = true;
    for id in ids {
        match benches::measure(&id, &settings).await {
            Ok(Some(figures)) => figures.iter().for_each(|figure| show(figure, arguments.json)),
            Ok(None) if arguments.json => {}
            Ok(None) => println!("{id}: not yet"),
            Err(error) => {
                eprintln!("{id}: {error:#}");
                good = false;
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "a command that prints figures")]
fn show(figure: &Figure, json: bool) {
    if json {
        match serde_json::to_string(figure) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("{}: {error}", figure.id),
        }
        return;
    }
    println!(
        "{:<4} {:>10.2} {:<4} (target {}; n {}, min {:.2}, p50 {:.2}, p99 {:.2}, max {:.2})  {}\n     {}",
        figure.id,
        figure.value,
        figure.unit,
        figure.target,
        figure.n,
        figure.min,
        figure.p50,
        figure.p99,
        figure.max,
        figure.what,
        figure.machine
    );
}
