//! What a call of an executor must be by itself. Owns the texts of the refusals; the caller answers 400.

use prost::Message as _;
use tepui_proto::v1;
use v1::executor::{Call, call::Type};
use v1::task_status::Source;

const UUID_BYTES: usize = 16;
/// A status goes to the scheduler in one event, and some readers take no event above 4 MiB.
const STATUS_BYTES_MAX: usize = 4 << 20;
/// What goes to the master must fit into what it takes at once, with room to spare.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Checks a call against nothing but itself.
///
/// SUBSCRIBE without its `subscribe` member counts as one with nothing to report: some executors send that.
///
/// # Errors
/// The text names what is wrong.
pub fn check_call(call: &Call) -> Result<(), String> {
    if call.framework_id.as_ref().is_none_or(|id| id.value().is_empty()) {
        return Err("expecting 'framework_id' to be present".to_owned());
    }
    if call.executor_id.as_ref().is_none_or(|id| id.value().is_empty()) {
        return Err("expecting 'executor_id' to be present".to_owned());
    }
    match call.r#type() {
        Type::Unknown => Err("expecting 'type' to be present".to_owned()),
        Type::Heartbeat => Ok(()),
        Type::Subscribe => {
            let updates = call.subscribe.iter().flat_map(|subscribe| &subscribe.unacknowledged_updates);
            updates.into_iter().try_for_each(|update| {
                let checked = check_status(call, update.status.as_ref());
                checked.map_err(|reason| format!("unacknowledged update: {reason}"))
            })
        }
        Type::Update => {
            let update = call.update.as_ref().ok_or("expecting 'update' to be present")?;
            check_status(call, update.status.as_ref())
        }
        Type::Message => {
            let message = call.message.as_ref().ok_or("expecting 'message' to be present")?;
            match message.data().len() {
                0..=MESSAGE_BYTES_MAX => Ok(()),
                length => Err(format!("'message.data' has {length} bytes, more than {MESSAGE_BYTES_MAX}")),
            }
        }
    }
}

fn check_status(call: &Call, status: Option<&v1::TaskStatus>) -> Result<(), String> {
    let status = status.ok_or("expecting 'update.status' to be present")?;
    let length = status.encoded_len();
    if length > STATUS_BYTES_MAX {
        return Err(format!("'update.status' has {length} bytes, more than {STATUS_BYTES_MAX}"));
    }
    let uuid = status.uuid.as_ref().ok_or("expecting 'uuid' to be present")?;
    if uuid.len() != UUID_BYTES {
        return Err(format!("not a valid UUID: {} bytes, expecting {UUID_BYTES}", uuid.len()));
    }
    if status.task_id.as_ref().is_none_or(|id| id.value().is_empty()) {
        return Err("expecting 'task_id' to be present".to_owned());
    }
    if let Some(executor_id) = &status.executor_id
        && call.executor_id.as_ref() != Some(executor_id)
    {
        return Err(format!(
            "ExecutorID in Call: {} does not match ExecutorID in TaskStatus: {}",
            call.executor_id.as_ref().map_or("", v1::ExecutorId::value),
            executor_id.value()
        ));
    }
    if status.source.is_none() || status.source() != Source::Executor {
        return Err("received call from executor with 'source' that is not SOURCE_EXECUTOR".to_owned());
    }
    if status.state.is_none() || status.state() == v1::TaskState::TaskStaging {
        return Err("received TASK_STAGING from executor, which is not allowed".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn update(change: impl FnOnce(&mut v1::TaskStatus)) -> Call {
        let mut status = v1::TaskStatus {
            task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
            state: Some(v1::TaskState::TaskRunning.into()),
            source: Some(Source::Executor.into()),
            uuid: Some(Bytes::from_static(&[7; 16])),
            ..Default::default()
        };
        change(&mut status);
        Call {
            framework_id: Some(v1::FrameworkId { value: Some("f".to_owned()) }),
            executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
            r#type: Some(Type::Update.into()),
            update: Some(v1::executor::call::Update { status: Some(status) }),
            ..Default::default()
        }
    }

    fn message(length: usize) -> Call {
        let message = v1::executor::call::Message { data: Some(vec![0; length].into()) };
        Call { r#type: Some(Type::Message.into()), message: Some(message), ..update(|_| {}) }
    }

    #[test]
    fn each_flaw_is_named() {
        let named = |executor: &str| Some(v1::ExecutorId { value: Some(executor.to_owned()) });
        let cases: Vec<(Call, &str)> = vec![
            (update(|_| {}), ""),
            (update(|status| status.executor_id = named("e")), ""),
            (update(|status| status.executor_id = named("other")), "does not match"),
            (update(|status| status.uuid = None), "uuid"),
            (update(|status| status.uuid = Some(Bytes::from_static(b"short"))), "UUID"),
            (update(|status| status.source = None), "source"),
            (update(|status| status.source = Some(Source::Agent.into())), "source"),
            (update(|status| status.state = Some(v1::TaskState::TaskStaging.into())), "STAGING"),
            (update(|status| status.task_id = None), "task_id"),
            (update(|status| status.data = Some(vec![0; STATUS_BYTES_MAX - 200].into())), ""),
            (update(|status| status.data = Some(vec![0; STATUS_BYTES_MAX].into())), "'update.status' has"),
            (message(MESSAGE_BYTES_MAX), ""),
            (message(MESSAGE_BYTES_MAX + 1), "'message.data' has"),
            (Call { update: None, ..update(|_| {}) }, "'update'"),
            (Call { executor_id: None, ..update(|_| {}) }, "executor_id"),
            (Call { framework_id: None, ..update(|_| {}) }, "framework_id"),
            (Call { r#type: None, ..update(|_| {}) }, "'type'"),
            (Call { r#type: Some(Type::Message.into()), ..update(|_| {}) }, "'message'"),
            (Call { r#type: Some(Type::Subscribe.into()), ..update(|_| {}) }, ""),
            (Call { r#type: Some(Type::Heartbeat.into()), ..update(|_| {}) }, ""),
        ];
        for (call, expected) in cases {
            match check_call(&call) {
                Ok(()) => assert_eq!(expected, ""),
                Err(reason) => assert!(!expected.is_empty() && reason.contains(expected), "{reason}"),
            }
        }
    }
}
