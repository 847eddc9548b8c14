//! What is kept of an executor whose description is too long to be kept whole, and when two descriptions are the same executor.

use prost::Message;
use tepui_proto::resources::Resources;
use tepui_proto::v1::ExecutorInfo;

use crate::conversion::modernise;
use crate::digest::sha256;

/// Length of a SHA-256.
const DIGEST_BYTES: usize = 32;
/// Longest name and source that are kept, bytes.
const MAX_TEXT: usize = 1024;

/// Replaces long data by its digest and leaves out what is only shown: data may be as long as all else together. Doing it twice
/// changes nothing more. Reservations become stacks, however they were written.
pub(crate) fn abridge(executor: &mut ExecutorInfo) {
    // Short data is as good as its digest, and a digest stays what it is.
    if let Some(data) = &mut executor.data
        && data.len() > DIGEST_BYTES
    {
        *data = sha256(data);
    }
    executor.resources.iter_mut().for_each(modernise);
    for text in [&mut executor.name, &mut executor.source] {
        *text = text.take().filter(|text| text.len() <= MAX_TEXT);
    }
}

/// The same for one that is given away.
pub(crate) fn abridged(mut executor: ExecutorInfo) -> ExecutorInfo {
    abridge(&mut executor);
    executor
}

/// Whether both are the same executor; `known` may be abridged, or lack its data, as what agents tell does. As in Mesos the order of
/// resources, URIs and variables means nothing, and neither labels nor the time to shut down tell executors apart.
pub(crate) fn same_executor(known: &ExecutorInfo, given: &ExecutorInfo) -> bool {
    if known == given {
        return true;
    }
    let (known, given) = (&in_order(known.clone()), &in_order(given.clone()));
    let mut abridged = given.clone();
    abridge(&mut abridged);
    if known.data.is_none() {
        abridged.data = None;
        let without_data = ExecutorInfo { data: None, ..given.clone() };
        return *known == abridged || *known == without_data;
    }
    *known == abridged
}

/// Without what does not count, and in a fixed order where order does not.
fn in_order(mut executor: ExecutorInfo) -> ExecutorInfo {
    (executor.labels, executor.shutdown_grace_period) = (None, None);
    if let Ok(resources) = Resources::from_proto(&executor.resources) {
        executor.resources = resources.to_proto();
    }
    if let Some(command) = &mut executor.command {
        command.uris.sort_by_cached_key(Message::encode_to_vec);
        if let Some(environment) = &mut command.environment {
            environment.variables.sort_by_cached_key(Message::encode_to_vec);
        }
    }
    executor
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tepui_proto::v1;

    use super::*;

    #[test]
    fn what_is_kept_tells_executors_apart() {
        let executor = |data: &'static [u8], name: &str| ExecutorInfo {
            data: Some(Bytes::from_static(data)),
            name: Some(name.to_owned()),
            ..Default::default()
        };
        let given = executor(b"abc", "n");
        let mut kept = given.clone();
        abridge(&mut kept);
        assert!(same_executor(&given, &given) && same_executor(&kept, &given));
        assert!(!same_executor(&kept, &executor(b"abd", "n")));
        assert!(!same_executor(&kept, &executor(b"abc", "m")));
        let told = ExecutorInfo { data: None, ..given.clone() };
        assert!(same_executor(&told, &given));
        assert!(!same_executor(&told, &executor(b"abc", "m")));
        let long = executor(b"abc", &"x".repeat(2000));
        let mut kept = long.clone();
        abridge(&mut kept);
        assert_eq!(kept.name, None);
        assert!(same_executor(&kept, &long));
    }

    #[test]
    fn order_means_nothing_but_in_arguments() {
        let variable = |name: &str| v1::environment::Variable {
            name: Some(name.to_owned()),
            value: Some("x".to_owned()),
            ..Default::default()
        };
        let uri = |value: &str| v1::command_info::Uri { value: Some(value.to_owned()), ..Default::default() };
        let of = |names: [&str; 2], arguments: [&str; 2]| ExecutorInfo {
            command: Some(v1::CommandInfo {
                uris: names.map(uri).to_vec(),
                environment: Some(v1::Environment { variables: names.map(variable).to_vec() }),
                arguments: arguments.map(str::to_owned).to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let known = of(["a", "b"], ["x", "y"]);
        assert!(same_executor(&known, &of(["b", "a"], ["x", "y"])));
        assert!(!same_executor(&known, &of(["a", "b"], ["y", "x"])));
        assert!(!same_executor(&known, &of(["a", "c"], ["x", "y"])));
        let resources = |text: &str| Resources::parse(text).unwrap().to_proto();
        let rich = |list: Vec<v1::Resource>| ExecutorInfo { resources: list, ..known.clone() };
        let mut backwards = resources("cpus:1;mem:32");
        backwards.reverse();
        assert!(same_executor(&rich(resources("cpus:1;mem:32")), &rich(backwards)));
        assert!(!same_executor(&rich(resources("cpus:1;mem:32")), &rich(resources("cpus:1;mem:33"))));
        let labelled = ExecutorInfo { labels: Some(v1::Labels::default()), ..known.clone() };
        assert!(same_executor(&known, &labelled));
    }
}
