//! The agent's core, driven from outside: scenarios that read like stories, and random histories with laws.

mod random;
mod rig;
mod scenarios;
