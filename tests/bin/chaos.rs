//! `chaos`: kills, pauses and stops real processes under load, cycle after cycle. Prints what was done, what was lost, and how long
//! recovery took. Exit code 1 on any loss.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tepui_tests::benches::Figure;
use tepui_tests::chaos::{self, Cycle, Report, Settings};

#[derive(Parser)]
#[command(
    about = "Kills, pauses and stops a real cluster under load, and checks that nothing is lost",
    after_help = "Examples:\n  chaos --cycles 20\n  chaos --cycles 1000 --seed 7 --masters 5\n  chaos --cycles 100 --json"
)]
struct Arguments {
    #[arg(long, default_value_t = 20)]
    cycles: u64,
    /// The same seed gives the same faults; their effects depend on the machine.
    #[arg(long)]
    seed: Option<u64>,
    /// 3 or 5.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    masters: u8,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    agents: u8,
    /// One line of JSON a figure instead of text.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if tepui_tests::acts_as_tepui() {
        return tepui::main();
    }
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    match campaign(&arguments, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // A cluster that does not come back has lost everything.
            eprintln!("seed {seed}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn campaign(arguments: &Arguments, seed: u64) -> anyhow::Result<bool> {
    let settings = Settings {
        executable: std::env::current_exe()?,
        cycles: arguments.cycles,
        seed,
        masters: usize::from(arguments.masters),
        agents: usize::from(arguments.agents),
        master_args: Vec::new(),
        first: Vec::new(),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let began = Instant::now();
    let json = arguments.json;
    let campaign = Box::pin(chaos::run(&settings, |cycle| show(cycle, json)));
    let report = runtime.block_on(tepui_tests::unless_interrupted(campaign))?;
    total(&report, &settings, began, json)?;
    Ok(report.losses.is_empty())
}

#[expect(clippy::print_stdout, reason = "a command that prints results")]
fn show(cycle: &Cycle, json: bool) {
    if !json {
        println!(
            "{:>5}  {:<42} recovered after {:>6} ms  {} tasks, {} not run",
            cycle.number,
            cycle.fault.to_string(),
            cycle.recovery.as_millis(),
            cycle.tasks,
            cycle.dropped
        );
    }
}

#[expect(clippy::print_stdout, reason = "a command that prints results")]
fn total(report: &Report, settings: &Settings, began: Instant, json: bool) -> anyhow::Result<()> {
    let what = format!(
        "cycles of kill, pause and stop without loss, {} masters, {} agents, seed {}",
        settings.masters, settings.agents, settings.seed
    );
    let survived = report.cycles.len() as f64 - if report.losses.is_empty() { 0.0 } else { 1.0 };
    let mut figures = vec![Figure {
        n: report.cycles.len(),
        value: survived,
        ..Figure::of("R4", &what, "cycles", ">= 1000, 0 losses", vec![survived])
    }];
    figures.extend(report.figures());
    if json {
        for figure in &figures {
            println!("{}", serde_json::to_string(figure)?);
        }
        return Ok(());
    }
    println!(
        "\nseed {}: {} cycles in {:.0} s, {} acknowledged writes by {} launches of the driver, {} zombies fenced, {} tasks run once, {} told as not run",
        settings.seed,
        report.cycles.len(),
        began.elapsed().as_secs_f64(),
        report.writes,
        report.generations,
        report.zombies_fenced,
        report.tasks,
        report.dropped
    );
    for figure in &figures[1..] {
        println!(
            "  {:<60} n {:>4}  p50 {:>7.0}  p99 {:>7.0}  max {:>7.0} ms",
            figure.what, figure.n, figure.p50, figure.p99, figure.max
        );
    }
    println!("{} lost", report.losses.len());
    for loss in &report.losses {
        println!("  {loss}");
    }
    Ok(())
}
