//! What is kept of an executor whose description is too long to be kept whole, and when two descriptions are the same executor.

use tepui_proto::v1::ExecutorInfo;

use crate::digest::sha256;

/// Length of a SHA-256.
const DIGEST_BYTES: usize = 32;
/// Longest name and source that are kept, bytes.
const MAX_TEXT: usize = 1024;

/// Replaces long data by its digest and leaves out what is only shown: data may be as long as all else together. Doing it twice
/// changes nothing more.
pub(crate) fn abridge(executor: &mut ExecutorInfo) {
    // Short data is as good as its digest, and a digest stays what it is.
    if let Some(data) = &mut executor.data
        && data.len() > DIGEST_BYTES
    {
        *data = sha256(data);
    }
    for text in [&mut executor.name, &mut executor.source] {
        *text = text.take().filter(|text| text.len() <= MAX_TEXT);
    }
}

/// The same for one that is given away.
pub(crate) fn abridged(mut executor: ExecutorInfo) -> ExecutorInfo {
    abridge(&mut executor);
    executor
}

/// Whether both are the same executor; `known` may be abridged, or lack its data, as what agents tell does.
pub(crate) fn same_executor(known: &ExecutorInfo, given: &ExecutorInfo) -> bool {
    if known == given {
        return true;
    }
    let mut abridged = given.clone();
    abridge(&mut abridged);
    if known.data.is_none() {
        abridged.data = None;
        let without_data = ExecutorInfo { data: None, ..given.clone() };
        return *known == abridged || *known == without_data;
    }
    *known == abridged
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

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
}
