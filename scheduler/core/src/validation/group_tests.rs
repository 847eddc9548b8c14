//! The rules for groups, one by one: what spoils a group spoils all of it.

use tepui_proto::v1::container_info::{self, DockerInfo, MesosInfo};
use tepui_proto::v1::{
    CommandInfo, ContainerInfo, FrameworkInfo, HealthCheck, Image, NetworkInfo, health_check,
};

use super::*;
use crate::ids::AgentId;
use crate::registry::FrameworkRecord;

fn parse(text: &str) -> Vec<v1::Resource> {
    Resources::parse(text).unwrap().to_proto()
}

fn member(id: &str) -> TaskInfo {
    TaskInfo {
        name: Some(id.into()),
        task_id: Some(v1::TaskId { value: Some(id.into()) }),
        agent_id: Some(v1::AgentId { value: Some("a".into()) }),
        resources: parse("cpus:1;mem:64"),
        command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    }
}

fn default_executor() -> ExecutorInfo {
    ExecutorInfo {
        executor_id: Some(v1::ExecutorId { value: Some("e".into()) }),
        r#type: Some(executor_info::Type::Default as i32),
        resources: parse("cpus:0.1;mem:32;disk:8"),
        ..Default::default()
    }
}

fn judge(
    tasks: &[TaskInfo],
    executor: Option<&ExecutorInfo>,
    left: &Resources,
) -> Result<Vec<CheckedTask>, String> {
    // As the master does before it asks.
    let with_executor = |task: &TaskInfo| TaskInfo {
        executor: task.executor.clone().or_else(|| executor.cloned()),
        ..task.clone()
    };
    let tasks: Vec<TaskInfo> = tasks.iter().map(with_executor).collect();
    let info = FrameworkInfo { id: Some(v1::FrameworkId { value: Some("f".into()) }), ..Default::default() };
    let framework = FrameworkRecord { info: Some(info), ..Default::default() };
    let context = GroupContext {
        task: TaskContext {
            framework: &framework,
            agent_id: &AgentId::from("a"),
            role: "r",
            remaining: &left.allocate("r"),
            id_in_use: false,
            live_executor: None,
        },
        executor,
        id_in_use: &tasks.iter().map(|task| task.name() == "known").collect::<Vec<bool>>(),
        share_cgroups: None,
    };
    group(&tasks, &context).map_err(|error| error.reason)
}

fn left() -> Resources {
    Resources::parse("cpus:4;mem:1024;disk:64;ports:[1-100]").unwrap()
}

fn mesos(image: Option<Image>) -> ContainerInfo {
    ContainerInfo {
        r#type: Some(container_info::Type::Mesos as i32),
        mesos: Some(MesosInfo { image }),
        ..Default::default()
    }
}

fn docker() -> ContainerInfo {
    ContainerInfo {
        r#type: Some(container_info::Type::Docker as i32),
        docker: Some(DockerInfo { image: Some("i".into()), ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn the_executor_is_paid_for_once_and_given_to_every_member() {
    let checked = judge(&[member("x"), member("y")], Some(&default_executor()), &left()).unwrap();
    assert_eq!(checked[0].resources.scalar("cpus"), Millis(1_100));
    assert_eq!(checked[1].resources.scalar("cpus"), Millis(1_000));
    for task in &checked {
        let executor = task.info.executor.as_ref().unwrap();
        assert_eq!(executor.framework_id.as_ref().unwrap().value(), "f");
        assert!(executor.resources.iter().all(|one| one.allocation_info.as_ref().unwrap().role() == "r"));
    }
}

#[test]
fn what_is_wrong_with_the_executor_is_named() {
    let good = default_executor();
    let command = CommandInfo { value: Some("run".into()), ..Default::default() };
    let table = [
        (None, "'launch_group.executor'"),
        (Some(ExecutorInfo { executor_id: None, ..good.clone() }), "executor_id"),
        (Some(ExecutorInfo { r#type: None, ..good.clone() }), "executor.type"),
        (Some(ExecutorInfo { r#type: Some(0), ..good.clone() }), "executor.type"),
        (Some(ExecutorInfo { command: Some(command), ..good.clone() }), "executor.command"),
        (
            Some(ExecutorInfo { r#type: Some(executor_info::Type::Custom as i32), ..good.clone() }),
            "executor.command",
        ),
        (Some(ExecutorInfo { container: Some(docker()), ..good.clone() }), "docker"),
        (Some(ExecutorInfo { container: Some(mesos(Some(Image::default()))), ..good.clone() }), "image"),
        (Some(ExecutorInfo { resources: parse("cpus:0.009;mem:32;disk:8"), ..good.clone() }), "'cpus'"),
        (Some(ExecutorInfo { resources: parse("cpus:0.01;mem:31;disk:8"), ..good.clone() }), "'mem'"),
        (Some(ExecutorInfo { resources: parse("cpus:0.01;mem:32"), ..good.clone() }), "'disk'"),
        (
            Some(ExecutorInfo {
                framework_id: Some(v1::FrameworkId { value: Some("g".into()) }),
                ..good.clone()
            }),
            "executor.framework_id",
        ),
    ];
    for (executor, word) in table {
        let reason = judge(&[member("x")], executor.as_ref(), &left()).unwrap_err();
        assert!(reason.contains(word), "{reason} should name {word}");
    }
    let networked = ExecutorInfo { container: Some(mesos(None)), ..good };
    assert!(judge(&[member("x")], Some(&networked), &left()).is_ok());
}

#[test]
fn what_is_wrong_with_one_member_is_named_with_its_id() {
    let own_network = ContainerInfo { network_infos: vec![NetworkInfo::default()], ..mesos(None) };
    let check = |kind: health_check::Type| HealthCheck {
        r#type: Some(kind as i32),
        http: Some(health_check::HttpCheckInfo { port: Some(80), ..Default::default() }),
        tcp: Some(health_check::TcpCheckInfo { port: Some(80), ..Default::default() }),
        command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    };
    let checked = |kind| TaskInfo {
        container: Some(own_network.clone()),
        health_check: Some(check(kind)),
        ..member("y")
    };
    let other = ExecutorInfo { name: Some("another".into()), ..default_executor() };
    let mut ported = default_executor();
    ported.resources.extend(parse("ports:[5-6]"));
    let executor = default_executor();
    let cgroups = |share: bool| ContainerInfo {
        linux_info: Some(v1::LinuxInfo { share_cgroups: Some(share), ..Default::default() }),
        ..mesos(None)
    };
    let limits = [("mem".to_owned(), v1::value::Scalar { value: Some(128.0) })];
    let limited = |container: Option<ContainerInfo>| TaskInfo {
        limits: limits.iter().cloned().collect(),
        container,
        ..member("y")
    };
    let with_data = |data: &'static str| ExecutorInfo { data: Some(data.into()), ..default_executor() };
    let table = [
        (limited(None), "'limits' need"),
        (limited(Some(mesos(None))), "'limits' need"),
        (limited(Some(cgroups(true))), "'limits' need"),
        // The other member shares them.
        (limited(Some(cgroups(false))), "share_cgroups' differs"),
        (TaskInfo { executor: Some(with_data("other")), ..member("y") }, "differs from that of the group"),
        (TaskInfo { name: None, ..member("y") }, "'name'"),
        (member("x"), "'task_id' is in use"),
        (TaskInfo { name: Some("known".into()), ..member("y") }, "'task_id' is in use"),
        (TaskInfo { task_id: None, ..member("y") }, "task_id"),
        (TaskInfo { agent_id: Some(v1::AgentId { value: Some("b".into()) }), ..member("y") }, "agent_id"),
        (TaskInfo { resources: vec![], ..member("y") }, "'resources' is empty"),
        (TaskInfo { resources: parse("cpus:3.5"), ..member("y") }, "more than"),
        (TaskInfo { container: Some(docker()), ..member("y") }, "docker"),
        (TaskInfo { executor: Some(other), ..member("y") }, "differs from that of the group"),
        (checked(health_check::Type::Http), "health_check"),
        (checked(health_check::Type::Tcp), "health_check"),
        (
            TaskInfo {
                kill_policy: Some(v1::KillPolicy {
                    grace_period: Some(v1::DurationInfo { nanoseconds: Some(-1) }),
                }),
                ..member("y")
            },
            "grace_period",
        ),
    ];
    for (bad, word) in table {
        let reason = judge(&[member("x"), bad], Some(&executor), &left()).unwrap_err();
        assert!(reason.contains(word), "{reason} should name {word}");
    }
    let overlap = TaskInfo { resources: parse("cpus:1;ports:[6-7]"), ..member("y") };
    assert!(judge(&[overlap], Some(&ported), &left()).unwrap_err().contains("overlap"));
    assert!(judge(&[], Some(&executor), &left()).unwrap_err().contains("no tasks"));
    let port =
        |id: &str, ports: &str| TaskInfo { resources: parse(&format!("cpus:1;{ports}")), ..member(id) };
    let same = [port("x", "ports:[5-7]"), port("y", "ports:[7-9]")];
    assert!(judge(&same, Some(&executor), &left()).unwrap_err().contains("overlap"));
    let apart = [port("x", "ports:[5-6]"), port("y", "ports:[7-9]")];
    assert!(judge(&apart, Some(&executor), &left()).is_ok());
    let mut revocable = port("y", "ports:[7-9]");
    revocable.resources[0].revocable = Some(Default::default());
    let mixed = judge(&[member("x"), revocable], Some(&executor), &left()).unwrap_err();
    assert!(mixed.contains("mixes revocable"), "{mixed}");
    let unshared = |id: &str| TaskInfo {
        task_id: Some(v1::TaskId { value: Some(id.into()) }),
        ..limited(Some(cgroups(false)))
    };
    assert!(judge(&[unshared("x"), unshared("y")], Some(&executor), &left()).is_ok());
    let sharing = ExecutorInfo { container: Some(cgroups(true)), ..default_executor() };
    assert!(judge(&[member("x")], Some(&sharing), &left()).unwrap_err().contains("share_cgroups"));
    for good in [
        checked(health_check::Type::Command),
        TaskInfo { executor: Some(executor.clone()), ..member("y") },
        TaskInfo { health_check: Some(check(health_check::Type::Http)), ..member("y") },
    ] {
        assert!(judge(&[member("x"), good], Some(&executor), &left()).is_ok());
    }
}

#[test]
fn members_may_share_a_volume() {
    let data = crate::testing::shared(crate::testing::volume(10, "r", "v"));
    let with = |id: &str| {
        let mut task = member(id);
        task.resources.push(data.clone());
        task
    };
    let left = left() + &Resources::from_proto(std::slice::from_ref(&data)).unwrap();
    let checked = judge(&[with("x"), with("y")], Some(&default_executor()), &left);
    assert!(checked.is_ok(), "{checked:?}");
}

#[test]
fn a_group_shares_cgroups_as_the_tasks_do_that_its_executor_has_already() {
    let executor = default_executor();
    let task = TaskInfo { executor: Some(executor.clone()), ..member("x") };
    let info = FrameworkInfo { id: Some(v1::FrameworkId { value: Some("f".into()) }), ..Default::default() };
    let framework = FrameworkRecord { info: Some(info), ..Default::default() };
    let judge = |share_cgroups: Option<bool>| {
        let context = GroupContext {
            task: TaskContext {
                framework: &framework,
                agent_id: &AgentId::from("a"),
                role: "r",
                remaining: &left().allocate("r"),
                id_in_use: false,
                live_executor: None,
            },
            executor: Some(&executor),
            id_in_use: &[false],
            share_cgroups,
        };
        group(std::slice::from_ref(&task), &context).is_ok()
    };
    assert_eq!([None, Some(true), Some(false)].map(judge), [true, true, false]);
}
