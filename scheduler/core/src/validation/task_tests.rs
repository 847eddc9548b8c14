//! The rules for tasks, one by one.

use tepui_proto::v1::{CommandInfo, DurationInfo, FrameworkInfo};
use tepui_proto::{MediaType, wire};

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
    let mut mixed = good();
    mixed.resources.push(v1::Resource {
        revocable: Some(Default::default()),
        ..Resources::parse("cpus:1").unwrap().to_proto().remove(0)
    });
    let cgroups = |share: bool| v1::ContainerInfo {
        r#type: Some(v1::container_info::Type::Mesos as i32),
        linux_info: Some(v1::LinuxInfo { share_cgroups: Some(share), ..Default::default() }),
        ..Default::default()
    };
    let revocable = |text: &str| {
        let mut list = parse(text);
        list.iter_mut().for_each(|one| one.revocable = Some(Default::default()));
        list
    };
    let with_resource = |one: v1::Resource| {
        let mut info = good();
        info.resources.push(one);
        info
    };
    let mut host_path = crate::testing::volume(10, "r", "v");
    host_path.disk.as_mut().unwrap().volume.as_mut().unwrap().host_path = Some("/etc".into());
    let mut nameless = crate::testing::volume(10, "r", "v");
    nameless.disk.as_mut().unwrap().persistence = None;
    let limited = |name: &str, value: f64| {
        let mut info = good();
        info.limits.insert(name.into(), v1::value::Scalar { value: Some(value) });
        info
    };
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
        (limited("disk", 1.0), "disk"),
        (limited("cpus", 0.5), "limits"),
        (with_executor(ExecutorInfo { command: None, ..custom() }), "executor.command"),
        (with_executor(ExecutorInfo { executor_id: None, ..custom() }), "executor.executor_id"),
        (
            with_executor(ExecutorInfo {
                framework_id: Some(v1::FrameworkId { value: Some("g".into()) }),
                ..custom()
            }),
            "executor.framework_id",
        ),
        (
            with_executor(ExecutorInfo {
                r#type: Some(executor_info::Type::Default as i32),
                command: None,
                ..custom()
            }),
            "'executor.type' must be CUSTOM",
        ),
        (
            with_executor(ExecutorInfo { r#type: Some(executor_info::Type::Unknown as i32), ..custom() }),
            "executor.type",
        ),
        (
            with_executor(ExecutorInfo {
                shutdown_grace_period: Some(DurationInfo { nanoseconds: Some(-1) }),
                ..custom()
            }),
            "executor.shutdown_grace_period",
        ),
        (
            with_executor(ExecutorInfo { container: Some(cgroups(true)), ..custom() }),
            "'executor.container.linux_info.share_cgroups'",
        ),
        (TaskInfo { container: Some(cgroups(false)), ..good() }, "'container.linux_info.share_cgroups'"),
        (
            with_executor(ExecutorInfo {
                resources: vec![crate::testing::shared(crate::testing::volume(10, "r", "v"))],
                ..custom()
            }),
            "must not be shared",
        ),
        (with_executor(ExecutorInfo { resources: revocable("cpus:0.5"), ..custom() }), "mixes revocable"),
        (with_resource(host_path), "host_path"),
        (with_resource(nameless), "without 'disk.persistence'"),
        (
            TaskInfo {
                resources: vec![crate::testing::volume(10, "r", "v"), crate::testing::volume(20, "r", "v")],
                ..good()
            },
            "names the volume 'v' twice",
        ),
        (limited("gpus", 1.0), "only cpus and mem"),
        (limited("cpus", f64::NAN), "less than"),
        (limited("cpus", -1.0), "less than"),
        (limited("mem", f64::NEG_INFINITY), "less than"),
        (TaskInfo { resources: parse("mem:64"), ..limited("cpus", 1.0) }, "has none of it"),
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
fn a_limit_is_what_is_asked_for_or_more_and_may_be_infinite() {
    for (name, value) in
        [("mem", f64::INFINITY), ("cpus", f64::INFINITY), ("mem", 64.0), ("cpus", 1.0), ("mem", 1e300)]
    {
        let mut info = good();
        info.limits.insert(name.into(), v1::value::Scalar { value: Some(value) });
        assert!(judge(&info).is_ok(), "{name} {value}");
    }
    // In JSON infinity is a text, both ways.
    let json = r#"{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},"command":{"value":"true"},
        "resources":[{"name":"mem","type":"SCALAR","scalar":{"value":64}}],"limits":{"mem":{"value":"Infinity"}}}"#;
    let info: TaskInfo = wire::decode(MediaType::Json, json.as_bytes()).unwrap();
    assert_eq!(info.limits["mem"].value(), f64::INFINITY);
    assert!(judge(&info).is_ok());
    let shown = String::from_utf8(wire::encode(MediaType::Json, &info).to_vec()).unwrap();
    assert!(shown.contains(r#""limits":{"mem":{"value":"Infinity"}}"#), "{shown}");
}

#[test]
fn a_task_may_mount_a_volume_elsewhere_and_read_only() {
    let mut data = crate::testing::volume(10, "r", "v");
    let left = Resources::from_proto(&[parse("cpus:1;mem:64;ports:[10-12]"), vec![data.clone()]].concat());
    let mount = data.disk.as_mut().unwrap().volume.as_mut().unwrap();
    mount.container_path = Some("elsewhere".into());
    mount.mode = Some(v1::volume::Mode::Ro as i32);
    let mut info = good();
    info.resources.push(data);
    let context = TaskContext {
        framework: &framework(),
        agent_id: &AgentId::from("a"),
        role: "r",
        remaining: &left.unwrap().allocate("r"),
        id_in_use: false,
        live_executor: None,
    };
    assert!(task(&info, &context).is_ok());
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
