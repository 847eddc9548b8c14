//! Messages as tests need them, in one line each.

use bytes::Bytes;
use tepui_proto::resources::Resources;
use tepui_proto::tepui::operator::DriverSpec;
use tepui_proto::v1::{self, offer};

/// Parses `cpus:1;mem:64;ports:[1-2]`.
pub fn resources(text: &str) -> Vec<v1::Resource> {
    Resources::parse(text).expect("resources of a test").to_proto()
}

/// Whether these are the amounts of `text`, however reservations are written.
pub fn amount_to(list: &[v1::Resource], text: &str) -> bool {
    let read = Resources::from_proto(list).expect("resources of a message").unallocated();
    read == Resources::parse(text).expect("resources of a test")
}

/// A framework of the role `*` that waits an hour for its scheduler.
pub fn framework_info(name: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        user: Some("nobody".to_owned()),
        name: Some(name.to_owned()),
        failover_timeout: Some(3600.0),
        checkpoint: Some(true),
        ..Default::default()
    }
}

pub fn agent_info(hostname: &str, text: &str) -> v1::AgentInfo {
    v1::AgentInfo {
        hostname: Some(hostname.to_owned()),
        port: Some(5051),
        resources: resources(text),
        ..Default::default()
    }
}

/// A command task without an agent yet.
pub fn task(id: &str, text: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: Some(id.to_owned()),
        task_id: Some(v1::TaskId { value: Some(id.to_owned()) }),
        resources: resources(text),
        command: Some(v1::CommandInfo {
            value: Some("sleep 1".to_owned()),
            shell: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A task of a custom executor with resources of its own.
pub fn executor_task(id: &str, text: &str, executor: &str, executor_text: &str) -> v1::TaskInfo {
    let mut info = task(id, text);
    info.executor = Some(v1::ExecutorInfo {
        executor_id: Some(v1::ExecutorId { value: Some(executor.to_owned()) }),
        r#type: Some(v1::executor_info::Type::Custom as i32),
        command: info.command.take(),
        resources: resources(executor_text),
        data: Some(Bytes::from_static(b"data")),
        ..Default::default()
    });
    info
}

/// A LAUNCH_GROUP of tasks that have an executor, for which the first one's stands.
pub fn launch_group(tasks: Vec<v1::TaskInfo>) -> offer::Operation {
    let executor = tasks.first().and_then(|task| task.executor.clone());
    offer::Operation {
        r#type: Some(offer::operation::Type::LaunchGroup as i32),
        launch_group: Some(offer::operation::LaunchGroup {
            executor,
            task_group: Some(v1::TaskGroupInfo { tasks }),
        }),
        ..Default::default()
    }
}

/// A LAUNCH of these tasks.
pub fn launch(task_infos: Vec<v1::TaskInfo>) -> offer::Operation {
    offer::Operation {
        r#type: Some(offer::operation::Type::Launch as i32),
        launch: Some(offer::operation::Launch { task_infos }),
        ..Default::default()
    }
}

pub fn driver_spec(name: &str, text: &str) -> DriverSpec {
    DriverSpec {
        name: Some(name.to_owned()),
        command: Some(v1::CommandInfo { value: Some("driver".to_owned()), ..Default::default() }),
        resources: resources(text),
        ..Default::default()
    }
}

/// A uuid that is easy to recognise.
pub fn uuid(number: u8) -> Bytes {
    Bytes::copy_from_slice(&[number; 16])
}
