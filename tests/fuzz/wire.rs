//! Calls and events in both encodings: what is decoded is whole, survives both encodings, and leads to the same decision in each.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use tepui_proto::MediaType::{self, Json, Protobuf};
use tepui_proto::tepui::{agent_link, operator};
use tepui_proto::v1::{agent, executor, master, scheduler};
use tepui_proto::wire::{WireMessage, decode, encode};
use tepui_scheduler_core::validation;

use super::random::Chance;
use super::schema::Schema;
use super::tree::grow;
use super::{Target, ensure, render};

const WORDS: &[&str] = &[
    "\"type\":",
    "\"SUBSCRIBE\"",
    "\"ACCEPT\"",
    "\"value\":",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "\"framework_id\":",
    "\"agent_id\":",
    "\"slave_id\":",
    "\"uuid\":\"AAAAAAAAAAAAAAAAAAAAAA==\"",
    "1e999",
    "\"NaN\"",
    "\"Infinity\"",
    "-0.0",
    "\"10mins\"",
    "\\u0000",
    "\\ud800",
    "\u{0}",
];

/// What is done with a decoded message.
pub(super) type Decide<M> = fn(&M) -> String;

/// Targets for one message: its two encodings apart, and both of the same tree together.
pub(super) fn of<M: WireMessage + Debug + 'static>(
    name: &str,
    root: &'static str,
    schema: &Arc<Schema>,
    decide: Decide<M>,
) -> Vec<Box<dyn Target>> {
    let encoding = |media, suffix: &str| Encoding::<M> {
        name: format!("{name}-{suffix}"),
        media,
        root,
        schema: schema.clone(),
        decide,
        of: PhantomData,
    };
    vec![
        Box::new(encoding(Json, "json")),
        Box::new(encoding(Protobuf, "protobuf")),
        Box::new(Both(Encoding { name: format!("{name}-both"), ..encoding(Json, "") })),
    ]
}

pub(super) fn targets(schema: &Arc<Schema>) -> Vec<Box<dyn Target>> {
    let mut all = of::<scheduler::Call>("scheduler-call", "mesos.v1.scheduler.Call", schema, scheduler_call);
    all.extend(of::<scheduler::Event>("scheduler-event", "mesos.v1.scheduler.Event", schema, |_| {
        String::new()
    }));
    all.extend(of::<master::Call>("operator-call", "mesos.v1.master.Call", schema, |_| String::new()));
    all.extend(of::<executor::Call>("executor-call", "mesos.v1.executor.Call", schema, |_| String::new()));
    all.extend(of::<executor::Event>("executor-event", "mesos.v1.executor.Event", schema, |_| String::new()));
    all.extend(of::<agent::Call>("agent-call", "mesos.v1.agent.Call", schema, |_| String::new()));
    all.extend(of::<agent_link::Call>("agent-link-call", "tepui.agent_link.Call", schema, agent_link_call));
    all.extend(of::<agent_link::Event>("agent-link-event", "tepui.agent_link.Event", schema, |_| {
        String::new()
    }));
    all.extend(of::<operator::Call>("tepui-operator-call", "tepui.operator.Call", schema, operator_call));
    all
}

struct Encoding<M> {
    name: String,
    media: MediaType,
    root: &'static str,
    schema: Arc<Schema>,
    decide: Decide<M>,
    of: PhantomData<M>,
}

impl<M: WireMessage + Debug> Target for Encoding<M> {
    fn name(&self) -> &str {
        &self.name
    }

    fn fresh(&mut self, seed: u64) -> Vec<u8> {
        let mut chance = Chance::new(seed);
        let tree = grow(&self.schema, self.root, &mut chance);
        match self.media {
            Json => render::json(&self.schema, &tree, &mut chance),
            Protobuf => render::protobuf(&self.schema, &tree, &mut chance),
        }
    }

    fn words(&self) -> &[&'static str] {
        WORDS
    }

    fn feed(&mut self, input: &[u8]) -> Result<String, String> {
        match decode::<M>(self.media, input) {
            Ok(message) => self.turn(&message),
            Err(error) => Ok(error.to_string()),
        }
    }
}

impl<M: WireMessage + Debug> Encoding<M> {
    /// Sends what was decoded once through each encoding.
    fn turn(&self, message: &M) -> Result<String, String> {
        ensure(message.missing().is_none(), "a decoded message lacks a required field")?;
        let bytes = encode(Protobuf, message);
        let again: M = decode(Protobuf, &bytes).map_err(|error| format!("our own protobuf: {error}"))?;
        ensure(encode(Protobuf, &again) == bytes, "protobuf is not the same after a turn")?;
        let text = encode(Json, message);
        ensure(text.is_ascii() && !text.contains(&b'\n'), "JSON is not one line of ASCII")?;
        let third: M = decode(Json, &text).map_err(|error| format!("our own JSON: {error}"))?;
        // Declared defaults are written, so only the second text can be compared.
        ensure(encode(Json, &third) == text, "JSON is not the same after a turn")?;
        let decision = (self.decide)(message);
        for other in [(self.decide)(&again), (self.decide)(&third)] {
            if other != decision {
                return Err(format!("decided {decision:?}, and after a turn {other:?}"));
            }
        }
        Ok(decision)
    }
}

/// One tree in both encodings; inputs are its seed.
struct Both<M>(Encoding<M>);

impl<M: WireMessage + Debug> Target for Both<M> {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn fresh(&mut self, seed: u64) -> Vec<u8> {
        seed.to_be_bytes().to_vec()
    }

    fn takes_damage(&self) -> bool {
        false
    }

    fn feed(&mut self, input: &[u8]) -> Result<String, String> {
        let mut chance = Chance::from_bytes(input);
        let schema = &self.0.schema;
        let tree = grow(schema, self.0.root, &mut chance);
        let text = render::json(schema, &tree, &mut chance);
        let bytes = render::protobuf(schema, &tree, &mut chance);
        let context = || format!("{} against {bytes:02x?}", String::from_utf8_lossy(&text));
        match (decode::<M>(Json, &text), decode::<M>(Protobuf, &bytes)) {
            (Ok(one), Ok(other)) => {
                if encode(Protobuf, &one) != encode(Protobuf, &other) {
                    let (one, other) = (encode(Json, &one), encode(Json, &other));
                    let (one, other) = (String::from_utf8_lossy(&one), String::from_utf8_lossy(&other));
                    return Err(format!("the encodings differ: {one}\nand {other}\n{}", context()));
                }
                let (first, second) = ((self.0.decide)(&one), (self.0.decide)(&other));
                ensure(first == second, "the encodings lead to different decisions")?;
                self.0.turn(&one)
            }
            (Err(one), Err(_)) => Ok(one.to_string()),
            (Ok(_), Err(error)) => Err(format!("JSON was taken but {error}: {}", context())),
            (Err(error), Ok(_)) => Err(format!("protobuf was taken but {error}: {}", context())),
        }
    }
}

fn scheduler_call(call: &scheduler::Call) -> String {
    if let Err(rejection) = validation::call(call) {
        return format!("{} {}", rejection.status, rejection.reason);
    }
    let kind = call.r#type().as_str_name();
    let updated = call.update_framework.as_ref();
    let framework = match (&call.subscribe, updated) {
        (Some(it), _) => {
            Some((it.framework_info.as_ref(), &it.suppressed_roles, it.offer_constraints.as_ref()))
        }
        (_, Some(it)) => {
            Some((it.framework_info.as_ref(), &it.suppressed_roles, it.offer_constraints.as_ref()))
        }
        _ => None,
    };
    match framework {
        Some((Some(info), suppressed, constraints)) => {
            match validation::framework(info, suppressed, constraints, Some("alice")) {
                Ok(checked) => format!("{kind} with roles {:?}", checked.roles),
                Err(rejection) => format!("{kind} {}", rejection.reason),
            }
        }
        _ => kind.to_owned(),
    }
}

fn agent_link_call(call: &agent_link::Call) -> String {
    match validation::agent_call(call) {
        Ok(()) => call.r#type().as_str_name().to_owned(),
        Err(rejection) => rejection.reason,
    }
}

fn operator_call(call: &operator::Call) -> String {
    let driver = call.submit_driver.as_ref().and_then(|submit| submit.spec.clone());
    let driver =
        driver.map(|spec| validation::driver(spec).map(|_| "a driver").map_err(|error| error.reason));
    let register =
        call.state_cas.as_ref().map(|cas| validation::state_cas(cas).map_err(|error| error.reason));
    format!("{driver:?} {register:?}")
}
