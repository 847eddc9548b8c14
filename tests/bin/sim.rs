//! `sim`: the whole-cluster simulation by command, on all cores. Prints seeds, simulated time, faults and violations; `--seed` repeats one run.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tepui_tests::sim::{self, Plan, Settings, raft};

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
    /// Threads; as many as the machine has processors unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// The hash of each seed's trace.
    #[arg(long)]
    hashes: bool,
    /// The other tier: the real replicated store, consensus library included, on simulated disks, network and time.
    #[arg(long)]
    raft: bool,
    /// With --raft: bring back each known bug and look for the seed, among --seeds, that notices it.
    #[arg(long, requires = "raft")]
    mutants: bool,
    /// One line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "a command that prints figures")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.mutants {
        return hunt(&arguments);
    }
    if arguments.raft {
        return run_raft(&arguments);
    }
    let mut settings = arguments.minutes.map_or_else(Settings::short, Settings::minutes);
    settings.fault_ms = arguments.milliseconds.unwrap_or(settings.fault_ms);
    settings.agents = arguments.agents.unwrap_or(settings.agents);
    settings.frameworks = arguments.frameworks.unwrap_or(settings.frameworks);
    let mut plan = match arguments.seed {
        Some(seed) => Plan::exactly(seed, 1),
        None => Plan::exactly(arguments.first, arguments.seeds),
    };
    plan.threads = arguments.threads.unwrap_or(plan.threads);
    let began = Instant::now();
    let outcome = sim::campaign(&plan, &settings, &|result| match result {
        Err(violation) => {
            println!("{violation}\nrepeat with: {}", sim::reproduction(violation.seed, &settings));
        }
        Ok(report) if arguments.seed.is_some() => {
            println!("{report:#?}\nseed {} trace {:016x}", report.seed, report.trace);
        }
        Ok(report) if arguments.hashes => println!("seed {} trace {:016x}", report.seed, report.trace),
        Ok(_report) => {}
    });
    let seconds = began.elapsed().as_secs_f64();
    let violations = outcome.violations.len() as u64;
    let reports = &outcome.reports;
    let runs = reports.len() as u64 + violations;
    let sum = |count: fn(&sim::Report) -> u64| reports.iter().map(count).sum::<u64>();
    let (simulated, faults, inputs) = (sum(|r| r.simulated_ms), sum(|r| r.faults), sum(|r| r.inputs));
    let cpu = outcome.cpu.as_secs_f64();
    if arguments.json {
        println!(
            "{{\"id\":\"R1\",\"what\":\"seeds without violation\",\"value\":{},\"unit\":\"seeds\",\"target\":{runs},\"n\":{runs},\"simulated_ms\":{simulated},\"faults\":{faults},\"violations\":{violations},\"seconds\":{seconds:.1},\"cpu_seconds\":{cpu:.1}}}",
            runs - violations
        );
    } else {
        println!(
            "{runs} seeds, {:.1} simulated hours, {faults} faults, {inputs} inputs, {violations} violations, {seconds:.1} s ({cpu:.1} s of processor time)",
            simulated as f64 / 3_600_000.0
        );
        for (name, count) in sim::counts(reports) {
            println!("{count:>9} {name}");
        }
    }
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn threads(arguments: &Arguments) -> usize {
    arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Seeds of the real replicated store.
#[expect(clippy::print_stdout, reason = "a command that prints figures")]
fn run_raft(arguments: &Arguments) -> ExitCode {
    let mut settings = raft::Settings::default();
    let minutes = arguments.minutes.map(|minutes| minutes * 60_000);
    settings.fault_ms = arguments.milliseconds.or(minutes).unwrap_or(settings.fault_ms);
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.first..arguments.first + arguments.seeds,
    };
    let began = Instant::now();
    let all = raft::campaign(seeds, threads(arguments), &settings, &|result| match result {
        Err(violation) => {
            println!("{violation}\nrepeat with: {}", raft::reproduction(violation.seed, &settings));
        }
        Ok(report) if arguments.seed.is_some() => println!("{report:#?}"),
        Ok(report) if arguments.hashes => println!("seed {} trace {:016x}", report.seed, report.trace),
        Ok(_) => {}
    });
    let seconds = began.elapsed().as_secs_f64();
    let runs = all.len();
    let reports: Vec<&raft::Report> = all.iter().filter_map(|result| result.as_ref().ok()).collect();
    let violations = runs - reports.len();
    let sum = |count: fn(&raft::Report) -> u64| reports.iter().map(|report| count(report)).sum::<u64>();
    if arguments.json {
        println!(
            "{{\"id\":\"R1\",\"what\":\"seeds of the real replicated store without violation\",\"value\":{},\"unit\":\"seeds\",\"target\":{runs},\"n\":{runs},\"simulated_ms\":{},\"faults\":{},\"violations\":{violations},\"seconds\":{seconds:.1}}}",
            reports.len(),
            sum(|r| r.simulated_ms),
            sum(|r| r.faults)
        );
    } else {
        println!(
            "{runs} seeds, {:.1} simulated minutes, {} faults, {} crashes, {} leads, {} hand-overs, {} changes of members, {} damaged disks, {} snapshots installed",
            sum(|r| r.simulated_ms) as f64 / 60_000.0,
            sum(|r| r.faults),
            sum(|r| r.crashes),
            sum(|r| r.leads),
            sum(|r| r.hand_overs),
            sum(|r| r.member_changes),
            sum(|r| r.damaged),
            sum(|r| r.installs),
        );
        println!(
            "{} messages, {} commits; commands: {} acknowledged, {} refused, {} unknown; {} reads; well again after {} ms at the latest",
            sum(|r| r.messages),
            sum(|r| r.commits),
            sum(|r| r.acknowledged),
            sum(|r| r.refused),
            sum(|r| r.unknown),
            sum(|r| r.reads),
            reports.iter().map(|r| r.recovered_ms).max().unwrap_or(0),
        );
        println!("{violations} violations, {seconds:.1} s");
    }
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Known bugs of the replicated store, each brought back.
#[expect(clippy::print_stdout, reason = "a command that prints figures")]
fn hunt(arguments: &Arguments) -> ExitCode {
    let mut missed = 0;
    for (mutant, name) in raft::Mutant::ALL {
        match raft::hunt(*mutant, arguments.seeds, threads(arguments)) {
            Some(violation) => {
                println!(
                    "{name}: noticed by seed {} at {} ms: {}",
                    violation.seed, violation.at_ms, violation.what
                );
            }
            None => {
                missed += 1;
                println!("{name}: not noticed within {} seeds", arguments.seeds);
            }
        }
    }
    println!("{} of {} bugs noticed", raft::Mutant::ALL.len() - missed, raft::Mutant::ALL.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
