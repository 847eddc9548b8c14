//! `sim`: the whole-cluster simulation by command. Prints seeds, simulated time, faults and violations; `--seed` repeats one run.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tepui_tests::sim::{self, Settings};

#[derive(Parser)]
#[command(about = "Runs simulated clusters under faults and checks their invariants")]
struct Arguments {
    /// Repeat this one run.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Simulated minutes with faults, for each seed.
    #[arg(long)]
    minutes: Option<u64>,
    /// The same in milliseconds.
    #[arg(long)]
    milliseconds: Option<u64>,
    #[arg(long)]
    agents: Option<usize>,
    #[arg(long)]
    frameworks: Option<usize>,
    /// One line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "a command that prints figures")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut settings = arguments.minutes.map_or_else(Settings::short, Settings::minutes);
    settings.fault_ms = arguments.milliseconds.unwrap_or(settings.fault_ms);
    settings.agents = arguments.agents.unwrap_or(settings.agents);
    settings.frameworks = arguments.frameworks.unwrap_or(settings.frameworks);
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.first..arguments.first + arguments.seeds,
    };
    let began = Instant::now();
    let (mut runs, mut simulated, mut faults, mut inputs, mut violations) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| sim::run(seed, &settings));
        runs += 1;
        match outcome {
            Ok(Ok(report)) => {
                simulated += report.simulated_ms;
                faults += report.faults;
                inputs += report.inputs;
                if arguments.seed.is_some() {
                    println!("{report:#?}");
                }
            }
            Ok(Err(violation)) => {
                violations += 1;
                println!("{violation}\nrepeat with: {}", sim::reproduction(seed, &settings));
            }
            Err(_panic) => {
                violations += 1;
                println!("seed {seed} panicked\nrepeat with: {}", sim::reproduction(seed, &settings));
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    if arguments.json {
        println!(
            "{{\"id\":\"R1\",\"what\":\"seeds without violation\",\"value\":{},\"unit\":\"seeds\",\"target\":{runs},\"n\":{runs},\"simulated_ms\":{simulated},\"faults\":{faults},\"violations\":{violations},\"seconds\":{seconds:.1}}}",
            runs - violations
        );
    } else {
        println!(
            "{runs} seeds, {:.1} simulated hours, {faults} faults, {inputs} inputs, {violations} violations, {seconds:.1} s",
            simulated as f64 / 3_600_000.0
        );
    }
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
