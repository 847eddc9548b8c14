//! Supervises commands for the tests of this package, which have no `tepui` binary at hand.

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let subcommand = arguments.next();
    assert!(subcommand.is_some_and(|name| name == "supervise"), "the only subcommand is supervise");
    std::process::exit(tepui_agent::supervise_main(arguments));
}
