//! Router-level tests: the whole API as one service, in front of an event loop that is a queue in the test's hands.

mod admission;
mod authentication;
mod backup;
mod contract;
mod contract_bytes;
mod contract_order;
mod contract_tables;
mod contract_values;
mod fixture;
mod long;
mod masters;
mod metrics;
mod plain;
mod process;
mod rate;
mod reads;
mod shown;
mod world;
