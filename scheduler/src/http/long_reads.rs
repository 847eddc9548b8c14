//! The reads of the operator API that hold as much as the cluster does, written piece by piece.
//!
//! Owns how such a message is cut. In JSON its lists are made while they are written. In protobuf it is written as several messages, one behind
//! the other, each with a part of the lists: whoever reads them as one gets them merged, which is what the encoding says of fields that come
//! more than once (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>). What is shown is `view/`'s business.

use std::io::{self, Write};
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tepui_proto::json::{self, Message as _};
use tepui_proto::v1::master::Response as Message;
use tepui_proto::v1::master::call::Type;
use tepui_proto::v1::master::response::{
    GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks, Type as Answer,
};
use tepui_proto::{MediaType, wire};
use tepui_scheduler_core::registry::TaskRecord;

use crate::http::each::Each;
use crate::http::flow::Sink;
use crate::runtime::reads::ReadView;
use crate::view::wanted::Wanted;
use crate::view::{agents, frameworks, tasks};

/// So many objects are encoded at once.
const AT_ONCE: usize = 64;

/// A read of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long {
    State,
    Tasks,
    Frameworks,
    Agents,
}

impl Long {
    /// The long read that a call asks for, if it is one.
    pub(crate) fn of(kind: Type) -> Option<Long> {
        match kind {
            Type::GetState => Some(Long::State),
            Type::GetTasks => Some(Long::Tasks),
            Type::GetFrameworks => Some(Long::Frameworks),
            Type::GetAgents => Some(Long::Agents),
            _ => None,
        }
    }

    fn answer(self) -> Answer {
        match self {
            Long::State => Answer::GetState,
            Long::Tasks => Answer::GetTasks,
            Long::Frameworks => Answer::GetFrameworks,
            Long::Agents => Answer::GetAgents,
        }
    }

    /// Writes the answer.
    ///
    /// # Errors
    /// Those of the sink.
    pub(crate) fn write(
        self,
        media: MediaType,
        view: &ReadView,
        wanted: &Wanted,
        sink: &mut Sink,
    ) -> io::Result<()> {
        let whole = Whole { view, wanted };
        match media {
            MediaType::Json => Ok(json::to_writer(sink, &Named { long: self, whole })?),
            MediaType::Protobuf => self.write_parts(&whole, sink),
        }
    }

    fn write_parts(self, whole: &Whole<'_>, sink: &mut Sink) -> io::Result<()> {
        put(sink, &Message { r#type: Some(self.answer() as i32), ..Message::default() })?;
        match self {
            Long::State => {
                let state = |part| Message { get_state: Some(part), ..Message::default() };
                whole.tasks(|part| {
                    put(sink, &state(GetState { get_tasks: Some(part), ..GetState::default() }))
                })?;
                let executors = Some(whole.executors());
                put(sink, &state(GetState { get_executors: executors, ..GetState::default() }))?;
                whole.frameworks(|part| {
                    put(sink, &state(GetState { get_frameworks: Some(part), ..GetState::default() }))
                })?;
                whole.agents(|part| {
                    put(sink, &state(GetState { get_agents: Some(part), ..GetState::default() }))
                })
            }
            Long::Tasks => {
                whole.tasks(|part| put(sink, &Message { get_tasks: Some(part), ..Message::default() }))
            }
            Long::Frameworks => whole
                .frameworks(|part| put(sink, &Message { get_frameworks: Some(part), ..Message::default() })),
            Long::Agents => {
                whole.agents(|part| put(sink, &Message { get_agents: Some(part), ..Message::default() }))
            }
        }
    }
}

fn put(sink: &mut Sink, message: &Message) -> io::Result<()> {
    sink.write_all(&wire::encode(MediaType::Protobuf, message))
}

/// Everything that is wanted.
struct Whole<'a> {
    view: &'a ReadView,
    wanted: &'a Wanted,
}

impl Whole<'_> {
    fn executors(&self) -> GetExecutors {
        tasks::get_executors(&self.view.registry, self.wanted)
    }

    fn tasks(&self, mut put: impl FnMut(GetTasks) -> io::Result<()>) -> io::Result<()> {
        let (registry, wanted) = (&self.view.registry, self.wanted);
        let shown = |record: &Arc<TaskRecord>| tasks::task(record);
        // The member is there, even if all its lists are empty.
        put(GetTasks::default())?;
        in_parts(tasks::there(registry, wanted).filter_map(shown), |part| {
            put(GetTasks { tasks: part, ..GetTasks::default() })
        })?;
        in_parts(tasks::ended(registry, wanted).filter_map(shown), |part| {
            put(GetTasks { completed_tasks: part, ..GetTasks::default() })
        })?;
        in_parts(tasks::away(registry, wanted).filter_map(shown), |part| {
            put(GetTasks { unreachable_tasks: part, ..GetTasks::default() })
        })
    }

    fn frameworks(&self, mut put: impl FnMut(GetFrameworks) -> io::Result<()>) -> io::Result<()> {
        let (view, wanted) = (self.view, self.wanted);
        put(GetFrameworks::default())?;
        in_parts(frameworks::live(&view.registry, view.local.as_deref(), wanted), |part| {
            put(GetFrameworks { frameworks: part, ..GetFrameworks::default() })
        })?;
        in_parts(frameworks::completed(&view.registry, wanted), |part| {
            put(GetFrameworks { completed_frameworks: part, ..GetFrameworks::default() })
        })
    }

    fn agents(&self, mut put: impl FnMut(GetAgents) -> io::Result<()>) -> io::Result<()> {
        let (view, wanted) = (self.view, self.wanted);
        put(GetAgents::default())?;
        in_parts(agents::there(&view.registry, view.local.as_deref(), wanted), |part| {
            put(GetAgents { agents: part, ..GetAgents::default() })
        })?;
        let recovered = agents::recovered(&view.registry, wanted).filter_map(|record| record.info.clone());
        in_parts(recovered, |part| put(GetAgents { recovered_agents: part, ..GetAgents::default() }))
    }
}

fn in_parts<T>(
    mut items: impl Iterator<Item = T>,
    mut put: impl FnMut(Vec<T>) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let part: Vec<T> = items.by_ref().take(AT_ONCE).collect();
        if part.is_empty() {
            return Ok(());
        }
        put(part)?;
    }
}

/// A whole answer in JSON.
struct Named<'a> {
    long: Long,
    whole: Whole<'a>,
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.long.answer().as_str_name())?;
        let whole = &self.whole;
        match self.long {
            Long::State => map.serialize_entry("get_state", &State(whole))?,
            Long::Tasks => map.serialize_entry("get_tasks", &Tasks(whole))?,
            Long::Frameworks => map.serialize_entry("get_frameworks", &Frameworks(whole))?,
            Long::Agents => map.serialize_entry("get_agents", &Agents(whole))?,
        }
        map.end()
    }
}

struct State<'a>(&'a Whole<'a>);

impl Serialize for State<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("get_tasks", &Tasks(self.0))?;
        map.serialize_entry("get_executors", &self.0.executors())?;
        map.serialize_entry("get_frameworks", &Frameworks(self.0))?;
        map.serialize_entry("get_agents", &Agents(self.0))?;
        map.end()
    }
}

/// A list that has nothing in it is left out, as in every message.
fn entry<S, F, I>(map: &mut S, name: &'static str, items: F) -> Result<(), S::Error>
where
    S: SerializeMap,
    F: Fn() -> I,
    I: Iterator,
    I::Item: Serialize,
{
    if items().next().is_some() { map.serialize_entry(name, &Each(items)) } else { Ok(()) }
}

struct Tasks<'a>(&'a Whole<'a>);

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (registry, wanted) = (&self.0.view.registry, self.0.wanted);
        let mut map = serializer.serialize_map(None)?;
        entry(&mut map, "tasks", || tasks::there(registry, wanted).filter_map(Task::of))?;
        entry(&mut map, "completed_tasks", || tasks::ended(registry, wanted).filter_map(Task::of))?;
        entry(&mut map, "unreachable_tasks", || tasks::away(registry, wanted).filter_map(Task::of))?;
        map.end()
    }
}

/// One task with its last status, without a copy.
struct Task<'a> {
    task: &'a tepui_proto::v1::Task,
    status: Option<&'a tepui_proto::v1::TaskStatus>,
}

impl<'a> Task<'a> {
    fn of(record: &'a Arc<TaskRecord>) -> Option<Task<'a>> {
        let task = record.task.as_ref()?;
        Some(Task { task, status: record.last_status.as_ref().filter(|_| task.statuses.is_empty()) })
    }
}

impl Serialize for Task<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.task.write(&mut map)?;
        if let Some(status) = self.status {
            map.serialize_entry("statuses", &[status])?;
        }
        map.end()
    }
}

struct Frameworks<'a>(&'a Whole<'a>);

impl Serialize for Frameworks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (view, wanted) = (self.0.view, self.0.wanted);
        let (registry, local) = (&view.registry, view.local.as_deref());
        let mut map = serializer.serialize_map(None)?;
        if registry.frameworks.keys().any(|id| wanted.framework(id.as_str())) {
            map.serialize_entry("frameworks", &Each(|| frameworks::live(registry, local, wanted)))?;
        }
        entry(&mut map, "completed_frameworks", || frameworks::completed(registry, wanted))?;
        map.end()
    }
}

struct Agents<'a>(&'a Whole<'a>);

impl Serialize for Agents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (view, wanted) = (self.0.view, self.0.wanted);
        let (registry, local) = (&view.registry, view.local.as_deref());
        let mut map = serializer.serialize_map(None)?;
        if agents::records_there(registry, wanted).next().is_some() {
            map.serialize_entry("agents", &Each(|| agents::there(registry, local, wanted)))?;
        }
        entry(&mut map, "recovered_agents", || {
            agents::recovered(registry, wanted).filter_map(|record| record.info.as_ref())
        })?;
        map.end()
    }
}
