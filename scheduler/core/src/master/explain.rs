//! Why a framework is not getting offers: what the allocator says of it, with what became of the offers that it had.

use tepui_proto::tepui::operator::response::ExplainOffers;
use tepui_proto::tepui::operator::{OfferObstacle, Response, RoleOffers, response};
use tepui_proto::v1::value::Scalar;

use super::core::Master;
use super::effect::Reply;
use super::input::RequestId;
use crate::allocator::{Amounts, Group, Reason, RoleView};
use crate::ids::{AgentId, FrameworkId};

impl Master {
    pub(super) fn on_explain_offers(&mut self, request: RequestId, id: &FrameworkId) {
        let Some(record) = self.registry.frameworks.get(id).cloned() else {
            self.reject(request, 404, format!("framework {id} cannot be found"));
            return;
        };
        let roles = record.roles().into_iter().map(|role| self.explain_role(id, role)).collect();
        let explained = ExplainOffers {
            framework_id: Some(id.to_proto()),
            name: record.info.as_ref().and_then(|info| info.name.clone()),
            connected: Some(self.live(id).is_some()),
            awaits_agents: Some(self.awaits_agents()),
            roles,
        };
        let response = Response {
            r#type: Some(response::Type::ExplainOffers as i32),
            explain_offers: Some(explained),
            ..Default::default()
        };
        self.reply(request, Reply::Operator(response));
    }

    /// Says why nothing of an agent is offered to anybody: who is away, is away whatever operators want of it.
    fn why_inactive(&self, id: &AgentId) -> Reason {
        let is_here = self.agents.get(id).is_some_and(|session| session.registered().is_some());
        let record = self.registry.agents.get(id).filter(|_| is_here);
        match record.map(|record| (&record.drain, record.deactivated)) {
            Some((Some(drain), _)) if drain.drained => Reason::AgentDrained,
            Some((Some(_), _)) => Reason::AgentDraining,
            Some((None, true)) => Reason::AgentDeactivated,
            Some((None, false)) | None => Reason::AgentNotConnected,
        }
    }

    fn explain_role(&self, id: &FrameworkId, role: String) -> RoleOffers {
        let now_ms = self.now.cluster_ms;
        let explanation = self.allocator.explain(id, &role, now_ms, |agent| self.why_inactive(agent));
        let RoleView { weight, share, consumed, minimum, largest, filters, filters_end_ms } =
            self.allocator.role_view(id, &role, now_ms);
        let counts = self.offers.counts(id, &role);
        let top = role.split('/').next().unwrap_or(&role).to_owned();
        let quota = self.registry.quotas.get(top.as_str());
        RoleOffers {
            blocked: explanation.framework.iter().map(|reason| reason.text().to_owned()).collect(),
            offers_made: Some(counts.made),
            offers_accepted: Some(counts.accepted),
            offers_declined: Some(counts.declined),
            offers_rescinded: Some(counts.rescinded),
            offers_outstanding: Some(self.offers.outstanding(id, &role) as u64),
            filters: Some(filters as u64),
            filters_end_in_ms: filters_end_ms.map(|until_ms| until_ms.saturating_sub(now_ms)),
            weight: Some(weight),
            dominant_share: Some(share),
            quota_role: quota.map(|_| top.clone()),
            guarantees: quota.map(|quota| scalars(&quota.guarantees)).unwrap_or_default(),
            limits: quota.map(|quota| scalars(&quota.limits)).unwrap_or_default(),
            consumed: scalars(&consumed),
            min_allocatable: Some(minimum),
            largest_free: scalars(&largest),
            obstacles: explanation
                .agents
                .iter()
                .map(|(reason, group)| obstacle(*reason, group, now_ms))
                .collect(),
            role: Some(role),
        }
    }
}

fn obstacle(reason: Reason, group: &Group, now_ms: u64) -> OfferObstacle {
    let ends_in_ms = match reason {
        Reason::Refused => group.until_ms.map(|until_ms| until_ms.saturating_sub(now_ms)),
        _ => None,
    };
    OfferObstacle {
        reason: Some(reason.name().to_owned()),
        text: Some(reason.text().to_owned()),
        agents: Some(group.agents as u64),
        examples: group.examples.iter().map(AgentId::to_proto).collect(),
        ends_in_ms,
    }
}

fn scalars(amounts: &Amounts) -> std::collections::BTreeMap<String, Scalar> {
    let scalar = |milli: &u64| Scalar { value: Some(*milli as f64 / 1000.0) };
    amounts.iter().map(|(name, milli)| (name.clone(), scalar(milli))).collect()
}
