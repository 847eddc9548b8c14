//! The admission order in full: every combination of what may be wrong with a SUBSCRIBE, in both encodings. The first row that fails decides
//! the answer, down to its header and the words of its reason.

use hyper::{HeaderMap, Method};
use tepui_proto::MediaType;
use tepui_proto::basic::{Credentials, authorization};
use tepui_proto::v1::scheduler::Call;

use super::fixture::{BODY_LIMIT, Fixture, serving, text};
use super::world::{World, encodings};
use crate::config::Authentication;
use crate::runtime::role::Role;

const PATH: &str = "/api/v1/scheduler?a=%2F&b";
const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
const NAMELESS: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u"}}}"#;
const BARE: &str = r#"{"type":"SUBSCRIBE"}"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Master {
    Leads,
    Follows,
    KnowsNobody,
    Recovers,
    HandsOver,
}

impl Master {
    const ALL: [Master; 5] =
        [Master::Leads, Master::Follows, Master::KnowsNobody, Master::Recovers, Master::HandsOver];

    fn role(self) -> Role {
        match self {
            Master::Leads => serving(),
            Master::Follows => Role::Following { leader: Some("b.example:5050".to_owned()) },
            Master::KnowsNobody => Role::Following { leader: None },
            Master::Recovers => Role::Recovering,
            Master::HandsOver => Role::Draining,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    NotAsked,
    /// Credentials where nobody asks for any are not looked at.
    NotAskedButWrong,
    Right,
    Missing,
    WrongSecret,
    OtherScheme,
    NotBase64,
}

impl Proof {
    const ALL: [Proof; 7] = [
        Proof::NotAsked,
        Proof::NotAskedButWrong,
        Proof::Right,
        Proof::Missing,
        Proof::WrongSecret,
        Proof::OtherScheme,
        Proof::NotBase64,
    ];

    fn is_asked(self) -> bool {
        !matches!(self, Proof::NotAsked | Proof::NotAskedButWrong)
    }

    fn header(self) -> Option<String> {
        match self {
            Proof::NotAsked | Proof::Missing => None,
            Proof::Right => Some(authorization("alice", "secret")),
            Proof::WrongSecret | Proof::NotAskedButWrong => Some(authorization("alice", "guess")),
            Proof::OtherScheme => Some("Bearer x".to_owned()),
            Proof::NotBase64 => Some("Basic ???".to_owned()),
        }
    }
}

/// Another way of writing the type than the exact one, which is right as well.
const RIGHT: [&str; 2] = ["", "; charset=utf-8"];
const WRONG: [&str; 5] = ["text/plain", "application/jsonx", "application/recordio", "json", ""];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Right(usize),
    Missing,
    Wrong(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    Whole,
    Broken,
    Nameless,
    Bare,
    TooLong,
}

impl Payload {
    const ALL: [Payload; 5] =
        [Payload::Whole, Payload::Broken, Payload::Nameless, Payload::Bare, Payload::TooLong];

    fn bytes(self, media: MediaType) -> Vec<u8> {
        let encoded = |text: &str| {
            let of_it = |(one, _): &(MediaType, Vec<u8>)| *one == media;
            encodings::<Call>(text).into_iter().find(of_it).unwrap().1
        };
        match self {
            Payload::Whole => encoded(SUBSCRIBE),
            Payload::Nameless => encoded(NAMELESS),
            Payload::Bare => encoded(BARE),
            Payload::Broken => {
                let mut whole = encoded(SUBSCRIBE);
                whole.pop();
                whole
            }
            Payload::TooLong => vec![b' '; BODY_LIMIT + 1],
        }
    }
}

#[derive(Clone, Debug)]
struct Wrongs {
    proof: Proof,
    master: Master,
    method: Method,
    kind: Kind,
    payload: Payload,
    accept: Option<&'static str>,
    stream_id: bool,
}

/// Status, a header that must be there, words of the reason.
type Answer = (u16, Option<(&'static str, &'static str)>, &'static [&'static str]);

/// The rows of the admission order, one after the other.
fn expected(request: &Wrongs, media: MediaType) -> Answer {
    const TYPES: &[&str] = &["'Content-Type'", "application/json", "application/x-protobuf"];
    if !matches!(request.proof, Proof::NotAsked | Proof::NotAskedButWrong | Proof::Right) {
        let challenge = ("www-authenticate", "Basic realm=\"mesos-master-scheduler\"");
        return (401, Some(challenge), &["authentication"]);
    }
    match request.master {
        Master::Leads => {}
        Master::Follows => {
            let location = "//b.example:5050/api/v1/scheduler?a=%2F&b";
            return (307, Some(("location", location)), &[]);
        }
        Master::KnowsNobody => return (503, Some(("retry-after", "1")), &["no leading master"]),
        Master::Recovers => return (503, Some(("retry-after", "1")), &["recovering"]),
        Master::HandsOver => return (503, Some(("retry-after", "1")), &["handing over"]),
    }
    if request.method != Method::POST {
        return (405, Some(("allow", "POST")), &["POST"]);
    }
    match request.kind {
        Kind::Missing => return (400, None, &["'Content-Type'"]),
        Kind::Wrong(_) => return (415, None, TYPES),
        Kind::Right(_) => {}
    }
    match (request.payload, media) {
        (Payload::Whole, _) => {}
        (Payload::TooLong, _) => return (413, None, &["4096 bytes"]),
        (Payload::Broken, MediaType::Json) => {
            return (400, None, &["mesos.v1.scheduler.Call", "JSON", "line 1"]);
        }
        (Payload::Broken, MediaType::Protobuf) => {
            return (400, None, &["mesos.v1.scheduler.Call", "protobuf"]);
        }
        (Payload::Nameless, _) => return (400, None, &["'subscribe.framework_info.name'"]),
        (Payload::Bare, _) => return (400, None, &["'subscribe'"]),
    }
    if request.accept == Some("text/html, application/json;q=0") {
        return (406, None, &["'Accept'", "application/json", "application/x-protobuf"]);
    }
    if request.stream_id {
        return (400, None, &["'Mesos-Stream-Id'"]);
    }
    let chosen = match request.accept {
        Some("application/x-protobuf") => "application/x-protobuf",
        _ => "application/json",
    };
    (200, Some(("content-type", chosen)), &[])
}

#[tokio::test]
async fn the_first_row_that_fails_decides_whatever_else_is_wrong() {
    let (mut wrong, mut asked, mut taken) = (Vec::new(), 0, 0);
    for proof in Proof::ALL {
        for master in Master::ALL {
            let credentials = Credentials::parse("alice secret").unwrap();
            let authentication =
                Authentication { frameworks: proof.is_asked(), credentials, ..Default::default() };
            let world = World::new(Fixture::guarded(master.role(), authentication));
            for request in requests(proof, master) {
                for media in [MediaType::Json, MediaType::Protobuf] {
                    asked += 1;
                    let (status, header, words) = expected(&request, media);
                    let answer = ask(&world, &request, media).await;
                    let found = answer.status().as_u16();
                    let headers = answer.headers().clone();
                    let reason = if found == 200 { String::new() } else { text(answer).await };
                    taken += usize::from(found == 200);
                    let named = words.iter().all(|word| reason.contains(word));
                    let carried = header.is_none_or(|(name, value)| {
                        headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes())
                    });
                    if found != status || !named || !carried || !formed(found, &headers, &reason) {
                        wrong.push(format!(
                            "{request:?} in {media}: {found} {headers:?} {reason:?}, not {status} with {header:?} and {words:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(asked > 20_000 && taken > 20, "{taken} of {asked} were taken");
}

fn requests(proof: Proof, master: Master) -> Vec<Wrongs> {
    let kinds =
        (0..RIGHT.len()).map(Kind::Right).chain([Kind::Missing]).chain((0..WRONG.len()).map(Kind::Wrong));
    let mut requests = Vec::new();
    for kind in kinds {
        for method in [Method::POST, Method::GET, Method::PUT, Method::DELETE] {
            for payload in Payload::ALL {
                for accept in [None, Some("application/x-protobuf"), Some("text/html, application/json;q=0")]
                {
                    for stream_id in [false, true] {
                        let method = method.clone();
                        requests.push(Wrongs { proof, master, method, kind, payload, accept, stream_id });
                    }
                }
            }
        }
    }
    requests
}

async fn ask(world: &World, request: &Wrongs, media: MediaType) -> axum::response::Response {
    let kind = match request.kind {
        Kind::Missing => None,
        Kind::Wrong(one) => Some(WRONG[one].to_owned()),
        Kind::Right(0) => Some(media.as_str().to_owned()),
        Kind::Right(one) => Some(format!("{}{}", media.as_str().to_uppercase(), RIGHT[one])),
    };
    let proof = request.proof.header();
    let mut headers: Vec<(&str, &str)> = Vec::new();
    headers.extend(kind.as_deref().map(|kind| ("content-type", kind)));
    headers.extend(proof.as_deref().map(|proof| ("authorization", proof)));
    headers.extend(request.accept.map(|accept| ("accept", accept)));
    headers.extend(request.stream_id.then_some(("Mesos-Stream-Id", "x")));
    world.fixture.send(request.method.clone(), PATH, &headers, request.payload.bytes(media)).await
}

/// What holds for every answer of its kind.
fn formed(status: u16, headers: &HeaderMap, reason: &str) -> bool {
    let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap());
    match status {
        200 => headers.contains_key("mesos-stream-id") && !headers.contains_key("content-length"),
        307 => kind.is_none() && reason.is_empty(),
        _ => kind == Some("text/plain") && !reason.is_empty() && !headers.contains_key("mesos-stream-id"),
    }
}
