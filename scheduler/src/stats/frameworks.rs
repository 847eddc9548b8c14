//! Numbers of each subscribed framework: its calls, its events and its offers.
//!
//! Bounded by the frameworks that exist: a framework is known here from its first SUBSCRIBED until it is gone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tepui_proto::ids::FrameworkId;
use tepui_proto::v1::offer::operation;
use tepui_proto::v1::scheduler::call::Type;
use tepui_proto::v1::scheduler::{Call, Event, event};
use tepui_scheduler_core::registry::FrameworkRecord;
use tepui_scheduler_core::{ConnectionId, Registry};

/// The numbers of all frameworks.
pub(crate) struct PerFramework {
    wanted: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    frameworks: BTreeMap<FrameworkId, Numbers>,
    connections: BTreeMap<ConnectionId, FrameworkId>,
}

#[derive(Default)]
struct Numbers {
    connection: ConnectionId,
    calls: BTreeMap<Type, u64>,
    events: BTreeMap<event::Type, u64>,
    operations: BTreeMap<operation::Type, u64>,
    sent: u64,
    accepted: u64,
    declined: u64,
    rescinded: u64,
}

impl PerFramework {
    pub(super) fn new(wanted: bool) -> PerFramework {
        PerFramework { wanted, known: Mutex::default() }
    }

    /// Whether there are numbers for each framework.
    pub(crate) fn wanted(&self) -> bool {
        self.wanted
    }

    /// A call of a framework; one that is not known here is not counted.
    pub(super) fn call(&self, call: &Call, kind: Type) {
        if !self.wanted {
            return;
        }
        let Some(id) = call.framework_id.as_ref().map(FrameworkId::from) else { return };
        let mut known = self.known();
        let Some(numbers) = known.frameworks.get_mut(&id) else { return };
        // SUBSCRIBE is counted when it succeeded, because only then its framework is known.
        if kind != Type::Subscribe {
            *numbers.calls.entry(kind).or_default() += 1;
        }
        let offers = |list: usize| u64::try_from(list).unwrap_or(u64::MAX);
        if let Some(accept) = &call.accept {
            numbers.accepted += offers(accept.offer_ids.len());
            for operation in &accept.operations {
                *numbers.operations.entry(operation.r#type()).or_default() += 1;
            }
        }
        if let Some(decline) = &call.decline {
            numbers.declined += offers(decline.offer_ids.len());
        }
    }

    /// An event goes to the framework at this connection.
    pub(crate) fn event(&self, connection: ConnectionId, event: &Event) {
        if !self.wanted {
            return;
        }
        let mut known = self.known();
        let known = &mut *known;
        let kind = event.r#type();
        if let Some(subscribed) = &event.subscribed
            && let Some(id) = subscribed.framework_id.as_ref().map(FrameworkId::from)
        {
            let numbers = known.frameworks.entry(id.clone()).or_default();
            known.connections.remove(&numbers.connection);
            numbers.connection = connection;
            *numbers.calls.entry(Type::Subscribe).or_default() += 1;
            known.connections.insert(connection, id);
        }
        let Some(numbers) = known.connections.get(&connection).and_then(|id| known.frameworks.get_mut(id))
        else {
            return;
        };
        *numbers.events.entry(kind).or_default() += 1;
        match kind {
            event::Type::Offers => {
                let offers = event.offers.as_ref().map_or(0, |offers| offers.offers.len());
                numbers.sent += u64::try_from(offers).unwrap_or(u64::MAX);
            }
            event::Type::Rescind => numbers.rescinded += 1,
            _ => {}
        }
    }

    /// A framework is gone.
    pub(super) fn forget(&self, id: &FrameworkId) {
        let mut known = self.known();
        if let Some(numbers) = known.frameworks.remove(id) {
            known.connections.remove(&numbers.connection);
        }
    }

    /// This master no longer leads.
    pub(super) fn clear(&self) {
        *self.known() = Known::default();
    }

    /// Everything under its name; frameworks that the Registry does not know are left out.
    pub(super) fn numbers(&self, registry: &Registry) -> Vec<(String, f64)> {
        let known = self.known();
        let mut all = Vec::new();
        for (id, numbers) in &known.frameworks {
            let Some(record) = registry.frameworks.get(id) else { continue };
            let prefix = prefix(record);
            let mut put = |name: String, number: u64| all.push((format!("{prefix}/{name}"), number as f64));
            put("calls".to_owned(), numbers.calls.values().sum());
            for (kind, number) in &numbers.calls {
                put(format!("calls/{}", kind.as_str_name().to_lowercase()), *number);
            }
            put("events".to_owned(), numbers.events.values().sum());
            for (kind, number) in &numbers.events {
                put(format!("events/{}", kind.as_str_name().to_lowercase()), *number);
            }
            put("operations".to_owned(), numbers.operations.values().sum());
            for (kind, number) in &numbers.operations {
                put(format!("operations/{}", kind.as_str_name().to_lowercase()), *number);
            }
            put("offers/sent".to_owned(), numbers.sent);
            put("offers/accepted".to_owned(), numbers.accepted);
            put("offers/declined".to_owned(), numbers.declined);
            put("offers/rescinded".to_owned(), numbers.rescinded);
        }
        all
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the numbers of a framework stand: its name percent-encoded, because it may have slashes, and its id.
pub(crate) fn prefix(record: &FrameworkRecord) -> String {
    let name = record.info.as_ref().and_then(|info| info.name.as_deref()).unwrap_or_default();
    format!("master/frameworks/{}/{}", encoded(name), record.id())
}

fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tepui_proto::v1;

    use super::*;

    fn registry() -> Registry {
        let info = v1::FrameworkInfo {
            id: Some(v1::FrameworkId { value: Some("f".into()) }),
            name: Some("a b/c".into()),
            ..Default::default()
        };
        let record = FrameworkRecord { info: Some(info), ..Default::default() };
        let mut registry = Registry::default();
        registry.frameworks.insert("f".into(), Arc::new(record));
        registry
    }

    fn subscribed(id: &str) -> Event {
        let framework_id = Some(v1::FrameworkId { value: Some(id.into()) });
        Event {
            r#type: Some(event::Type::Subscribed as i32),
            subscribed: Some(event::Subscribed { framework_id, ..Default::default() }),
            ..Default::default()
        }
    }

    fn of(kind: event::Type) -> Event {
        Event { r#type: Some(kind as i32), ..Default::default() }
    }

    fn decline(id: &str) -> Call {
        let offer = v1::OfferId { value: Some("o".into()) };
        Call {
            framework_id: Some(v1::FrameworkId { value: Some(id.into()) }),
            decline: Some(v1::scheduler::call::Decline {
                offer_ids: vec![offer.clone(), offer],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_framework_is_counted_from_subscribed_until_it_is_gone() {
        let all = PerFramework::new(true);
        let registry = registry();
        all.call(&decline("f"), Type::Decline);
        all.event(1, &of(event::Type::Heartbeat));
        assert!(all.numbers(&registry).is_empty(), "nobody has subscribed");

        all.event(1, &subscribed("f"));
        all.event(1, &of(event::Type::Rescind));
        all.event(2, &subscribed("f"));
        all.event(1, &of(event::Type::Heartbeat));
        all.event(2, &of(event::Type::Heartbeat));
        all.call(&decline("f"), Type::Decline);
        let numbers: BTreeMap<String, f64> = all.numbers(&registry).into_iter().collect();
        let find = |name: &str| numbers.get(&format!("master/frameworks/a%20b%2Fc/f/{name}")).copied();
        assert_eq!(find("calls"), Some(3.0));
        assert_eq!(find("calls/subscribe"), Some(2.0));
        assert_eq!(find("events"), Some(4.0));
        assert_eq!(find("events/heartbeat"), Some(1.0), "the replaced stream counts no more");
        assert_eq!(find("offers/declined"), Some(2.0));
        assert_eq!(find("offers/rescinded"), Some(1.0));

        all.forget(&"f".into());
        all.event(2, &of(event::Type::Heartbeat));
        assert!(all.numbers(&registry).is_empty());
    }

    #[test]
    fn unwanted_numbers_are_not_kept() {
        let all = PerFramework::new(false);
        all.event(1, &subscribed("f"));
        assert!(all.numbers(&registry()).is_empty());
    }
}
