//! One framework in the plain endpoints' form.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tepui_proto::ids::FrameworkId;
use tepui_proto::v1::executor_info::Type as Kind;
use tepui_proto::v1::framework_info::capability::Type;
use tepui_proto::v1::resource::AllocationInfo;
use tepui_proto::v1::scheduler::OfferConstraints;
use tepui_proto::v1::{CommandInfo, Environment, Label, Offer, Resource, command_info};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::registry::{FrameworkRecord, TaskRecord};

use super::records::{Amounts, Task, text};
use crate::view::tasks;
use crate::view::wanted::Wanted;

/// What has to be looked up once for all frameworks.
pub(super) struct Shared {
    pub(super) allocated: BTreeMap<FrameworkId, Vec<Resource>>,
    pub(super) offers: BTreeMap<String, Vec<Offer>>,
}

/// What a summary shows of a framework.
#[derive(Serialize)]
pub(super) struct Head<'a> {
    pub(super) id: &'a str,
    name: &'a str,
    used_resources: Amounts,
    offered_resources: Amounts,
    capabilities: Vec<&'static str>,
    hostname: &'a str,
    webui_url: &'a str,
    active: bool,
    connected: bool,
    recovered: bool,
}

/// The tasks of one framework that are in one of its lists, made while they are written.
struct Tasks<'a> {
    registry: &'a Registry,
    framework: FrameworkId,
    list: List,
    wanted: &'a Wanted,
}

#[derive(Clone, Copy)]
enum List {
    There,
    Away,
    Ended,
}

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown =
            |record: &&Arc<TaskRecord>| self.wanted.agents.is_empty() || self.wanted.agent(agent_of(record));
        let live = || tasks::of_framework(self.registry, &self.framework).filter(shown);
        match self.list {
            List::There => {
                let there = live().filter(|record| record.unreachable_wall_ms.is_none());
                serializer.collect_seq(there.filter_map(|record| Task::of(record)))
            }
            List::Away => {
                let away = live().filter(|record| record.unreachable_wall_ms.is_some());
                serializer.collect_seq(away.filter_map(|record| Task::of(record)))
            }
            List::Ended => {
                let ended = self.registry.history.get(&self.framework).into_iter().flatten().filter(shown);
                serializer.collect_seq(ended.filter_map(|record| Task::of(record)))
            }
        }
    }
}

fn agent_of(record: &TaskRecord) -> &str {
    let task = record.task.as_ref();
    text(task.and_then(|task| task.agent_id.as_ref()).and_then(|id| id.value.as_deref()))
}

/// One framework.
#[derive(Serialize)]
pub(super) struct Framework<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    user: &'a str,
    failover_timeout: f64,
    checkpoint: bool,
    registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    unregistered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<String>>,
    resources: Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [Label]>,
    tasks: Tasks<'a>,
    unreachable_tasks: Tasks<'a>,
    completed_tasks: Tasks<'a>,
    offers: Vec<ShownOffer>,
    executors: Vec<Executor<'a>>,
    offer_constraints: OfferConstraints,
}

#[derive(Serialize)]
struct ShownOffer {
    id: String,
    framework_id: String,
    allocation_info: AllocationInfo,
    slave_id: String,
    resources: Amounts,
}

#[derive(Serialize)]
struct Executor<'a> {
    executor_id: &'a str,
    name: &'a str,
    framework_id: &'a str,
    command: Command<'a>,
    resources: Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [Label]>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    slave_id: String,
}

/// A command as old readers know it.
#[derive(Default, Serialize)]
struct Command<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    argv: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a Environment>,
    uris: Vec<Uri<'a>>,
}

#[derive(Serialize)]
struct Uri<'a> {
    value: &'a str,
    executable: bool,
}

impl<'a> Command<'a> {
    fn of(command: &'a CommandInfo) -> Command<'a> {
        let uri = |uri: &'a command_info::Uri| Uri { value: uri.value(), executable: uri.executable() };
        Command {
            shell: command.shell,
            value: command.value.as_deref(),
            argv: &command.arguments,
            environment: command.environment.as_ref(),
            uris: command.uris.iter().map(uri).collect(),
        }
    }
}

impl<'a> Framework<'a> {
    pub(super) fn of(
        registry: &'a Registry,
        record: &'a FrameworkRecord,
        shared: &Shared,
        wanted: &'a Wanted,
    ) -> Option<Framework<'a>> {
        let info = record.info.as_ref()?;
        let head = Framework::head(registry, record, shared)?;
        let (id, shown) = (record.id(), head.id);
        let multi_role = record.can(Type::MultiRole);
        let nothing = Vec::new();
        let used = shared.allocated.get(&id).unwrap_or(&nothing);
        let no_offers = Vec::new();
        let offers = shared.offers.get(id.as_str()).unwrap_or(&no_offers);
        let offered = || offers.iter().flat_map(|offer| &offer.resources);
        let tasks = |list| Tasks { registry, framework: id.clone(), list, wanted };
        let on_wanted =
            |offer: &&Offer| wanted.agent(text(offer.agent_id.as_ref().and_then(|id| id.value.as_deref())));
        Some(Framework {
            head,
            user: text(info.user.as_deref()),
            failover_timeout: info.failover_timeout.unwrap_or_default(),
            checkpoint: info.checkpoint.unwrap_or_default(),
            registered_time: seconds(record.registered_wall_ms),
            reregistered_time: (record.reregistered_wall_ms > 0)
                .then(|| seconds(record.reregistered_wall_ms)),
            unregistered_time: seconds(record.unregistered_wall_ms),
            principal: info.principal.as_deref(),
            role: (!multi_role).then(|| record.roles().pop().unwrap_or_default()),
            roles: multi_role.then(|| record.roles()),
            resources: Amounts::of(used.iter().chain(offered())),
            labels: info.labels.as_ref().map(|labels| labels.labels.as_slice()),
            tasks: tasks(List::There),
            unreachable_tasks: tasks(List::Away),
            completed_tasks: tasks(List::Ended),
            offers: offers.iter().filter(on_wanted).map(ShownOffer::of).collect(),
            executors: executors(registry, &id, shown, wanted),
            offer_constraints: record.offer_constraints.clone().unwrap_or_default(),
        })
    }

    /// The part that a summary shows.
    pub(super) fn head(
        registry: &'a Registry,
        record: &'a FrameworkRecord,
        shared: &Shared,
    ) -> Option<Head<'a>> {
        let info = record.info.as_ref()?;
        let id = record.id();
        let used = shared.allocated.get(&id).into_iter().flatten();
        let offered = shared.offers.get(id.as_str()).into_iter().flatten().flat_map(|offer| &offer.resources);
        let completed = record.unregistered_wall_ms > 0;
        let connected = (record.internal || registry.framework_connected(record)) && !completed;
        Some(Head {
            id: text(info.id.as_ref().and_then(|id| id.value.as_deref())),
            name: text(info.name.as_deref()),
            used_resources: Amounts::of(used),
            offered_resources: Amounts::of(offered),
            capabilities: capabilities(record),
            hostname: text(info.hostname.as_deref()),
            webui_url: text(info.webui_url.as_deref()),
            active: connected,
            connected,
            recovered: record.recovered,
        })
    }
}

impl ShownOffer {
    fn of(offer: &Offer) -> ShownOffer {
        ShownOffer {
            id: offer.id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default(),
            framework_id: offer.framework_id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default(),
            allocation_info: offer.allocation_info.clone().unwrap_or_default(),
            slave_id: offer.agent_id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default(),
            resources: Amounts::of(&offer.resources),
        }
    }
}

fn executors<'a>(
    registry: &'a Registry,
    id: &FrameworkId,
    framework_id: &'a str,
    wanted: &Wanted,
) -> Vec<Executor<'a>> {
    let known = registry.executors.iter().filter(|(key, _)| key.framework == *id);
    let known = known.filter(|(key, _)| wanted.agent(key.agent.as_str()));
    known
        .filter_map(|(key, record)| Some((key, record.info.as_ref()?)))
        .map(|(key, executor)| Executor {
            executor_id: text(executor.executor_id.as_ref().and_then(|id| id.value.as_deref())),
            name: text(executor.name.as_deref()),
            framework_id,
            command: executor.command.as_ref().map(Command::of).unwrap_or_default(),
            resources: Amounts::of(&executor.resources),
            role: executor
                .resources
                .first()
                .map(|one| one.allocation_info.as_ref().and_then(|info| info.role.as_deref()).unwrap_or("*")),
            labels: executor.labels.as_ref().map(|labels| labels.labels.as_slice()),
            kind: executor.r#type.and_then(|kind| Kind::try_from(kind).ok()).map(|kind| kind.as_str_name()),
            slave_id: key.agent.as_str().to_owned(),
        })
        .collect()
}

fn capabilities(record: &FrameworkRecord) -> Vec<&'static str> {
    let declared = record.info.iter().flat_map(|info| &info.capabilities);
    declared.filter_map(|one| Type::try_from(one.r#type?).ok()).map(|kind| kind.as_str_name()).collect()
}

/// Milliseconds as seconds; zero stands for "never", as in Mesos.
pub(super) fn seconds(wall_ms: u64) -> f64 {
    wall_ms as f64 / 1000.0
}
