//! Stories about drivers. The rules of their supervision each come from somebody else's bug.

use bytes::Bytes;
use tepui_proto::tepui::operator::{
    self, DriverSpec, DriverState, Supervise, call, response, supervise::Policy,
};
use tepui_proto::v1::{self, TaskState};

use super::get_drivers;
use crate::ids::TaskKey;
use crate::master::{OperatorCall, Reply};
use crate::testing::{AgentPeer, FrameworkPeer, Harness, driver_spec, framework_info, uuid};

mod calls;
mod failover;
mod runs;

const LEASE_MS: u64 = 10_000;

/// A cluster with one driver `d`.
pub(super) struct Story {
    pub(super) harness: Harness,
    updates: u8,
}

/// What the process of a driver finds in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Launched {
    pub(super) task_id: String,
    pub(super) generation: u64,
    pub(super) token: String,
    pub(super) framework_id: String,
}

impl Story {
    pub(super) fn new() -> Story {
        Story { harness: Harness::new(), updates: 0 }
    }

    /// A story in which `d` was submitted and launched on the one agent.
    pub(super) fn launched(spec: DriverSpec) -> (Story, AgentPeer, Launched) {
        let mut story = Story::new();
        let mut agent = story.harness.agent("cpus:4;mem:1024");
        assert!(story.submit(spec).created());
        let launched = story.take_launch(&mut agent);
        (story, agent, launched)
    }

    /// The same, with the task running.
    pub(super) fn running(spec: DriverSpec) -> (Story, AgentPeer, Launched) {
        let (mut story, mut agent, launched) = Story::launched(spec);
        story.report(&mut agent, &launched, TaskState::TaskRunning);
        assert_eq!(story.state(), DriverState::DriverRunning);
        (story, agent, launched)
    }

    pub(super) fn submit(&mut self, spec: DriverSpec) -> response::SubmitDriver {
        self.harness.operate(OperatorCall::SubmitDriver(spec), None).submit_driver.unwrap()
    }

    pub(super) fn kill(&mut self) -> Option<Reply> {
        let call = call::KillDriver { name: Some("d".into()), grace_ms: Some(1_500) };
        self.harness.operator(OperatorCall::KillDriver(call), None)
    }

    pub(super) fn driver(&self) -> operator::Driver {
        get_drivers(&self.harness.registry, Some("d")).drivers.remove(0)
    }

    pub(super) fn state(&self) -> DriverState {
        self.driver().state()
    }

    /// Lets the allocator run, and the agent take the launch that must come.
    pub(super) fn take_launch(&mut self, agent: &mut AgentPeer) -> Launched {
        self.harness.advance(50);
        loop {
            let order = self.harness.order(agent);
            let Some(run) = order.run_task else { continue };
            agent.accepted_launch_seq = run.launch_seq.unwrap();
            let task = run.task.unwrap();
            agent.frameworks = vec![run.framework.clone().unwrap()];
            agent.tasks.push(tepui_proto::tepui::agent_link::AgentTask {
                framework_id: run.framework.unwrap().id,
                task: Some(task.clone()),
                launch_seq: run.launch_seq,
                state: Some(TaskState::TaskStaging as i32),
                ..Default::default()
            });
            let variables = task.command.unwrap().environment.unwrap().variables;
            let value = |name: &str| {
                let found: Vec<_> = variables.iter().filter(|one| one.name() == name).collect();
                assert_eq!(found.len(), 1, "{name}");
                found[0].value().to_owned()
            };
            assert_eq!(value("TEPUI_DRIVER_NAME"), "d");
            assert_eq!(value("TEPUI_MASTERS"), self.harness.config.masters);
            return Launched {
                task_id: task.task_id.unwrap().value().to_owned(),
                generation: value("TEPUI_DRIVER_GENERATION").parse().unwrap(),
                token: value("TEPUI_DRIVER_TOKEN"),
                framework_id: value("TEPUI_FRAMEWORK_ID"),
            };
        }
    }

    /// Nothing is launched for so long.
    pub(super) fn no_launch(&mut self, agent: &AgentPeer, ms: u64) {
        self.quiet(agent, ms);
        let orders = self.harness.orders(agent);
        assert!(orders.iter().all(|order| order.run_task.is_none()), "{orders:?}");
    }

    /// Lets time pass while the agent answers its pings.
    pub(super) fn quiet(&mut self, agent: &AgentPeer, ms: u64) {
        for _ in 0..ms / 1_000 {
            self.harness.advance(1_000);
            if !self.harness.is_closed(agent.connection) {
                self.harness.pong(agent);
            }
        }
        self.harness.advance(ms % 1_000);
    }

    pub(super) fn report(&mut self, agent: &mut AgentPeer, launched: &Launched, state: TaskState) {
        self.updates += 1;
        let status = self.harness.report(agent, &launched.task_id, state, uuid(self.updates));
        assert_eq!(status, 202);
        // Until the batch of observations has been written.
        self.harness.advance(self.harness.config.observe_interval_ms + 1);
        if state.is_terminal() {
            self.harness.forget(agent, &launched.task_id);
        }
    }

    pub(super) fn renew(&mut self, launched: &Launched) -> response::RenewLease {
        let call = call::RenewLease { name: Some("d".into()), generation: Some(launched.generation) };
        let response = self.harness.operate(OperatorCall::RenewLease(call), Some(&launched.token));
        response.renew_lease.unwrap()
    }

    pub(super) fn subscribe(&mut self, launched: &Launched) -> FrameworkPeer {
        let id = Some(v1::FrameworkId { value: Some(launched.framework_id.clone()) });
        let info = v1::FrameworkInfo { id, failover_timeout: None, ..framework_info("stream") };
        self.harness.subscribe(info, Some(&launched.token))
    }

    pub(super) fn write(&mut self, launched: &Launched, expected: u64, value: &str) -> response::StateCas {
        let call = call::StateCas {
            scope: Some("d".into()),
            key: Some("stream".into()),
            expected_version: Some(expected),
            generation: Some(launched.generation),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        };
        let response = self.harness.operate(OperatorCall::StateCas(call), Some(&launched.token));
        response.state_cas.unwrap()
    }

    /// The agent dies with everything on it: its stream ends.
    pub(super) fn lose(&mut self, agent: &AgentPeer) {
        self.harness.break_stream(agent.connection);
    }

    pub(super) fn task_state(&self, launched: &Launched) -> Option<TaskState> {
        let key = TaskKey::new(crate::ids::DRIVERS_FRAMEWORK, launched.task_id.as_str());
        self.harness.registry.tasks.get(&key).map(|record| record.state())
    }

    /// Task ids that the agent was told to kill.
    pub(super) fn kills(&mut self, agent: &AgentPeer) -> Vec<String> {
        let orders = self.harness.orders(agent);
        let kills = orders.into_iter().filter_map(|order| order.kill_task);
        kills.map(|kill| kill.task_id.unwrap().value().to_owned()).collect()
    }
}

/// The driver `d` under a policy: three restarts a minute, back-off from one to four seconds.
pub(super) fn under(policy: Policy) -> DriverSpec {
    DriverSpec {
        supervise: Some(Supervise {
            policy: Some(policy as i32),
            max_restarts: Some(3),
            within_ms: Some(60_000),
            backoff_initial_ms: Some(1_000),
            backoff_max_ms: Some(4_000),
            healthy_after_ms: Some(30_000),
        }),
        lease_ms: Some(LEASE_MS),
        ..driver_spec("d", "cpus:1;mem:128")
    }
}
