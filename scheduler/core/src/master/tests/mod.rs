//! Stories about the leading master, told through the harness.

mod absences;
mod accept;
mod admission;
mod agent_news;
mod agents;
mod attach;
mod drains;
mod executors;
mod frameworks;
mod kills;
mod leadership;
mod levels;
mod machines;
mod numbers;
mod offers;
mod operation_answers;
mod operations;
mod operator_resources;
mod pipeline;
mod reconciliation;
mod registration;
mod removals;
mod role_list;
mod settings;
mod sizes;
mod statuses;
mod suppression;
mod updates;
mod views;
mod volumes;
mod walk;
mod warm;
mod warnings;

use tepui_proto::v1::TaskState;

use crate::testing::{AgentPeer, FrameworkPeer, Harness, task};

/// An agent of four processors, a framework, and a running task `t` of one processor on it. Everything told is taken.
fn running() -> (Harness, AgentPeer, FrameworkPeer) {
    let mut harness = Harness::new();
    let (mut agent, framework) = launched(&mut harness);
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskRunning, crate::testing::uuid(1));
    let status = harness.update(&framework);
    harness.acknowledge(&framework, &status);
    harness.advance(200);
    harness.events(&framework);
    harness.orders(&agent);
    (harness, agent, framework)
}

/// An agent, a framework, and a task `t` whose launch has been sent. The rest of the offer is refused for a year.
fn launched(harness: &mut Harness) -> (AgentPeer, FrameworkPeer) {
    let agent = harness.agent("cpus:4;mem:1024");
    let framework = harness.framework("f");
    let offer = harness.offer(&framework);
    let mut one = task("t", "cpus:1;mem:64");
    one.agent_id = Some(agent.id.to_proto());
    let operations = vec![crate::testing::launch(vec![one])];
    harness.accept_with(&framework, &[&offer], operations, Some(1e9));
    (agent, framework)
}
