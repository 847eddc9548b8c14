//! Everything else that is read from text or frames: resources, attributes, constraints, roles, ids, durations, headers, forms, RecordIO.

use std::sync::Arc;

use tepui_proto::MediaType::{self, Json, Protobuf};
use tepui_proto::recordio::{Decoder, RecordError, frame};
use tepui_proto::resources::{ReservationFormat, Resources, parse_attributes};
use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::scheduler::OfferConstraints;
use tepui_proto::v1::{Attribute, FrameworkInfo};
use tepui_proto::wire::{decode, encode};
use tepui_proto::{basic, duration, ids, plain, role};
use tepui_scheduler::MasterAddress;
use tepui_scheduler_core::validation;

use super::random::Chance;
use super::schema::Schema;
use super::{Target, ensure, wire};

/// A decoder of text.
struct Text {
    name: &'static str,
    samples: &'static [&'static str],
    words: &'static [&'static str],
    feed: fn(&str) -> Result<String, String>,
}

impl Target for Text {
    fn name(&self) -> &str {
        self.name
    }

    fn fresh(&mut self, seed: u64) -> Vec<u8> {
        let mut chance = Chance::new(seed);
        let mut text = chance.word(self.samples).to_owned();
        for _ in 0..chance.below(4) {
            if chance.percent(50) {
                text.push_str(chance.word(self.words));
            } else {
                text.push_str(&chance.text());
            }
        }
        text.into_bytes()
    }

    fn words(&self) -> &[&'static str] {
        self.words
    }

    fn feed(&mut self, input: &[u8]) -> Result<String, String> {
        match std::str::from_utf8(input) {
            Ok(text) => (self.feed)(text),
            // Every one of these is read from what is known to be text.
            Err(_) => (self.feed)(&String::from_utf8_lossy(input)),
        }
    }
}

pub(super) fn targets(schema: &Arc<Schema>) -> Vec<Box<dyn Target>> {
    let mut all: Vec<Box<dyn Target>> = vec![
        Box::new(Text {
            name: "resources-text",
            samples: &[
                "cpus:4;mem:1024",
                "cpus(web):0.5;ports:[31000-32000]",
                "zones:{a,b}",
                "ports:[1-2,4-5,7-7];disk:10",
                "[{\"name\":\"cpus\",\"type\":\"SCALAR\",\"scalar\":{\"value\":1.5}}]",
                "cpus(a/b):1;cpus(*):2",
                "",
            ],
            words: &[
                ";",
                ":",
                "(",
                ")",
                "[",
                "]",
                "{",
                "}",
                "-",
                ",",
                "cpus",
                "mem",
                "ports",
                "1",
                "0.001",
                "18446744073709551615",
                "1e10",
                "*",
            ],
            feed: resources_text,
        }),
        Box::new(Text {
            name: "attributes-text",
            samples: &[
                "rack:r1;level:2.5;ports:[1-2]",
                "a:b;a:c",
                "url:http://x:80/y",
                "version:1.2.3",
                "x:{a,b}",
                "",
            ],
            words: &[
                ";",
                ":",
                "[",
                "]",
                "-",
                ",",
                "rack",
                "1",
                "0.5",
                "[1-2]",
                "18446744073709551615",
                "nan",
                "inf",
                "1e3",
            ],
            feed: attributes_text,
        }),
        Box::new(Text {
            name: "role",
            samples: &["*", "a", "a/b/c", "eng/x"],
            words: &["/", "*", ".", "..", "-", " ", "\t"],
            feed: role_name,
        }),
        Box::new(Text {
            name: "id",
            samples: &["f", "a.b:c", "j:t:n", ".."],
            words: &["/", "\\", ".", ":", "\u{1}", "\u{85}"],
            feed: id,
        }),
        Box::new(Text {
            name: "duration",
            samples: &["5secs", "1.5hrs", "2weeks", "100ns", "-3mins", "0ms"],
            words: &[
                "secs",
                "ns",
                "weeks",
                "days",
                ".",
                "-",
                "+",
                "e",
                "9223372036854775807",
                "nan",
                "inf",
                " ",
            ],
            feed: duration_text,
        }),
        Box::new(Text {
            name: "accept",
            samples: &[
                "application/json",
                "*/*",
                "application/x-protobuf;q=0.5, application/json",
                "application/*;q=0",
            ],
            words: &[
                ",",
                ";",
                "q=",
                "0",
                "1",
                "0.5",
                "application/",
                "json",
                "x-protobuf",
                "*",
                "/",
                "\"",
                " ",
                "charset=utf-8",
            ],
            feed: |text| {
                let chosen = MediaType::negotiate(Some(text));
                Ok(format!("{:?} {chosen:?}", MediaType::from_content_type(text)))
            },
        }),
        Box::new(Text {
            name: "form",
            samples: &["frameworkId=f", "slaveId=a&resources=%5B%5D", "jsonp=cb&limit=10", "a=b+c&d"],
            words: &["&", "=", "%", "%2", "%zz", "%ff", "%C3%A9", "+", "jsonp", "\r\n", "frameworkId"],
            feed: form,
        }),
        Box::new(Text {
            name: "basic-auth",
            samples: &[
                "alice secret\nbob other",
                "{\"credentials\":[{\"principal\":\"a\",\"secret\":\"b\"}]}",
                "Basic YWxpY2U6c2VjcmV0",
            ],
            words: &["Basic ", "basic", "YWxpY2U6c2VjcmV0", ":", "=", "\n", " ", "\"principal\":", "#"],
            feed: basic_auth,
        }),
        Box::new(Text {
            name: "master-address",
            samples: &["1=127.0.0.1:5060/5050", "3=host.example:1/2"],
            words: &["=", ":", "/", "[::1]", "65536", "-1", " ", "18446744073709551616"],
            feed: |text| {
                Ok(text.parse::<MasterAddress>().map_or_else(|error| error.to_string(), |it| it.host))
            },
        }),
        Box::new(Frames),
    ];
    all.extend(wire::of::<OfferConstraints>(
        "offer-constraints",
        "mesos.v1.scheduler.OfferConstraints",
        schema,
        constraints,
    ));
    all.extend(wire::of::<tepui_proto::v1::TaskInfo>(
        "resources",
        "mesos.v1.TaskInfo",
        schema,
        resources_list,
    ));
    all
}

fn same(one: &Resources, other: &Resources, what: &str) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{what}: {one} and {other}")) }
}

/// What holds for all resources, wherever they came from.
fn arithmetic(resources: &Resources) -> Result<(), String> {
    let again = Resources::from_proto(&resources.to_proto_in(ReservationFormat::Stack));
    same(
        &again.map_err(|error| error.to_string())?,
        resources,
        "not the same after a turn through messages",
    )?;
    ensure(resources.contains(resources), "do not contain themselves")?;
    let nothing = resources.checked_sub(resources).ok_or("cannot be taken from themselves")?;
    ensure(nothing.is_empty(), "something is left of nothing")?;
    let twice: Resources = [resources, resources].into_iter().sum();
    ensure(twice.contains(resources), "twice as much does not contain once")?;
    same(&resources.allocate("r").unallocated().allocate("r"), &resources.allocate("r"), "allocation")?;
    let _ = (
        resources.to_proto_in(ReservationFormat::Single),
        resources.scalars(),
        resources.ports(),
        resources.to_string(),
    );
    Ok(())
}

fn resources_text(text: &str) -> Result<String, String> {
    match Resources::parse(text) {
        Ok(resources) => {
            arithmetic(&resources)?;
            Ok(format!("{} kinds", resources.iter().count()))
        }
        Err(error) => Ok(error.to_string()),
    }
}

fn resources_list(task: &tepui_proto::v1::TaskInfo) -> String {
    match Resources::from_proto(&task.resources) {
        Ok(resources) => match arithmetic(&resources) {
            Ok(()) => format!("{resources}"),
            Err(what) => panic!("{what}"),
        },
        Err(error) => error.to_string(),
    }
}

fn attributes_text(text: &str) -> Result<String, String> {
    match parse_attributes(text) {
        Ok(attributes) => {
            for attribute in &attributes {
                let bytes = encode(Json, attribute);
                let again: Attribute =
                    decode(Json, &bytes).map_err(|error| format!("our own attribute: {error}"))?;
                ensure(encode(Protobuf, attribute) == encode(Protobuf, &again), "an attribute changed")?;
            }
            Ok(format!("{:?}", attributes.iter().map(|one| one.r#type()).collect::<Vec<_>>()))
        }
        Err(error) => Ok(error.to_string()),
    }
}

fn role_name(text: &str) -> Result<String, String> {
    let verdict = role::validate(text);
    let component = |part: &str| !matches!(part, "" | "." | ".." | "*") && !part.starts_with('-');
    let clean = text.chars().all(|one| !one.is_whitespace() && !one.is_control());
    let right = text == "*" || (clean && text.split('/').all(component));
    ensure(verdict.is_ok() == right, "the rules for roles say otherwise")?;
    Ok(verdict.map_or_else(|error| error.to_string(), |()| format!("{} levels", text.split('/').count())))
}

fn id(text: &str) -> Result<String, String> {
    let verdict = ids::validate_id(text);
    let right = (1..=255).contains(&text.len())
        && text != "."
        && text != ".."
        && text.chars().all(|one| one != '/' && one != '\\' && !one.is_control());
    ensure(verdict.is_ok() == right, "the rules for ids say otherwise")?;
    Ok(verdict.map_or_else(|error| error.to_string(), |()| "an id".to_owned()))
}

fn duration_text(text: &str) -> Result<String, String> {
    let _ = duration::parse_nanos(text);
    match duration::parse(text) {
        Ok(parsed) => {
            let shown = duration::format(parsed);
            let again = duration::parse(&shown).map_err(|error| format!("our own {shown:?}: {error}"))?;
            let differs = parsed.abs_diff(again);
            // A fraction of a long unit has as many digits as a double.
            ensure(differs.as_nanos() <= parsed.as_nanos() >> 50, "a duration is not the same after a turn")?;
            Ok(shown)
        }
        Err(error) => Ok(error.to_string()),
    }
}

fn form(text: &str) -> Result<String, String> {
    let pairs = plain::pairs(text).count();
    let callback = plain::callback(Some(text));
    if let Some(callback) = &callback {
        ensure(plain::wrapped(callback, b"{}").ends_with(b");"), "a callback is not a call")?;
    }
    let _ = (plain::parameter(Some(text), "limit"), plain::decoded(text), plain::accepts_gzip(Some(text)));
    let form = plain::Form::parse(text.as_bytes()).map(|_| "a form").map_err(|error| error.to_string());
    Ok(format!("{pairs} {} {form:?}", callback.is_some()))
}

fn basic_auth(text: &str) -> Result<String, String> {
    let known = basic::Credentials::parse("alice secret\nb\u{e9}b p:q").map_err(|error| error.to_string())?;
    let shown = known.principal(Some(text));
    ensure(shown.is_none() || text.len() >= "Basic ".len(), "nothing proves a principal")?;
    match basic::Credentials::parse(text) {
        Ok(credentials) => {
            let proven =
                credentials.principal(Some(&basic::authorization("alice", "secret"))).map(str::to_owned);
            Ok(format!("{} {proven:?} {shown:?}", credentials.is_empty()))
        }
        Err(error) => Ok(format!("{error} {shown:?}")),
    }
}

fn constraints(constraints: &OfferConstraints) -> String {
    let info = FrameworkInfo {
        user: Some("u".to_owned()),
        name: Some("n".to_owned()),
        roles: constraints
            .role_constraints
            .keys()
            .filter(|name| role::validate(name).is_ok())
            .cloned()
            .collect(),
        capabilities: vec![Capability { r#type: Some(capability::Type::MultiRole as i32) }],
        ..FrameworkInfo::default()
    };
    match validation::framework(&info, &[], Some(constraints), None) {
        Ok(checked) => format!("constraints of {} roles", checked.roles.len()),
        Err(rejection) => rejection.reason,
    }
}

/// RecordIO: any cutting gives the same records, and the same end.
struct Frames;

/// Longest record in these inputs.
const LIMIT: usize = 4096;

impl Target for Frames {
    fn name(&self) -> &str {
        "recordio"
    }

    fn fresh(&mut self, seed: u64) -> Vec<u8> {
        let mut chance = Chance::new(seed);
        let mut stream = Vec::new();
        for _ in 0..chance.below(6) {
            let most = *chance.pick(&[1, 10, 100, LIMIT + 1]);
            stream.extend_from_slice(&frame(&chance.bytes(most)));
        }
        stream
    }

    fn words(&self) -> &[&'static str] {
        &[
            "\n",
            "0\n",
            "1\n",
            "10\n",
            "4096\n",
            "4097\n",
            "18446744073709551615\n",
            "18446744073709551616\n",
            "-1\n",
            " 1\n",
            "+1\n",
            "\r\n",
        ]
    }

    fn feed(&mut self, input: &[u8]) -> Result<String, String> {
        let whole = read(&[input]);
        let mut chance = Chance::from_bytes(input);
        for _ in 0..2 {
            let mut pieces = Vec::new();
            let mut rest = input;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((1 + chance.below(40)).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            ensure(read(&pieces) == whole, "another cutting gives other records")?;
        }
        let (records, end) = whole;
        let again: Vec<u8> = records.iter().flat_map(|record| frame(record)).collect();
        ensure(read(&[&again]) == (records.clone(), Ok(())), "framed again they are not the same")?;
        Ok(format!("{} {end:?}", records.len().min(9)))
    }
}

fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Result<(), RecordError>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut records = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => break,
                Err(error) => return (records, Err(error)),
            }
        }
    }
    (records, decoder.finish())
}
