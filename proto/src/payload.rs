//! What of a task is for its executor alone. Registrations and the masters' log leave it out: it may be long, and no master looks at it.

use crate::v1::{CommandInfo, TaskInfo};

/// Takes the data of a task and of its executor away, and of its command all but the user.
pub fn strip(task: &mut TaskInfo) {
    task.data = None;
    if let Some(command) = &mut task.command {
        *command = CommandInfo { user: command.user.take(), ..CommandInfo::default() };
    }
    if let Some(executor) = &mut task.executor {
        executor.data = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::ExecutorInfo;

    #[test]
    fn the_user_of_a_command_stays_and_what_executors_read_goes() {
        let command =
            CommandInfo { user: Some("u".to_owned()), value: Some("run".to_owned()), ..Default::default() };
        let data = Some(b"long".as_slice().into());
        let mut task = TaskInfo {
            name: Some("t".to_owned()),
            data: data.clone(),
            command: Some(command),
            executor: Some(ExecutorInfo { data, name: Some("e".to_owned()), ..Default::default() }),
            ..Default::default()
        };
        strip(&mut task);
        let expected = TaskInfo {
            name: Some("t".to_owned()),
            command: Some(CommandInfo { user: Some("u".to_owned()), ..Default::default() }),
            executor: Some(ExecutorInfo { name: Some("e".to_owned()), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(task, expected);
    }
}
