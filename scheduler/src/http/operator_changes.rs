//! Operator calls that change something, as the core takes them. Owns the way from the wire to an [`OperatorCall`]; what is
//! allowed and what it does is the core's.

use tepui_proto::v1::master::Call;
use tepui_proto::v1::master::call::Type;
use tepui_scheduler_core::OperatorCall;

use crate::http::error::Refusal;
use crate::http::fleet;
use crate::http::resources;

/// The change that this call asks for; nothing if it is a read.
///
/// # Errors
/// 400 that names the member which cannot be used.
pub(crate) fn change(kind: Type, call: Call) -> Result<Option<OperatorCall>, Refusal> {
    let change = match kind {
        Type::Teardown => {
            let id = call.teardown.and_then(|teardown| teardown.framework_id).unwrap_or_default();
            OperatorCall::Teardown((&id).into())
        }
        Type::UpdateWeights => {
            OperatorCall::UpdateWeights(call.update_weights.unwrap_or_default().weight_infos)
        }
        Type::UpdateQuota => {
            let update = call.update_quota.unwrap_or_default();
            OperatorCall::UpdateQuota { force: update.force(), configs: update.quota_configs }
        }
        Type::SetQuota => {
            OperatorCall::SetQuota(call.set_quota.unwrap_or_default().quota_request.unwrap_or_default())
        }
        Type::RemoveQuota => {
            OperatorCall::RemoveQuota(call.remove_quota.unwrap_or_default().role.unwrap_or_default())
        }
        Type::ReserveResources => {
            let call = call.reserve_resources.unwrap_or_default();
            resources::reserve(call.agent_id, call.resources, call.source)
        }
        Type::UnreserveResources => {
            let call = call.unreserve_resources.unwrap_or_default();
            resources::unreserve(call.agent_id, call.resources)
        }
        Type::CreateVolumes => {
            let call = call.create_volumes.unwrap_or_default();
            resources::create(call.agent_id, call.volumes)
        }
        Type::DestroyVolumes => {
            let call = call.destroy_volumes.unwrap_or_default();
            resources::destroy(call.agent_id, call.volumes)
        }
        Type::GrowVolume => {
            let call = call.grow_volume.unwrap_or_default();
            resources::grow(call.agent_id, call.volume, call.addition)
        }
        Type::ShrinkVolume => {
            let call = call.shrink_volume.unwrap_or_default();
            resources::shrink(call.agent_id, call.volume, call.subtract)
        }
        _ => return Ok(fleet::change(kind, call)?.map(OperatorCall::Fleet)),
    };
    Ok(Some(change))
}
