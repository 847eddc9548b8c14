//! `mutants`: puts known bugs back, one at a time, and tells which the suite notices; fails if one survives.

use std::process::ExitCode;

use clap::Parser;
use tepui_tests::mutants_run::{MUTANTS, hunt};

#[derive(Parser)]
#[command(about = "Puts known bugs back and sees that each is noticed")]
struct Arguments {
    /// Only those whose name contains this.
    #[arg(default_value = "")]
    name: String,
    /// Those that are known to survive as well.
    #[arg(long)]
    all: bool,
    /// Name them and end.
    #[arg(long)]
    list: bool,
}

#[expect(clippy::print_stdout, reason = "a command that prints a table")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A law that is broken panics in a core; it is told in the table.
    std::panic::set_hook(Box::new(|_panic| {}));
    let (mut caught, mut survivors, mut gaps) = (0, Vec::new(), Vec::new());
    for mutant in MUTANTS.iter().filter(|mutant| mutant.name.contains(&arguments.name)) {
        if arguments.list {
            println!("{:36} {}", mutant.name, mutant.breaks);
            continue;
        }
        if !mutant.noticed && !arguments.all {
            gaps.push(mutant.name);
            continue;
        }
        let verdict = hunt(*mutant);
        let Some((seed, law)) = verdict.caught else {
            println!("{:36} SURVIVES {} seeds: {}", mutant.name, verdict.seeds, mutant.breaks);
            survivors.push(mutant.name);
            continue;
        };
        let law: String = law.lines().next().unwrap_or_default().chars().take(140).collect();
        println!("{:36} seed {seed:>3} ({:.1} s): {law}", mutant.name, verdict.cpu_seconds);
        caught += 1;
    }
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    if !gaps.is_empty() {
        println!("not noticed yet, and not tried: {}", gaps.join(", "));
    }
    println!("{caught} of {} mutants were caught", caught + survivors.len());
    if caught > 0 && survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
