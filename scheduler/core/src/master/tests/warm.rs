//! A standby that followed decides like a master that was just started; and a new leader of many agents takes them in slice by slice,
//! serving meanwhile.

use tepui_proto::tepui::agent_link::{Call, call};
use tepui_proto::v1::{self, quota};

use crate::ids::AgentId;
use crate::master::{Effect, Input, Master, MasterIdentity, Now, OperatorCall, Reply};
use crate::registry::{AdmitAgent, Envelope, Operation, Registry, TakeLead};
use crate::testing::{AgentPeer, Harness, agent_info, framework_info, launch, task};

/// So many agents are more than one slice.
const MANY: usize = 500;

/// A Registry with agents that a former leader admitted.
fn many_agents() -> Registry {
    let mut registry = Registry::default();
    let apply = |registry: &mut Registry, operation| {
        let envelope = Envelope { epoch: registry.epoch, operation: Some(operation), ..Default::default() };
        registry.apply(&envelope);
    };
    apply(&mut registry, Operation::TakeLead(TakeLead { node_id: 1, ..Default::default() }));
    for number in 0..MANY {
        let id = Some(v1::AgentId { value: Some(format!("a{number:04}")) });
        let info = v1::AgentInfo { id, ..agent_info(&format!("host-{number}"), "cpus:4;mem:4096") };
        let (boot_id, version, ip) = (format!("boot-{number}"), "0.1.0".to_owned(), "10.0.0.9".to_owned());
        apply(&mut registry, Operation::AdmitAgent(AdmitAgent { info: Some(info), version, boot_id, ip }));
    }
    registry
}

/// A harness whose master was just elected over this Registry, with everything that is due later still to be done.
fn elected(registry: Registry) -> Harness {
    let mut harness = Harness::new();
    harness.registry = registry;
    harness.reelect();
    harness
}

#[test]
fn nothing_is_offered_until_every_agent_is_taken_in() {
    let mut harness = elected(many_agents());
    assert!(harness.master.serving() && harness.master.behind());
    let framework = harness.framework("early");
    let mut agent = harness.agent("cpus:4;mem:4096");
    assert!(harness.master.behind(), "what is asked for now goes before the rest");
    assert!(harness.events(&framework).is_empty());
    let mut slices = 0;
    while harness.master.behind() {
        harness.advance(1);
        slices += 1;
        assert!(slices < 100, "it never ends");
    }
    assert!(slices > 1, "one slice was everything");
    harness.advance(100);
    let offers = harness.offers(&framework);
    assert_eq!(offers.len(), 1, "the one agent that is here");
    assert_eq!(offers[0].agent_id, Some(agent.id.to_proto()));
    harness.break_stream(agent.connection);
    harness.register(&mut agent);
}

#[test]
fn an_agent_that_did_not_hear_of_its_admission_is_known_at_once() {
    let mut harness = elected(many_agents());
    assert!(harness.master.behind());
    let other = harness.agent("cpus:4;mem:4096");
    let mut agent = AgentPeer { id: AgentId::from(""), boot_id: "boot-377".to_owned(), ..other };
    harness.register(&mut agent);
    assert_eq!(agent.id.as_str(), "a0377");
}

#[test]
fn a_quota_is_judged_when_the_whole_cluster_is_counted() {
    let mut harness = elected(many_agents());
    let scalar = |value: f64| v1::value::Scalar { value: Some(value) };
    let config = quota::QuotaConfig {
        role: Some("dev".to_owned()),
        guarantees: [("cpus".to_owned(), scalar(4.0 * MANY as f64))].into(),
        limits: [("cpus".to_owned(), scalar(4.0 * MANY as f64))].into(),
    };
    let request = harness.next_id();
    let call = OperatorCall::UpdateQuota { force: false, configs: vec![config] };
    harness.input(Input::Operator { request, call, principal: None, driver_token: None });
    assert_eq!(harness.reply(request), None, "not everybody is counted yet");
    harness.advance(1_000);
    assert_eq!(harness.reply(request), Some(Reply::Ok));
}

#[test]
fn deadlines_of_all_agents_are_armed() {
    let mut harness = elected(many_agents());
    harness.advance(1_000);
    assert_eq!(harness.master.timers.agents_awaited().count(), MANY);
    assert!(!harness.master.arms_deadlines());
    harness.advance(harness.config.agent_grace_ms);
    let left = harness.registry.reachable_agents();
    assert!((MANY / 2..MANY).contains(&left), "one after the other is given up, {left} are left");
}

/// The same inputs, and what comes of them.
fn decisions(mut master: Master, mut registry: Registry, inputs: &[Input]) -> Vec<Effect> {
    let identity = MasterIdentity { master_id: "m".to_owned(), node_id: 9, ..Default::default() };
    let mut now = Now { cluster_ms: registry.cluster_ms, wall_ms: 1 };
    let mut all = Vec::new();
    let elected = Input::Elected { registry: registry.clone(), identity, seed: [3; 32] };
    for input in [elected].into_iter().chain(inputs.iter().cloned()) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut effects = Vec::new();
            master.handle(now, input, &mut effects);
            master.check_invariants();
            let mut outcomes = Vec::new();
            for effect in &effects {
                if let Effect::Propose { proposal, envelope } = effect {
                    outcomes.push((*proposal, registry.apply(envelope).0));
                }
            }
            all.extend(effects);
            if !outcomes.is_empty() {
                next = Some(Input::Applied { registry: registry.clone(), outcomes });
            }
        }
        now.cluster_ms += 50;
    }
    all.retain(|effect| !matches!(effect, Effect::WakeAt { .. }));
    all
}

#[test]
fn a_standby_that_followed_decides_like_one_that_was_just_started() {
    let mut harness = Harness::new();
    let mut agents: Vec<_> = (0..6).map(|_| harness.agent("cpus:4;mem:4096;disk:1000")).collect();
    let frameworks: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|name| {
            harness.framework_with(v1::FrameworkInfo {
                role: Some(format!("role-{name}")),
                ..framework_info(name)
            })
        })
        .collect();
    harness.advance(100);
    for (number, framework) in frameworks.iter().enumerate() {
        for offer in harness.offers(framework) {
            let id = format!("t{number}-{}", offer.agent_id.clone().unwrap_or_default().value());
            let one = v1::TaskInfo { agent_id: offer.agent_id.clone(), ..task(&id, "cpus:1;mem:64") };
            harness.accept_with(framework, &[&offer], vec![launch(vec![one])], Some(0.0));
        }
    }
    harness.break_stream(agents[5].connection);
    harness.advance(200);
    let standby = std::mem::replace(&mut harness.standby, Master::new(harness.config.clone()));
    assert!(!standby.behind());
    let mut inputs = Vec::new();
    for agent in &mut agents[..4] {
        let register = call::Register {
            boot_id: Some(agent.boot_id.clone()),
            agent_info: Some(agent.info.clone()),
            version: Some("0.1.0".to_owned()),
            ip: Some("10.0.0.9".to_owned()),
            ..Default::default()
        };
        let call = Call {
            format: Some(1),
            r#type: Some(call::Type::Register as i32),
            agent_id: Some(agent.id.to_proto()),
            register: Some(register),
            ..Default::default()
        };
        let connection = harness.next_id();
        inputs.push(Input::AgentRegister { connection, stream_id: format!("s{connection}"), call });
    }
    for framework in &frameworks {
        let subscribe = v1::scheduler::call::Subscribe {
            framework_info: Some(framework.info.clone()),
            ..Default::default()
        };
        let call = v1::scheduler::Call {
            r#type: Some(v1::scheduler::call::Type::Subscribe as i32),
            framework_id: Some(framework.id.to_proto()),
            subscribe: Some(subscribe),
            ..Default::default()
        };
        let connection = harness.next_id();
        let stream_id = format!("s{connection}");
        inputs.push(Input::Subscribe { connection, stream_id, call, principal: None, driver_token: None });
    }
    inputs.extend((0..20).map(|_| Input::Tick));
    let warm = decisions(standby, harness.registry.clone(), &inputs);
    let cold = decisions(Master::new(harness.config.clone()), harness.registry.clone(), &inputs);
    let offered = warm.iter().filter(|effect| matches!(effect, Effect::ToFramework { .. })).count();
    assert!(offered > frameworks.len() * 2, "nothing was offered");
    assert_eq!(warm, cold);
}
