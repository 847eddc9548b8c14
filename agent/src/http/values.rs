//! Resources, attributes and tasks in the plain endpoints' form, which does not follow the v1 messages. Owns that form.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tepui_proto::resources::{Resources, both_forms};
use tepui_proto::v1;

/// Returns amounts by name; the usual scalars are there even if they are nothing.
pub(super) fn resources(list: &[v1::Resource]) -> Value {
    let mut shown: Map<String, Value> =
        ["cpus", "mem", "disk", "gpus"].map(|name| (name.to_owned(), json!(0.0))).into_iter().collect();
    // What does not add up was refused before it came here.
    let all = Resources::from_proto(list).unwrap_or_default();
    for (name, amount) in all.scalars() {
        shown.insert(name.to_string(), json!(amount.to_f64()));
    }
    let mut sets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for resource in list {
        if let Some(set) = &resource.set {
            sets.entry(resource.name()).or_default().extend(set.item.iter().map(String::as_str));
        }
    }
    for (name, items) in sets {
        shown.insert(name.to_owned(), json!(format!("{{{}}}", items.join(", "))));
    }
    for name in all.names() {
        let ranges = all.ranges(name);
        if !ranges.is_empty() {
            let text: Vec<String> = ranges.iter().map(|(begin, end)| format!("{begin}-{end}")).collect();
            shown.insert(name.to_owned(), json!(format!("[{}]", text.join(", "))));
        }
    }
    shown.into()
}

/// The agent's resources, by what they are reserved for: amounts, and the whole messages under names that end in `_full`, with their
/// reservations in both forms.
pub(super) fn reserved_and_not(list: &[v1::Resource]) -> [(&'static str, Value); 4] {
    let mut reserved: BTreeMap<&str, Vec<v1::Resource>> = BTreeMap::new();
    let mut unreserved = Vec::new();
    for resource in list {
        match reserved_role(resource) {
            "*" => unreserved.push(resource.clone()),
            role => reserved.entry(role).or_default().push(resource.clone()),
        }
    }
    let amounts: Map<String, Value> =
        reserved.iter().map(|(role, list)| ((*role).to_owned(), resources(list))).collect();
    let whole = |list: &Vec<v1::Resource>| json!(list.iter().map(both_forms).collect::<Vec<_>>());
    let all: Map<String, Value> =
        reserved.iter().map(|(role, list)| ((*role).to_owned(), whole(list))).collect();
    [
        ("reserved_resources", amounts.into()),
        ("reserved_resources_full", all.into()),
        ("unreserved_resources", resources(&unreserved)),
        ("unreserved_resources_full", whole(&unreserved)),
    ]
}

/// The role that a resource is reserved for, `*` if for none.
fn reserved_role(resource: &v1::Resource) -> &str {
    let refined = resource.reservations.last().and_then(|reservation| reservation.role.as_deref());
    refined.or(resource.role.as_deref()).unwrap_or("*")
}

/// The role that resources are allocated to.
pub(super) fn allocation_role(list: &[v1::Resource]) -> Option<&str> {
    list.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.as_deref())
}

/// The first of several attributes of one name is shown, as in Mesos.
pub(super) fn attributes(list: &[v1::Attribute]) -> Value {
    let mut shown = Map::new();
    for attribute in list {
        let value = match (&attribute.scalar, &attribute.text, &attribute.ranges) {
            (Some(scalar), _, _) => json!(scalar.value()),
            (_, Some(text), _) => json!(text.value()),
            (_, _, Some(ranges)) => {
                let text: Vec<String> =
                    ranges.range.iter().map(|range| format!("{}-{}", range.begin(), range.end())).collect();
                json!(format!("[{}]", text.join(", ")))
            }
            (None, None, None) => Value::Null,
        };
        shown.entry(attribute.name().to_owned()).or_insert(value);
    }
    shown.into()
}

pub(super) fn task(task: &v1::Task) -> Value {
    let id = |id: Option<&str>| id.unwrap_or_default().to_owned();
    let mut shown = json!({
        "id": id(task.task_id.as_ref().and_then(|id| id.value.as_deref())),
        "name": task.name(),
        "framework_id": id(task.framework_id.as_ref().and_then(|id| id.value.as_deref())),
        "executor_id": id(task.executor_id.as_ref().and_then(|id| id.value.as_deref())),
        "slave_id": id(task.agent_id.as_ref().and_then(|id| id.value.as_deref())),
        "state": task.state().as_str_name(),
        "resources": resources(&task.resources),
        "role": allocation_role(&task.resources).unwrap_or("*"),
        "statuses": task.statuses.iter().map(status).collect::<Vec<_>>(),
    });
    add(&mut shown, "user", task.user.as_ref().map(|user| json!(user)));
    add(&mut shown, "labels", task.labels.as_ref().map(|labels| json!(labels.labels)));
    add(&mut shown, "discovery", task.discovery.as_ref().map(|discovery| json!(discovery)));
    add(&mut shown, "container", task.container.as_ref().map(|container| json!(container)));
    add(&mut shown, "health_check", task.health_check.as_ref().map(|check| json!(check)));
    add(
        &mut shown,
        "limits",
        Some(&task.limits).filter(|limits| !limits.is_empty()).map(|limits| json!(limits)),
    );
    shown
}

fn status(status: &v1::TaskStatus) -> Value {
    let mut shown = json!({ "state": status.state().as_str_name(), "timestamp": status.timestamp() });
    add(&mut shown, "labels", status.labels.as_ref().map(|labels| json!(labels.labels)));
    add(&mut shown, "container_status", status.container_status.as_ref().map(|container| json!(container)));
    add(&mut shown, "healthy", status.healthy.map(Value::from));
    add(&mut shown, "message", status.message.as_ref().map(|message| json!(message)));
    shown
}

/// Adds a member unless there is nothing to show.
pub(super) fn add(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn resources_are_split_by_what_they_are_reserved_for() {
        let list =
            Resources::parse("cpus:3;cpus(web):1;mem:100;ports:[1-2, 5-6];mem(web):28").unwrap().to_proto();
        assert_eq!(resources(&list)["cpus"], 4.0);
        assert_eq!(resources(&list)["ports"], "[1-2, 5-6]");
        assert_eq!(resources(&list)["gpus"], 0.0);
        let split = Value::from(Map::from_iter(
            reserved_and_not(&list).map(|(name, value)| (name.to_owned(), value)),
        ));
        assert_eq!(split["reserved_resources"]["web"]["mem"], 28.0);
        assert_eq!(split["reserved_resources"].as_object().unwrap().len(), 1);
        assert_eq!(split["unreserved_resources"]["cpus"], 3.0);
        assert_eq!(split["unreserved_resources"]["ports"], "[1-2, 5-6]");
        let full = &split["reserved_resources_full"]["web"];
        assert!(full.as_array().unwrap().iter().any(|one| one["scalar"]["value"] == 28.0), "{full}");
        assert_eq!(split["unreserved_resources_full"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn the_first_attribute_of_a_name_counts() {
        let list = tepui_proto::resources::parse_attributes("rack:a;rack:b;zone:3;ports:[1-2]").unwrap();
        assert_eq!(attributes(&list), json!({"rack": "a", "zone": 3.0, "ports": "[1-2]"}));
    }
}
