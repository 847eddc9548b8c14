//! Who is offered what: shares, quotas, filters and explanations; a plan changes nothing.
//!
//! Seam (called by `master/offers.rs`; all resources as `tepui_proto::resources::Resources`, without allocation unless said):
//!
//! ```text
//! pub struct Allocator;                                   // held by Master, dropped with the leadership
//! Allocator::new() -> Self
//! set_agent(&mut self, id: &AgentId, info: &AgentInfo)    // known and offerable; replaces; makes it dirty
//! deactivate_agent(&mut self, id)                          // disconnected: not planned, still part of the total
//! remove_agent(&mut self, id)                              // unreachable or gone: leaves the total, its filters go
//! set_framework(&mut self, id: &FrameworkId, info: &FrameworkInfo, suppressed: &[String], active: bool)
//! remove_framework(&mut self, id)                          // with its filters
//! charge(&mut self, id: &FrameworkId, role: &str, agent: &AgentId, amounts: &Resources)   // task, offer or pending launch
//! recover(&mut self, same)                                 // and marks the agent dirty
//! refuse(&mut self, id, role, agent, refused: &Resources, until_ms)   // a decline filter
//! revive(&mut self, id, roles: &[String]) / suppress(&mut self, id, roles: &[String])
//! set_demands(&mut self, Vec<Demand>)                      // drivers: exactly so much, on one agent, in this role
//! dirty(&self) -> bool
//! next_filter_deadline(&self) -> Option<u64>               // expire(now_ms) marks the agents dirty
//! plan(&mut self or &self, now_ms, budget) -> Plan { allocations: Vec<Allocation>, more: bool }
//! Allocation { agent: AgentId, framework: FrameworkId, role: Arc<str>, resources: Resources, driver: Option<String> }
//! check_invariants(&self)
//! ```
//!
//! Master calls `charge` for every allocation that it turned into an offer, so a plan needs no memory of its own.
