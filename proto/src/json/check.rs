//! What follows decoding, whichever the encoding was: required fields, enum numbers nobody knows, and how deep a container id may be.

use std::collections::BTreeMap;

use super::{Enumeration, Message};

/// Puts a name before the path of what is missing.
pub(crate) fn under(name: &str, path: &str) -> String {
    if path.starts_with('[') { format!("{name}{path}") } else { format!("{name}.{path}") }
}

/// Containers within containers. What is nested deeper could be read in one place and not in the next, where it is wrapped once more.
const MAX_CONTAINERS: usize = 32;

/// Stands at the end of the path where there are more.
pub(crate) const TOO_DEEP: &str = "parent (containers are nested too deep)";

pub(crate) fn too_deep(id: &crate::v1::ContainerId) -> bool {
    std::iter::successors(Some(id), |id| id.parent.as_deref()).nth(MAX_CONTAINERS).is_some()
}

pub(crate) fn many<T: Message>(values: &[T]) -> Option<String> {
    values
        .iter()
        .enumerate()
        .find_map(|(index, value)| value.missing_field().map(|path| format!("[{index}].{path}")))
}

pub(crate) fn entries<T: Message>(values: &BTreeMap<String, T>) -> Option<String> {
    values.iter().find_map(|(key, value)| value.missing_field().map(|path| under(key, &path)))
}

pub(crate) fn is_known<T: Enumeration>(number: Option<i32>) -> bool {
    number.and_then(T::name).is_some()
}

pub(crate) fn forget_one<T: Enumeration>(number: &mut Option<i32>) {
    if !is_known::<T>(*number) {
        *number = None;
    }
}

pub(crate) fn forget_many<T: Enumeration>(numbers: &mut Vec<i32>) {
    numbers.retain(|number| T::name(*number).is_some());
}
