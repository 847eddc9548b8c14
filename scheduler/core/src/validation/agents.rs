//! The shape of what agents say.
//!
//! Owns format, required members, identifiers and resources of agent calls. An agent belongs to us, but an old, broken or
//! strange one must not be able to do harm.

use std::collections::BTreeSet;

use tepui_proto::resources::Resources;
use tepui_proto::tepui::agent_link::{AgentTask, Call, call::Register, call::Type};
use tepui_proto::v1;
use tepui_proto::wire::WireMessage;

use super::Rejection;
use super::calls::{id, uuid};

/// The version of the conversation with agents that this master speaks.
pub const AGENT_LINK_FORMAT: u32 = 1;

/// Checks what can be told from an agent's call alone.
///
/// # Errors
/// Names the first field that is wrong.
pub fn agent_call(call: &Call) -> Result<(), Rejection> {
    match call.format {
        Some(AGENT_LINK_FORMAT) => {}
        Some(other) => {
            return Err(Rejection::new(format!(
                "'format' is {other}; this master speaks format {AGENT_LINK_FORMAT}"
            )));
        }
        None => return Err(Rejection::new("'format' is not set")),
    }
    if let Some(field) = call.missing() {
        return Err(Rejection::new(format!("required field '{field}' is not set")));
    }
    let absent = |member: &str| Rejection::new(format!("'{member}' is not set"));
    if call.r#type() != Type::Register {
        id("agent_id", call.agent_id.as_ref().map(v1::AgentId::value))?;
    }
    match call.r#type() {
        Type::Unknown => Err(absent("type")),
        Type::Register | Type::Tell => {
            register(call, call.register.as_ref().ok_or_else(|| absent("register"))?)
        }
        Type::Attach => {
            let attach = call.attach.as_ref().ok_or_else(|| absent("attach"))?;
            if attach.standing().is_empty() { Err(absent("attach.standing")) } else { Ok(()) }
        }
        Type::Update => {
            let update = call.update.as_ref().ok_or_else(|| absent("update"))?;
            id("update.framework_id", update.framework_id.as_ref().map(v1::FrameworkId::value))?;
            let status = update.status.as_ref().ok_or_else(|| absent("update.status"))?;
            self::status("update.status", status)
        }
        Type::ExecutorExited => {
            let exited = call.executor_exited.as_ref().ok_or_else(|| absent("executor_exited"))?;
            id("executor_exited.framework_id", exited.framework_id.as_ref().map(v1::FrameworkId::value))?;
            id("executor_exited.executor_id", exited.executor_id.as_ref().map(v1::ExecutorId::value))
        }
        Type::Message => {
            let message = call.message.as_ref().ok_or_else(|| absent("message"))?;
            id("message.framework_id", message.framework_id.as_ref().map(v1::FrameworkId::value))?;
            id("message.executor_id", message.executor_id.as_ref().map(v1::ExecutorId::value))
        }
        Type::ResourcesAccepted if call.resources_version.is_none() => Err(absent("resources_version")),
        Type::Pong | Type::Unregister | Type::Accepted | Type::ResourcesAccepted => Ok(()),
    }
}

fn register(call: &Call, register: &Register) -> Result<(), Rejection> {
    if let Some(agent_id) = &call.agent_id {
        id("agent_id", Some(agent_id.value()))?;
    }
    if register.boot_id().is_empty() {
        return Err(Rejection::new("'register.boot_id' is not set"));
    }
    let info =
        register.agent_info.as_ref().ok_or_else(|| Rejection::new("'register.agent_info' is not set"))?;
    if info.hostname().is_empty() {
        return Err(Rejection::new("'register.agent_info.hostname' is empty"));
    }
    if !(1..=65_535).contains(&info.port()) {
        return Err(Rejection::new(format!("'register.agent_info.port' is {}, not a port", info.port())));
    }
    resources("register.agent_info.resources", &info.resources)?;
    super::own_resources("register.agent_info.resources", &info.resources)?;
    resources("register.resources", &register.resources)?;
    resources("register.orphaned_volumes", &register.orphaned_volumes)?;
    let mut seen = BTreeSet::new();
    for task in &register.tasks {
        agent_task(task)?;
        let info = task.task.as_ref();
        let framework_id = task.framework_id.as_ref().map_or("", v1::FrameworkId::value);
        let task_id = info.and_then(|info| info.task_id.as_ref()).map_or("", v1::TaskId::value);
        if !seen.insert((framework_id, task_id)) {
            return Err(Rejection::new(format!("'register.tasks' names '{framework_id}/{task_id}' twice")));
        }
    }
    for framework in &register.frameworks {
        id("register.frameworks.id", framework.id.as_ref().map(v1::FrameworkId::value))?;
    }
    Ok(())
}

fn agent_task(task: &AgentTask) -> Result<(), Rejection> {
    id("register.tasks.framework_id", task.framework_id.as_ref().map(v1::FrameworkId::value))?;
    let info = task.task.as_ref().ok_or_else(|| Rejection::new("'register.tasks.task' is not set"))?;
    id("register.tasks.task.task_id", info.task_id.as_ref().map(v1::TaskId::value))?;
    resources("register.tasks.task.resources", &info.resources)?;
    if let Some(executor) = &info.executor {
        id(
            "register.tasks.task.executor.executor_id",
            executor.executor_id.as_ref().map(v1::ExecutorId::value),
        )?;
        resources("register.tasks.task.executor.resources", &executor.resources)?;
    }
    for status in [&task.unacknowledged, &task.latest_status].into_iter().flatten() {
        self::status("register.tasks.status", status)?;
    }
    Ok(())
}

fn status(field: &str, status: &v1::TaskStatus) -> Result<(), Rejection> {
    id(&format!("{field}.task_id"), status.task_id.as_ref().map(v1::TaskId::value))?;
    match &status.uuid {
        Some(given) => uuid(&format!("{field}.uuid"), Some(given)),
        None => Ok(()),
    }
}

fn resources(field: &str, resources: &[v1::Resource]) -> Result<(), Rejection> {
    Resources::from_proto(resources)
        .map(drop)
        .map_err(|error| Rejection::new(format!("'{field}' is not valid: {error}")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tepui_proto::tepui::agent_link;

    use super::*;

    fn registration() -> Call {
        let info = v1::AgentInfo { hostname: Some("h".into()), ..Default::default() };
        let task = AgentTask {
            framework_id: Some(v1::FrameworkId { value: Some("f".into()) }),
            task: Some(v1::TaskInfo {
                name: Some("t".into()),
                task_id: Some(v1::TaskId { value: Some("t".into()) }),
                agent_id: Some(v1::AgentId { value: Some("a".into()) }),
                ..Default::default()
            }),
            ..Default::default()
        };
        Call {
            format: Some(1),
            r#type: Some(Type::Register as i32),
            register: Some(Register {
                boot_id: Some("b".into()),
                agent_info: Some(info),
                tasks: vec![task],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn reason(call: &Call) -> String {
        agent_call(call).unwrap_err().reason
    }

    #[test]
    fn an_unknown_format_is_refused_with_its_number() {
        assert_eq!(agent_call(&registration()), Ok(()));
        let reason = reason(&Call { format: Some(7), ..registration() });
        assert!(reason.contains('7') && reason.contains("format 1"), "{reason}");
    }

    #[test]
    fn registrations_are_whole() {
        let mut call = registration();
        let edit = |change: &dyn Fn(&mut Register)| {
            let mut call = registration();
            change(call.register.as_mut().unwrap());
            reason(&call)
        };
        assert!(edit(&|register| register.boot_id = None).contains("boot_id"));
        assert!(edit(&|register| register.agent_info = None).contains("agent_info"));
        assert!(edit(&|register| register.tasks.push(register.tasks[0].clone())).contains("twice"));
        assert!(edit(&|register| register.tasks[0].framework_id = None).contains("framework_id"));
        assert!(
            edit(&|register| register.agent_info.as_mut().unwrap().resources = vec![v1::Resource {
                name: Some("cpus".into()),
                r#type: Some(0),
                scalar: Some(v1::value::Scalar { value: Some(-1.0) }),
                ..Default::default()
            }])
            .contains("register.agent_info.resources")
        );
        call.register = None;
        assert!(reason(&call).contains("'register'"));
    }

    #[test]
    fn updates_name_their_task() {
        let status = v1::TaskStatus {
            task_id: Some(v1::TaskId { value: Some("t".into()) }),
            state: Some(1),
            uuid: Some(Bytes::from_static(b"0123456789abcdef")),
            ..Default::default()
        };
        let update = agent_link::call::Update {
            framework_id: Some(v1::FrameworkId { value: Some("f".into()) }),
            status: Some(status),
            ..Default::default()
        };
        let mut call = Call {
            format: Some(1),
            r#type: Some(Type::Update as i32),
            agent_id: Some(v1::AgentId { value: Some("a".into()) }),
            update: Some(update),
            ..Default::default()
        };
        assert_eq!(agent_call(&call), Ok(()));
        call.update.as_mut().unwrap().status.as_mut().unwrap().uuid = Some(Bytes::from_static(b"x"));
        assert!(reason(&call).contains("uuid"));
        call.agent_id = None;
        assert!(reason(&call).contains("agent_id"));
    }
}
