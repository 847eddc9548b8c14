//! Other people's clients, unmodified, do real work against real clusters, whose leading master is killed meanwhile. The scripts below
//! `scripts/` only connect a library with the test that drives it; all that is expected stands in the tests. Scenarios are named as in the
//! contract: PY for pymesos, MH for mesoshttp, NF for mesos-framework. `.ci/clients` installs the libraries; without them a test says that it
//! is skipped, or fails if `TEPUI_CLIENTS_REQUIRED` is set.

mod client;
mod cluster;
mod connections;
mod installation;
mod mesos_framework;
mod mesoshttp;
mod pymesos;

/// The binary under test.
const TEPUI: &str = env!("CARGO_BIN_EXE_tepui-under-test");
