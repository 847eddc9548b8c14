//! The scenarios, by the groups of the list. Each is a function over a [`Context`](super::Context) that fails with what it saw.

pub(crate) mod a_masters;
pub(crate) mod a_protocol;
pub(crate) mod a_subscribe;
pub(crate) mod b_accept;
pub(crate) mod b_filters;
pub(crate) mod b_offers;
pub(crate) mod c_kills;
pub(crate) mod c_tasks;
pub(crate) mod c_validation;
pub(crate) mod d_frameworks;
pub(crate) mod d_reconnect;
pub(crate) mod e_operations;
pub(crate) mod e_reconciliation;
pub(crate) mod f_agents;
pub(crate) mod f_fates;
pub(crate) mod f_partitions;
pub(crate) mod f_reservations;
pub(crate) mod g_failover;
pub(crate) mod g_leaders;
pub(crate) mod g_wishes;
pub(crate) mod h_drain;
pub(crate) mod h_endpoints;
pub(crate) mod h_events;
pub(crate) mod h_maintenance;
pub(crate) mod h_reservations;
pub(crate) mod h_volumes;
