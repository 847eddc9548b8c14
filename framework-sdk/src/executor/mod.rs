//! The executor API of agents: a place that is kept.
//!
//! Command tasks need no executor of the framework's own. A driver for custom executors comes with the agents' executor API;
//! until then this module is empty on purpose.
