//! The rules for tasks, one by one.

use tepui_proto::v1::{CommandInfo, DurationInfo, FrameworkInfo};

use super::*;

fn parse(text: &str) -> Vec<v1::Resource> {
    Resources::parse(text).unwrap().to_proto()
}

fn good() -> TaskInfo {
    TaskInfo {
        name: Some("t".into()),
        task_id: Some(v1::TaskId { value: Some("t:1".into()) }),
        agent_id: Some(v1::AgentId { value: Some("a".into()) }),
        resources: parse("cpus:1;mem:64;ports:[10-12]"),
        command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    }
}

fn custom() -> ExecutorInfo {
    ExecutorInfo {
        executor_id: Some(v1::ExecutorId { value: Some("e".into()) }),
        command: Some(CommandInfo { value: Some("run".into()), ..Default::default() }),
        resources: parse("cpus:0.5;ports:[20-20]"),
        ..Default::default()
    }
}

fn with_executor(executor: ExecutorInfo) -> TaskInfo {
    TaskInfo { command: None, executor: Some(executor), ..good() }
}

fn framework() -> FrameworkRecord {
    let id = Some(v1::FrameworkId { value: Some("f".into()) });
    FrameworkRecord { info: Some(FrameworkInfo { id, ..Default::default() }), ..Default::default() }
}

fn judge_against(
    info: &TaskInfo,
    left: &str,
    live: Option<&ExecutorInfo>,
    id_in_use: bool,
) -> Result<CheckedTask, String> {
    let context = TaskContext {
        framework: &framework(),
        agent_id: &AgentId::from("a"),
        role: "r",
        remaining: &Resources::parse(left).unwrap().allocate("r"),
        id_in_use,
        live_executor: live,
    };
    task(info, &context).map_err(|error| error.reason)
}

fn judge(info: &TaskInfo) -> Result<CheckedTask, String> {
    judge_against(info, "cpus:4;mem:1024;ports:[1-100]", None, false)
}

#[test]
fn a_good_task_is_completed_and_counted() {
    let checked = judge(&good()).unwrap();
    let roles: Vec<_> =
        checked.info.resources.iter().map(|one| one.allocation_info.as_ref().unwrap().role()).collect();
    assert_eq!(roles, ["r", "r", "r"]);
    assert_eq!(checked.resources, Resources::from_proto(&good().resources).unwrap().allocate("r"));
}

#[test]
fn zero_gpus_are_nothing_rather_than_wrong() {
    let mut info = good();
    info.resources.push(v1::Resource {
        name: Some("gpus".into()),
        r#type: Some(v1::value::Type::Scalar as i32),
        scalar: Some(v1::value::Scalar { value: Some(0.0) }),
        ..Default::default()
    });
    assert!(judge(&info).is_ok());
}

#[test]
fn every_refusal_names_its_field() {
    let negative = Some(DurationInfo { nanoseconds: Some(-1) });
    let elsewhere = v1::resource::AllocationInfo { role: Some("other".into()) };
    let mut allocated = good();
    allocated.resources[0].allocation_info = Some(elsewhere);
    let mut limited = good();
    limited.limits.insert("disk".into(), v1::value::Scalar { value: Some(1.0) });
    let mut low = good();
    low.limits.insert("cpus".into(), v1::value::Scalar { value: Some(0.5) });
    let mut mixed = good();
    mixed.resources.push(v1::Resource {
        revocable: Some(Default::default()),
        ..Resources::parse("cpus:1").unwrap().to_proto().remove(0)
    });
    let docker =
        v1::ContainerInfo { r#type: Some(v1::container_info::Type::Docker as i32), ..Default::default() };
    let table = [
        (TaskInfo { task_id: None, ..good() }, "task_id"),
        (TaskInfo { task_id: Some(v1::TaskId { value: Some("a/b".into()) }), ..good() }, "task_id"),
        (TaskInfo { agent_id: Some(v1::AgentId { value: Some("b".into()) }), ..good() }, "agent_id"),
        (TaskInfo { name: None, ..good() }, "name"),
        (TaskInfo { resources: vec![], ..good() }, "'resources' is empty"),
        (TaskInfo { resources: parse("cpus:5"), ..good() }, "offers have left"),
        (TaskInfo { resources: parse("ports:[99-101]"), ..good() }, "offers have left"),
        (allocated, "'other'"),
        (mixed, "revocable"),
        (TaskInfo { command: None, ..good() }, "neither"),
        (TaskInfo { executor: Some(custom()), ..good() }, "both"),
        (TaskInfo { command: Some(CommandInfo::default()), ..good() }, "command.value"),
        (TaskInfo { kill_policy: Some(v1::KillPolicy { grace_period: negative }), ..good() }, "grace_period"),
        (TaskInfo { max_completion_time: negative, ..good() }, "max_completion_time"),
        (TaskInfo { container: Some(docker), ..good() }, "container.docker"),
        (TaskInfo { check: Some(Default::default()), ..good() }, "check.type"),
        (TaskInfo { health_check: Some(Default::default()), ..good() }, "health_check.type"),
        (limited, "disk"),
        (low, "limits"),
        (with_executor(ExecutorInfo { command: None, ..custom() }), "executor.command"),
        (with_executor(ExecutorInfo { executor_id: None, ..custom() }), "executor.executor_id"),
        (
            with_executor(ExecutorInfo {
                framework_id: Some(v1::FrameworkId { value: Some("g".into()) }),
                ..custom()
            }),
            "executor.framework_id",
        ),
        (with_executor(ExecutorInfo { resources: parse("ports:[12-13]"), ..custom() }), "overlap"),
        (with_executor(ExecutorInfo { resources: parse("cpus:3.5"), ..custom() }), "offers have left"),
    ];
    for (info, field) in table {
        let reason = judge(&info).unwrap_err();
        assert!(reason.contains(field), "{reason} should name {field}");
    }
}

#[test]
fn an_id_in_use_is_refused() {
    assert!(judge_against(&good(), "cpus:4;mem:64;ports:[1-99]", None, true).unwrap_err().contains("in use"));
}

#[test]
fn infinite_limits_are_limits() {
    let mut info = good();
    info.limits.insert("mem".into(), v1::value::Scalar { value: Some(f64::INFINITY) });
    assert!(judge(&info).is_ok());
}

#[test]
fn a_health_check_gets_its_type_from_its_member() {
    let http = v1::health_check::HttpCheckInfo { port: Some(80), ..Default::default() };
    let health = v1::HealthCheck { http: Some(http), ..Default::default() };
    let checked = judge(&TaskInfo { health_check: Some(health), ..good() }).unwrap();
    assert_eq!(checked.info.health_check.unwrap().r#type(), v1::health_check::Type::Http);
}

#[test]
fn an_executor_is_charged_once_and_must_stay_the_same() {
    let first = judge(&with_executor(custom())).unwrap();
    assert_eq!(first.resources.scalar("cpus"), Millis(1_500));
    let live = first.info.executor.clone().unwrap();
    assert_eq!(live.r#type(), executor_info::Type::Custom);
    let left = "cpus:1;mem:64;ports:[1-100]";
    let again = judge_against(&with_executor(custom()), left, Some(&live), false).unwrap();
    assert_eq!(again.resources.scalar("cpus"), Millis(1_000));
    let other = ExecutorInfo { name: Some("x".into()), ..custom() };
    assert!(judge_against(&with_executor(other), left, Some(&live), false).unwrap_err().contains("differs"));
}
