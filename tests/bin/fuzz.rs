//! `fuzz`: feeds decoders by command. One line for each target; a failure prints the lines that repeat it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tepui_tests::fuzz::{self, Target};

/// Stack of the thread that decodes: what a server's worker has, so that depth which is too much for one shows here.
const STACK_BYTES: usize = 2 << 20;

#[derive(Parser)]
#[command(about = "Feeds decoders with generated and damaged input")]
struct Arguments {
    /// Name of a target, or `all`; `list` prints the names.
    #[arg(long, default_value = "all")]
    target: String,
    /// Inputs for each target.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Feeds this one input, given in hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    input: Option<String>,
    /// Writes each input to this file before it is fed: the last one is what ended the process.
    #[arg(long)]
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let worker = std::thread::Builder::new().name("fuzz".to_owned()).stack_size(STACK_BYTES);
    match worker.spawn(move || work(&arguments)).map(std::thread::JoinHandle::join) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[expect(clippy::print_stdout, reason = "a command that prints figures")]
fn work(arguments: &Arguments) -> bool {
    let mut targets = fuzz::targets();
    if arguments.target == "list" {
        targets.iter().for_each(|target| println!("{}", target.name()));
        return true;
    }
    targets.retain(|target| arguments.target == "all" || target.name() == arguments.target);
    if targets.is_empty() {
        println!("there is no target '{}'; --target list names all", arguments.target);
        return false;
    }
    let mut good = true;
    for target in &mut targets {
        good &= one(target.as_mut(), arguments);
    }
    good
}

#[expect(clippy::print_stdout, reason = "a command that prints figures")]
fn one(target: &mut dyn Target, arguments: &Arguments) -> bool {
    if let Some(digits) = &arguments.input {
        let Some(input) = unhex(digits) else {
            println!("--input is not hexadecimal");
            return false;
        };
        let answer = fuzz::replay(target, &input);
        println!("{}: {answer:?}", target.name());
        return answer.is_ok();
    }
    match fuzz::run(target, arguments.seed, arguments.inputs, arguments.trace.as_deref()) {
        Ok(report) => {
            println!(
                "{}: {} inputs, {} shapes, {:.1} s, slowest {:.1} ms, no failure",
                target.name(),
                report.inputs,
                report.shapes,
                report.elapsed.as_secs_f64(),
                report.slowest.as_secs_f64() * 1000.0
            );
            true
        }
        Err(failure) => {
            println!("{failure}");
            false
        }
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
        })
        .collect()
}
