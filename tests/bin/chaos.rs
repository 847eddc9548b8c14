//! `chaos`: kills, pauses, stops, cuts off and starves real processes under load, cycle after cycle. Prints what was done, what was
//! lost, and how long recovery took. Exit code 1 on any loss.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use tepui_tests::benches::Figure;
use tepui_tests::chaos::inside::{self, Stage};
use tepui_tests::chaos::{self, Cycle, Report, Settings, Sum};

#[derive(Parser)]
#[command(
    about = "Kills, pauses and cuts off a real cluster under load, and checks that nothing is lost",
    after_help = "Examples:\n  chaos --cycles 20\n  chaos --cycles 1000 --sum campaign.jsonl --masters 5\n  chaos --minutes 30 --json\n\n\
        With --sum, --cycles is the sum over all runs with that file: a run that was ended is gone on with by the same command."
)]
struct Arguments {
    /// How many faults, one after the other; without end if only --minutes is given.
    #[arg(long)]
    cycles: Option<u64>,
    /// Ends after the cycle in which this time is over.
    #[arg(long)]
    minutes: Option<f64>,
    /// The same seed gives the same faults; their effects depend on the machine.
    #[arg(long)]
    seed: Option<u64>,
    /// 3 or 5.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    masters: u8,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    agents: u8,
    /// Tasks launched a second, all the time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=100))]
    launches: u32,
    /// No streaming job beside the rest.
    #[arg(long)]
    no_stream: bool,
    /// Only kinds of faults that have this text in them, such as `leader kill`.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Leaves the campaign's folder, /tmp/tepui-chaos-…, with all logs, until the next campaign.
    #[arg(long)]
    keep: bool,
    /// How the network is made.
    #[arg(long, value_enum, default_value_t = Form::Auto)]
    form: Form,
    /// Adds each cycle to this file, and counts and prints all that are in it.
    #[arg(long, value_name = "FILE")]
    sum: Option<PathBuf>,
    /// Writes down every operation on the registers, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Instead of faults: so many rounds in which every link is interrupted for moments while a scheduler launches jobs.
    #[arg(long, value_name = "ROUNDS", conflicts_with_all = ["cycles", "minutes", "sum"])]
    interruptions: Option<u64>,
    /// One line of JSON a figure instead of text.
    #[arg(long)]
    json: bool,
    /// Timers for a debug build on a busy machine; recovery times mean nothing then.
    #[arg(long)]
    slow_timers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The full form where the system allows, else the reduced one.
    Auto,
    /// A network namespace for every master and agent (root).
    Full,
    /// Loopback, with a gateway in front of everything that a master listens on.
    Reduced,
}

fn main() -> ExitCode {
    if tepui_tests::acts_as_tepui() {
        return tepui::main();
    }
    let arguments = Arguments::parse();
    let done = match inside::stage() {
        Stage::Outside => outside(&arguments),
        Stage::First => inside::be_first(),
        Stage::Campaign => campaign(&arguments, true),
    };
    done.unwrap_or_else(|error| {
        // A cluster that does not come back has lost everything.
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn outside(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    inside::sweep();
    let possible =
        if arguments.form == Form::Reduced { Err("asked for".to_owned()) } else { inside::is_possible() };
    match possible {
        Ok(()) => match inside::go()? {},
        Err(why) => {
            anyhow::ensure!(arguments.form != Form::Full, "no full form here: {why}");
            say(arguments, &format!("reduced form: loopback and gateways ({why})"));
            campaign(arguments, false)
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command that prints results")]
fn say(arguments: &Arguments, text: &str) {
    if !arguments.json {
        println!("{text}");
    }
}

fn campaign(arguments: &Arguments, full: bool) -> anyhow::Result<ExitCode> {
    if full {
        say(arguments, "full form: a network namespace for every master and agent");
    }
    let mut sum = Sum::open(arguments.sum.as_deref())?;
    let wanted = arguments.cycles.unwrap_or(if arguments.minutes.is_some() { u64::MAX } else { 20 });
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let settings = Settings {
        cycles: wanted.saturating_sub(sum.cycles()),
        within: arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
        // A run that goes on with others does not repeat them.
        seed: seed.wrapping_add(sum.cycles()),
        masters: usize::from(arguments.masters),
        agents: usize::from(arguments.agents),
        launches: arguments.launches,
        stream: !arguments.no_stream,
        only: arguments.only.clone(),
        keep: arguments.keep,
        full,
        record: arguments.record.clone(),
        master_args: if arguments.slow_timers { tepui_tests::harness::slow_timers() } else { Vec::new() },
        ..Settings::new(std::env::current_exe()?)
    };
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(rounds) = arguments.interruptions {
        let run = Box::pin(chaos::interrupt(&settings, rounds));
        let brief = runtime.block_on(tepui_tests::unless_interrupted(run))?;
        return interrupted(arguments, &brief);
    }
    let run = Box::pin(chaos::run(&settings, |cycle, losses| {
        show(arguments, cycle);
        sum.add(&settings, cycle, !losses.is_empty())
    }));
    let report = runtime
        .block_on(tepui_tests::unless_interrupted(run))
        .map_err(|error| error.context(format!("seed {}", settings.seed)))?;
    total(arguments, &report, &sum, began.elapsed())?;
    Ok(if report.losses.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "a command that prints results")]
fn interrupted(arguments: &Arguments, brief: &chaos::Brief) -> anyhow::Result<ExitCode> {
    let what = "end of a round of brief interruptions to a job that was launched then and ran";
    let figure = Figure::of("R8", what, "ms", "always", brief.goes_on_after.clone());
    if arguments.json {
        println!("{}", serde_json::to_string(&figure)?);
    }
    say(
        arguments,
        &format!(
            "{} interruptions in {} rounds: {} jobs run once, {} told as not run; a job after a round has run after p50 {:.0}, max {:.0} ms\n{} lost",
            brief.interruptions,
            brief.goes_on_after.len(),
            brief.jobs,
            brief.dropped,
            figure.p50,
            figure.max,
            brief.losses.len()
        ),
    );
    for loss in &brief.losses {
        println!("  {loss}");
    }
    Ok(if brief.losses.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(arguments: &Arguments, cycle: &Cycle) {
    let line = format!(
        "{:>5}  {:<52} recovered after {:>6} ms  {} tasks, {} not run",
        cycle.number,
        cycle.fault.to_string(),
        cycle.recovery.as_millis(),
        cycle.tasks,
        cycle.dropped
    );
    say(arguments, &line);
}

#[expect(clippy::print_stdout, reason = "a command that prints results")]
fn total(arguments: &Arguments, report: &Report, sum: &Sum, took: Duration) -> anyhow::Result<()> {
    let figures = sum.figures();
    if arguments.json {
        for figure in &figures {
            println!("{}", serde_json::to_string(figure)?);
        }
        for loss in &report.losses {
            println!("{}", serde_json::json!({ "loss": loss }));
        }
        return Ok(());
    }
    println!(
        "\n{} cycles in {:.0} s: {} acknowledged writes by {} launches of the driver, {} zombies fenced, {} tasks run once, {} told as not run",
        report.cycles.len(),
        took.as_secs_f64(),
        report.writes,
        report.generations,
        report.zombies_fenced,
        report.tasks,
        report.dropped
    );
    println!("operations on registers: {}; looks at what is in use: {}", report.operations, report.looks);
    println!("streams: {} counted again, {} times forward", report.streams, report.batches);
    for without in &report.without {
        println!("note: {without}");
    }
    let seeds: Vec<String> = sum.seeds().iter().map(|(seed, count)| format!("{seed} ({count})")).collect();
    println!("{} cycles in all; seeds and their cycles: {}", sum.cycles(), seeds.join(", "));
    for figure in &figures[1..] {
        println!(
            "  {:<76} n {:>4}  p50 {:>7.0}  p99 {:>7.0}  max {:>7.0} ms",
            figure.what, figure.n, figure.p50, figure.p99, figure.max
        );
    }
    println!("recovery times:");
    for (bound, count) in sum.histogram() {
        println!("  up to {bound:>7} ms  {count:>5}  {}", "#".repeat(count.min(100)));
    }
    println!("{} lost", report.losses.len());
    for loss in &report.losses {
        println!("  {loss}");
    }
    Ok(())
}
