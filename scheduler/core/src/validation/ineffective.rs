//! What a task may ask for although no agent does it yet: such a task is launched, and whoever launches it is told.
//!
//! Owns the list. What agents refuse with a status of the task, like images and the DEFAULT executor, is not on it; nor is what an executor of
//! the framework's own is asked for, which does it or not as it likes.

use tepui_proto::v1::{CommandInfo, ExecutorInfo, TaskInfo};

/// Returns for each field of a valid task that it has no effect, and why.
pub fn ineffective(info: &TaskInfo) -> Vec<String> {
    let has_user = |command: Option<&CommandInfo>| command.is_some_and(|command| command.user.is_some());
    let executor: Option<&ExecutorInfo> = info.executor.as_ref();
    let by_agent = executor.is_none();
    let as_agent = "processes run as the user of their agent";
    let unchecked = "agents do not check their tasks";
    let fields = [
        (by_agent && has_user(info.command.as_ref()), "command.user", as_agent),
        (
            has_user(executor.and_then(|executor| executor.command.as_ref())),
            "executor.command.user",
            as_agent,
        ),
        (by_agent && info.health_check.is_some(), "health_check", unchecked),
        (by_agent && info.check.is_some(), "check", unchecked),
        (!info.limits.is_empty(), "limits", "agents do not limit what processes use"),
    ];
    let asked = fields.into_iter().filter(|(is_asked, ..)| *is_asked);
    asked.map(|(_, field, why)| format!("'{field}' of a task has no effect yet: {why}")).collect()
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1::value::Scalar;

    use super::*;
    use crate::testing::{executor_task, task};

    #[test]
    fn each_field_that_no_agent_heeds_is_named() {
        let command = || task("t", "cpus:1");
        let custom = || executor_task("t", "cpus:1", "e", "cpus:1");
        assert_eq!((ineffective(&command()), ineffective(&custom())), (Vec::new(), Vec::new()));
        let user = |command: &mut Option<CommandInfo>| {
            command.get_or_insert_default().user = Some("nobody".to_owned());
        };
        type Change<'a> = (&'a dyn Fn(&mut TaskInfo), &'a str, bool);
        let changes: [Change<'_>; 5] = [
            (&|info| user(&mut info.command), "'command.user'", false),
            (&|info| info.health_check = Some(Default::default()), "'health_check'", false),
            (&|info| info.check = Some(Default::default()), "'check'", false),
            (
                &|info| {
                    info.limits.insert("mem".to_owned(), Scalar { value: Some(64.0) });
                },
                "'limits'",
                true,
            ),
            (&|info| info.max_completion_time = Some(Default::default()), "", true),
        ];
        for (change, field, also_custom) in changes {
            let mut info = command();
            change(&mut info);
            let told = ineffective(&info);
            assert_eq!(told.len(), usize::from(!field.is_empty()), "{field}: {told:?}");
            assert!(told.iter().all(|text| text.contains(field)), "{told:?}");
            let mut info = custom();
            change(&mut info);
            assert_eq!(!ineffective(&info).is_empty(), also_custom && !field.is_empty(), "{field}");
        }
        let mut info = custom();
        user(&mut info.executor.as_mut().unwrap().command);
        assert!(ineffective(&info)[0].contains("'executor.command.user'"));
    }
}
