//! Tasks, statuses and resources in the plain endpoints' form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tepui_proto::v1::{self, Resource, TaskState};
use tepui_scheduler_core::registry::TaskRecord;

use crate::view::amounts;

/// In the order of the alphabet, as all names of a list are kept.
const ALWAYS: [&str; 4] = ["cpus", "disk", "gpus", "mem"];

/// Resources by name: numbers for scalars, text for ranges and sets. The four that every tool reads are always there.
///
/// There is one for each of many tasks, so that names which everybody uses are not copied.
pub(super) struct Amounts(Vec<(Cow<'static, str>, Amount)>);

#[derive(Default)]
struct Amount {
    number: f64,
    /// What a number cannot say; shown instead of it.
    parts: Option<Vec<String>>,
}

impl Amounts {
    pub(super) fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Amounts {
        let mut sums = Amounts(ALWAYS.map(|name| (Cow::Borrowed(name), Amount::default())).into());
        for resource in resources {
            let name = resource.name.as_deref().unwrap_or_default();
            if let Some(amount) = amounts::scalar(resource) {
                let slot = sums.slot(name);
                slot.number = amounts::round(slot.number + amount);
            } else if let Some(ranges) = &resource.ranges {
                let parts = sums.slot(name).parts.get_or_insert_default();
                parts.extend(ranges.range.iter().map(|range| {
                    format!("{}-{}", range.begin.unwrap_or_default(), range.end.unwrap_or_default())
                }));
            } else if let Some(set) = &resource.set {
                sums.slot(name).parts.get_or_insert_default().extend(set.item.iter().cloned());
            }
        }
        sums
    }

    fn slot(&mut self, name: &str) -> &mut Amount {
        let found = self.0.binary_search_by(|(other, _)| other.as_ref().cmp(name));
        let place = found.unwrap_or_else(|place| {
            self.0.insert(place, (Cow::Owned(name.to_owned()), Amount::default()));
            place
        });
        &mut self.0[place].1
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, amount) in &self.0 {
            match &amount.parts {
                None => map.serialize_entry(name, &amount.number)?,
                Some(parts) => map.serialize_entry(name, &format!("[{}]", parts.join(", ")))?,
            }
        }
        map.end()
    }
}

/// One task.
#[derive(Serialize)]
pub(crate) struct Task<'a> {
    pub(super) id: &'a str,
    name: &'a str,
    framework_id: &'a str,
    executor_id: &'a str,
    slave_id: &'a str,
    state: &'static str,
    resources: Amounts,
    role: &'a str,
    statuses: Vec<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [v1::Label]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<&'a v1::DiscoveryInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a v1::ContainerInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<&'a v1::HealthCheck>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<&'a str, Value>,
}

impl<'a> Task<'a> {
    pub(super) fn of(record: &'a TaskRecord) -> Option<Task<'a>> {
        let task = record.task.as_ref()?;
        let role = task.resources.iter().find_map(|one| one.allocation_info.as_ref()?.role.as_deref());
        let statuses =
            task.statuses.iter().chain(record.last_status.iter().filter(|_| task.statuses.is_empty()));
        Some(Task {
            id: text(task.task_id.as_ref().and_then(|id| id.value.as_deref())),
            name: text(task.name.as_deref()),
            framework_id: text(task.framework_id.as_ref().and_then(|id| id.value.as_deref())),
            executor_id: text(task.executor_id.as_ref().and_then(|id| id.value.as_deref())),
            slave_id: text(task.agent_id.as_ref().and_then(|id| id.value.as_deref())),
            state: record.state().as_str_name(),
            resources: Amounts::of(&task.resources),
            role: role.unwrap_or("*"),
            statuses: statuses.map(Status::of).collect(),
            user: task.user.as_deref(),
            labels: task.labels.as_ref().map(|labels| labels.labels.as_slice()),
            discovery: task.discovery.as_ref(),
            container: task.container.as_ref(),
            health_check: task.health_check.as_ref(),
            limits: task.limits.iter().map(|(name, limit)| (name.as_str(), limit_of(limit))).collect(),
        })
    }
}

/// A limit as a number; JSON has none for "as much as there is", which Mesos writes as a word.
fn limit_of(limit: &v1::value::Scalar) -> Value {
    match limit.value.unwrap_or_default() {
        number if number.is_finite() => Value::from(number),
        _ => Value::from("Infinity"),
    }
}

#[derive(Serialize)]
struct Status<'a> {
    state: Option<&'static str>,
    timestamp: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [v1::Label]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_status: Option<&'a v1::ContainerStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
}

impl<'a> Status<'a> {
    fn of(status: &'a v1::TaskStatus) -> Status<'a> {
        Status {
            state: status
                .state
                .and_then(|state| TaskState::try_from(state).ok())
                .map(|state| state.as_str_name()),
            timestamp: status.timestamp,
            labels: status.labels.as_ref().map(|labels| labels.labels.as_slice()),
            container_status: status.container_status.as_ref(),
            healthy: status.healthy,
        }
    }
}

/// Absent text is empty text.
pub(super) fn text(text: Option<&str>) -> &str {
    text.unwrap_or_default()
}
