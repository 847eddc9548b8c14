//! Every semantic check on a call, as `Result<Checked…, Rejection>`; no check changes anything.
//!
//! Seam:
//!
//! ```text
//! pub struct Rejection { pub reason: String }              // lowercase fragment; Display
//! call(&scheduler::Call) -> Result<(), Rejection>          // row 9 of the admission table: shape only; the shell answers 400
//! agent_call(&agent_link::Call) -> Result<(), Rejection>   // shape, format version, ids, resources of a REGISTER
//! framework(&FrameworkInfo, suppressed_roles: &[String], Option<&OfferConstraints>, principal: Option<&str>)
//!     -> Result<CheckedFramework, Rejection>               // becomes an ERROR event
//! CheckedFramework { info: FrameworkInfo (principal filled in, id as given), suppressed_roles: Vec<String>, roles: Vec<String> }
//! roles(&FrameworkRecord, asked: &[String]) -> Result<Vec<String>, Rejection>   // REVIVE, SUPPRESS: empty means all
//! task(&TaskInfo, &TaskContext) -> Result<CheckedTask, Rejection>   // becomes TASK_ERROR / TASK_INVALID
//! TaskContext<'a> { framework: &'a FrameworkRecord, agent_id: &'a AgentId, role: &'a str, remaining: &'a Resources (allocated to role),
//!                   id_in_use: bool, live_executor: Option<&'a ExecutorInfo> }
//! CheckedTask { info: TaskInfo (allocation injected, executor.framework_id, health check type), resources: Resources (task and
//!               executor unless live, allocated to role) }
//! driver(DriverSpec) -> Result<DriverSpec, Rejection>      // defaults filled in; becomes 400
//! ```
