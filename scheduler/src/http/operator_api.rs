//! `POST /api/v1`: the operator API. Owns which call is answered from a read view, which goes to the core, and which is not
//! built yet. Renders nothing itself: `view/` does.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use tepui_proto::MediaType;
use tepui_proto::tepui::operator;
use tepui_proto::v1::master::call::Type;
use tepui_proto::v1::master::response::{self, Type as Answer};
use tepui_proto::v1::master::{Call, Response as Message};
use tepui_proto::v1::{Flag, Metric};
use tepui_proto::wire;

use crate::http::apart::Form;
use crate::http::auth::Principal;
use crate::http::error::{Refusal, empty};
use crate::http::long_reads::Long;
use crate::http::terms::Terms;
use crate::http::{App, admission, answer, apart, files, operator_changes, redirect};
use crate::runtime::reads::ReadView;
use crate::runtime::verbosity::Fixed;
use crate::view;
use crate::view::wanted::Wanted;

/// Answers one request.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: Request,
    principal: Principal,
) -> Result<Response, Refusal> {
    let leading = redirect::leading(&app.role.borrow());
    let local = admission::wants_local(request.headers(), request.uri().query());
    let uri = request.uri().clone();
    let terms = Terms::of(&request);
    if let (Err(elsewhere), false) = (&leading, local) {
        return Ok(elsewhere.clone().answer(&uri));
    }
    let admitted = admission::post(request, app.limits.body_bytes).await?;
    let call: Call = wire::decode(admitted.media, &admitted.body)?;
    let Some(number) = call.r#type else {
        let unknown = wire::unknown_type(admitted.media, &admitted.body);
        return Err(Refusal::bad_request(
            unknown.unwrap_or_else(|| "expecting 'type' to be present".to_owned()),
        ));
    };
    let kind = Type::try_from(number).unwrap_or(Type::Unknown);
    if kind == Type::Unknown {
        return Err(Refusal::not_implemented(&format!("call type {number}")));
    }
    check_member(kind, &call)?;
    let media = admission::accepted(&admitted.parts.headers)?;
    match (kind, leading) {
        (Type::Subscribe, Err(elsewhere)) => Ok(elsewhere.answer(&uri)),
        (Type::Subscribe, Ok(())) => {
            let inlet = app.operator_events.subscribe(media).await.map_err(|_| answer::unavailable())?;
            Ok(answer::stream(media, inlet))
        }
        (Type::ListFiles | Type::ReadFile | Type::GetLoggingLevel | Type::SetLoggingLevel, _) => {
            own(app, kind, call, media).await
        }
        (kind, leading) => match (operator_changes::change(kind, call)?, leading) {
            (None, _) => {
                let wanted = Wanted::from_query(uri.query());
                read(app, kind, media, &terms, wanted).await
            }
            (Some(_), Err(elsewhere)) => Ok(elsewhere.answer(&uri)),
            (Some(change), Ok(())) => {
                answer::reply(media, app.handle.operator(change, principal, None).await)
            }
        },
    }
}

/// What concerns this process alone: its files and its log.
async fn own(app: &Arc<App>, kind: Type, call: Call, media: MediaType) -> Result<Response, Refusal> {
    let message = match kind {
        Type::ListFiles => {
            let files = files::list(app, &call.list_files.unwrap_or_default()).await?;
            Message { list_files: Some(files), ..of(Answer::ListFiles) }
        }
        Type::ReadFile => {
            let part = files::read(app, &call.read_file.unwrap_or_default()).await?;
            Message { read_file: Some(part), ..of(Answer::ReadFile) }
        }
        Type::SetLoggingLevel => {
            let set = call.set_logging_level.unwrap_or_default();
            let nanoseconds = set.duration.and_then(|duration| duration.nanoseconds).unwrap_or_default();
            let Ok(nanoseconds) = u64::try_from(nanoseconds) else {
                return Err(Refusal::bad_request("'set_logging_level.duration' is negative"));
            };
            return match app.verbosity.raise(set.level(), Duration::from_nanos(nanoseconds)) {
                Ok(()) => Ok(empty(StatusCode::ACCEPTED)),
                Err(Fixed) => Err(Refusal::not_implemented("SET_LOGGING_LEVEL")),
            };
        }
        _ => {
            let level = response::GetLoggingLevel { level: Some(app.verbosity.level()) };
            Message { get_logging_level: Some(level), ..of(Answer::GetLoggingLevel) }
        }
    };
    Ok(answer::message(media, &message))
}

/// Reads that are answered from this replica.
async fn read(
    app: &Arc<App>,
    kind: Type,
    media: MediaType,
    terms: &Terms,
    wanted: Wanted,
) -> Result<Response, Refusal> {
    let form = Form::of(media.as_str());
    if let Some(long) = Long::of(kind) {
        return apart::answer(app, terms, form, move |_, view, sink| long.write(media, view, &wanted, sink))
            .await;
    }
    if kind == Type::GetExecutors {
        let render = move |view: &ReadView| Message {
            get_executors: Some(view::tasks::get_executors(&view.registry, &wanted)),
            ..of(Answer::GetExecutors)
        };
        return apart::answer(app, terms, form, move |_, view, sink| {
            sink.write_all(&wire::encode(media, &render(view)))
        })
        .await;
    }
    let render: fn(&App, &ReadView) -> Message = match kind {
        Type::GetHealth => |_, _| Message {
            get_health: Some(response::GetHealth { healthy: Some(true) }),
            ..of(Answer::GetHealth)
        },
        Type::GetFlags => |app, _| Message {
            get_flags: Some(response::GetFlags { flags: flags(app) }),
            ..of(Answer::GetFlags)
        },
        Type::GetVersion => |app, _| Message {
            get_version: Some(response::GetVersion {
                version_info: Some(view::master::version_info(app.info.origin)),
            }),
            ..of(Answer::GetVersion)
        },
        Type::GetMetrics => |app, view| Message {
            get_metrics: Some(response::GetMetrics { metrics: metrics(app, view) }),
            ..of(Answer::GetMetrics)
        },
        Type::GetOperations => |_, view| Message {
            get_operations: Some(view::operations::get_operations(&view.registry)),
            ..of(Answer::GetOperations)
        },
        Type::GetRoles => |_, view| Message {
            get_roles: Some(view::roles::get_roles(&view.registry, view.local.as_deref())),
            ..of(Answer::GetRoles)
        },
        Type::GetWeights => |_, view| Message {
            get_weights: Some(view::settings::get_weights(&view.registry)),
            ..of(Answer::GetWeights)
        },
        Type::GetQuota => |_, view| Message {
            get_quota: Some(response::GetQuota {
                status: Some(view::settings::quota_status(&view.registry)),
            }),
            ..of(Answer::GetQuota)
        },
        Type::GetMaster => {
            |app, view| Message { get_master: Some(get_master(app, view)), ..of(Answer::GetMaster) }
        }
        Type::GetMaintenanceSchedule => |_, view| Message {
            get_maintenance_schedule: Some(response::GetMaintenanceSchedule {
                schedule: Some(view::maintenance::schedule(&view.registry)),
            }),
            ..of(Answer::GetMaintenanceSchedule)
        },
        Type::GetMaintenanceStatus => |_, view| Message {
            get_maintenance_status: Some(response::GetMaintenanceStatus {
                status: Some(view::maintenance::status(&view.registry, view.local.as_deref())),
            }),
            ..of(Answer::GetMaintenanceStatus)
        },
        other => return Err(Refusal::not_implemented(other.as_str_name())),
    };
    apart::answer(app, terms, form, move |app, view, sink| {
        sink.write_all(&wire::encode(media, &render(app, view)))
    })
    .await
}

fn of(kind: Answer) -> Message {
    Message { r#type: Some(kind as i32), ..Default::default() }
}

/// Calls with a member of their own need it.
fn check_member(kind: Type, call: &Call) -> Result<(), Refusal> {
    let present = match kind {
        Type::GetMetrics => call.get_metrics.is_some(),
        Type::SetLoggingLevel => call.set_logging_level.is_some(),
        Type::ListFiles => call.list_files.is_some(),
        Type::ReadFile => call.read_file.is_some(),
        Type::UpdateWeights => call.update_weights.is_some(),
        Type::ReserveResources => call.reserve_resources.is_some(),
        Type::UnreserveResources => call.unreserve_resources.is_some(),
        Type::CreateVolumes => call.create_volumes.is_some(),
        Type::DestroyVolumes => call.destroy_volumes.is_some(),
        Type::GrowVolume => call.grow_volume.is_some(),
        Type::ShrinkVolume => call.shrink_volume.is_some(),
        Type::UpdateMaintenanceSchedule => call.update_maintenance_schedule.is_some(),
        Type::StartMaintenance => call.start_maintenance.is_some(),
        Type::StopMaintenance => call.stop_maintenance.is_some(),
        Type::UpdateQuota => call.update_quota.is_some(),
        Type::SetQuota => call.set_quota.is_some(),
        Type::RemoveQuota => call.remove_quota.is_some(),
        Type::Teardown => call.teardown.is_some(),
        Type::MarkAgentGone => call.mark_agent_gone.is_some(),
        Type::DrainAgent => call.drain_agent.is_some(),
        Type::DeactivateAgent => call.deactivate_agent.is_some(),
        Type::ReactivateAgent => call.reactivate_agent.is_some(),
        _ => true,
    };
    if present {
        Ok(())
    } else {
        Err(Refusal::bad_request(format!("expecting '{}' to be present", kind.as_str_name().to_lowercase())))
    }
}

fn flags(app: &App) -> Vec<Flag> {
    let flag =
        |(name, value): &(String, String)| Flag { name: Some(name.clone()), value: Some(value.clone()) };
    app.info.flags.iter().map(flag).collect()
}

fn metrics(app: &App, view: &ReadView) -> Vec<Metric> {
    let metric = |(name, value): (String, f64)| Metric { name: Some(name), value: Some(value) };
    crate::http::legacy::metrics_snapshot(app, view).into_iter().map(metric).collect()
}

fn get_master(app: &App, view: &ReadView) -> response::GetMaster {
    let leader = view.registry.leader.as_deref();
    response::GetMaster {
        master_info: leader.map(view::master::master_info),
        start_time: Some(app.info.started_wall_ms as f64 / 1000.0),
        elected_time: leader.map(|leader| leader.elected_wall_ms as f64 / 1000.0),
    }
}

/// GET_RAFT of our own API, here because it is a read of the same kind.
pub(crate) fn get_raft(app: &App, view: &ReadView) -> operator::response::GetRaft {
    let status = app.replica.status();
    let members = status.members.iter().map(|(id, (peer, voter))| operator::RaftMember {
        node_id: Some(*id),
        peer_addr: Some(peer.peer_addr.clone()),
        api_addr: Some(peer.api_addr.clone()),
        voter: Some(*voter),
        matched_index: status.replication.get(id).copied().flatten(),
        feature_level: status.levels.get(id).copied(),
        silent: status.silent.contains(id).then_some(true),
    });
    operator::response::GetRaft {
        node_id: Some(status.node_id),
        role: Some(status.role.clone()),
        term: Some(status.term),
        leader: status.leader,
        leader_api: status.leader_peer.as_ref().map(|peer| peer.api_addr.clone()),
        last_log_index: status.last_log_index,
        committed_index: status.committed_index,
        applied_index: status.applied_index,
        snapshot_index: status.snapshot_index,
        epoch: Some(view.registry.epoch),
        cluster_id: status.cluster_id.clone(),
        members: members.collect(),
        feature_level: status.levels.get(&status.node_id).copied(),
        cluster_feature_level: Some(view.registry.feature_level),
        changing: status.changing.then_some(true),
    }
}
