//! Weights and quotas: operators' calls are checked and proposed; what was committed reaches the allocator, and offers that
//! it makes wrong are taken back.

use std::collections::{BTreeMap, BTreeSet};

use imbl::OrdMap;
use tepui_proto::resources::{Resources, ValueKind};
use tepui_proto::role;
use tepui_proto::v1::{WeightInfo, quota};

use super::core::Master;
use super::effect::{Level, Reply};
use super::input::RequestId;
use super::offers::Offered;
use super::pipeline::Pending;
use crate::allocator::Amounts;
use crate::ids::OfferId;
use crate::registry::{
    Capacity, Operation, Outcome, QuotaRecord, Refusal, Registry, SetQuotas, SetWeights, WeightRecord,
};
use crate::validation;

/// The settings that the allocator was told, to be compared with the Registry's.
#[derive(Debug, Default)]
pub(super) struct Told {
    weights: OrdMap<std::sync::Arc<str>, f64>,
    quotas: OrdMap<std::sync::Arc<str>, std::sync::Arc<QuotaRecord>>,
}

impl Told {
    fn changed_roles(&self, registry: &Registry) -> (Vec<String>, Vec<String>) {
        let differ = |diff: imbl::ordmap::DiffItem<'_, '_, std::sync::Arc<str>, f64>| match diff {
            imbl::ordmap::DiffItem::Add(role, _) | imbl::ordmap::DiffItem::Remove(role, _) => {
                role.to_string()
            }
            imbl::ordmap::DiffItem::Update { new: (role, _), .. } => role.to_string(),
        };
        let weights = self.weights.diff(&registry.weights).map(differ).collect();
        let roles: BTreeSet<&str> =
            self.quotas.keys().chain(registry.quotas.keys()).map(|role| &**role).collect();
        let changed = roles.into_iter().filter(|role| self.quotas.get(*role) != registry.quotas.get(*role));
        (weights, changed.map(str::to_owned).collect())
    }
}

impl Master {
    pub(super) fn on_update_weights(&mut self, request: RequestId, infos: &[WeightInfo]) {
        let listed = |weights: Vec<WeightRecord>| {
            self.check_listed("weight_infos", weights.iter().map(|one| one.role.as_str())).map(|()| weights)
        };
        match validation::weights(infos).and_then(listed) {
            Err(rejection) => self.reject(request, rejection.status, rejection.reason),
            Ok(weights) if weights.is_empty() => self.reply(request, Reply::Ok),
            Ok(weights) => {
                let operation = Operation::SetWeights(SetWeights { weights });
                self.propose(operation, Pending::Settings { request, exceeding: None });
            }
        }
    }

    pub(super) fn on_update_quota(
        &mut self,
        request: RequestId,
        force: bool,
        configs: &[quota::QuotaConfig],
    ) {
        let listed = |quotas: Vec<QuotaRecord>| {
            self.check_listed("quota_configs", quotas.iter().map(|one| one.role.as_str())).map(|()| quotas)
        };
        match validation::quotas(configs).and_then(listed) {
            Err(rejection) => self.reject(request, rejection.status, rejection.reason),
            Ok(quotas) => self.set_quotas(request, force, quotas),
        }
    }

    /// The older call: it sets what is not set yet, and guarantees as much as it limits.
    pub(super) fn on_set_quota(&mut self, request: RequestId, asked: &quota::QuotaRequest) {
        let listed =
            |quota: QuotaRecord| self.check_listed("quota_request", [quota.role.as_str()]).map(|()| quota);
        match validation::quota_request(asked).and_then(listed) {
            Err(rejection) => self.reject(request, rejection.status, rejection.reason),
            Ok(quota) if self.registry.quotas.contains_key(quota.role.as_str()) => {
                self.reject(request, 400, format!("role '{}' has a quota already", quota.role));
            }
            Ok(quota) => self.set_quotas(request, asked.force(), vec![quota]),
        }
    }

    pub(super) fn on_remove_quota(&mut self, request: RequestId, role: &str) {
        if self.registry.quotas.contains_key(role) {
            let none = QuotaRecord { role: role.to_owned(), ..Default::default() };
            self.set_quotas(request, true, vec![none]);
        } else {
            self.reject(request, 400, format!("role '{role}' has no quota"));
        }
    }

    fn set_quotas(&mut self, request: RequestId, force: bool, quotas: Vec<QuotaRecord>) {
        if quotas.is_empty() {
            self.reply(request, Reply::Ok);
            return;
        }
        let (mut capacity, mut exceeding) = (None, None);
        if !force {
            self.settle_holdings();
            if let Some(reason) = quotas.iter().find_map(|quota| self.limit_is_passed(quota)) {
                self.reject(request, 400, format!("{reason}; 'force' sets it nevertheless"));
                return;
            }
            let amounts = self.allocator.cluster();
            exceeding = self.guarantee_that_exceeds(&quotas, &amounts);
            capacity = Some(Capacity { amounts });
        }
        let pending = Pending::Settings { request, exceeding };
        self.propose(Operation::SetQuotas(SetQuotas { quotas, capacity }), pending);
    }

    /// Says which guarantee takes what all roles are promised beyond what there is. Only for the refusal's text: what decides is
    /// the sum when the quotas are applied.
    fn guarantee_that_exceeds(&self, quotas: &[QuotaRecord], has: &Amounts) -> Option<String> {
        let units = |milli: u64| milli as f64 / 1000.0;
        let guarantees = quotas.iter().flat_map(|quota| quota.guarantees.iter().map(move |one| (quota, one)));
        guarantees.into_iter().find_map(|(quota, (name, amount))| {
            let amount_of = |quota: &QuotaRecord| quota.guarantees.get(name).copied().unwrap_or_default();
            let is_set = |role: &str| quotas.iter().any(|one| one.role == role);
            let kept = self.registry.quotas.values().filter(|one| !is_set(&one.role));
            let others = kept.map(|one| amount_of(one)).chain(
                quotas.iter().filter(|one| one.role != quota.role).map(amount_of),
            );
            let others = others.fold(0, u64::saturating_add);
            let has = has.get(name).copied().unwrap_or_default();
            (others.saturating_add(*amount) > has).then(|| {
                format!(
                    "guarantees exceed what the cluster has: {} of '{name}' for role '{}' and {} for other roles, of {} in all; \
                     'force' sets it nevertheless",
                    units(*amount), quota.role, units(others), units(has)
                )
            })
        })
    }

    /// Says which limit lies below what the role uses now, offers apart: those can be taken back.
    fn limit_is_passed(&self, quota: &QuotaRecord) -> Option<String> {
        let mut used = self.allocator.consumed(&quota.role);
        for (_, offered) in self.offers_below(&quota.role) {
            subtract(&mut used, &unreserved(&offered.resources));
        }
        let passed =
            quota.limits.iter().find(|(name, limit)| used.get(*name).is_some_and(|used| used > *limit));
        passed.map(|(name, limit)| {
            let units = |milli: u64| milli as f64 / 1000.0;
            let used = used.get(name).copied().unwrap_or_default();
            format!(
                "the limit of role '{}' for '{name}' is {}, but it uses {}",
                quota.role,
                units(*limit),
                units(used)
            )
        })
    }

    pub(super) fn settings_changed(
        &mut self,
        request: RequestId,
        exceeding: Option<String>,
        outcome: &Outcome,
    ) {
        match outcome {
            Outcome::Refused(refusal) => {
                let named = exceeding.filter(|_| *refusal == Refusal::Overcommitted);
                self.reject(request, 400, named.unwrap_or_else(|| refusal.to_string()));
            }
            _ => self.reply(request, Reply::Ok),
        }
    }

    /// Tells the allocator which weights and quotas are committed, and takes back what they make wrong.
    pub(super) fn sync_settings(&mut self) {
        let same = self.settings.weights.ptr_eq(&self.registry.weights)
            && self.settings.quotas.ptr_eq(&self.registry.quotas);
        if same {
            return;
        }
        let (weights, quotas) = self.settings.changed_roles(&self.registry);
        self.settings = Told { weights: self.registry.weights.clone(), quotas: self.registry.quotas.clone() };
        for role in &weights {
            let weight = self.registry.weights.get(role.as_str()).copied().unwrap_or(1.0);
            if let Err(error) = self.allocator.set_weight(role, weight) {
                self.setting_unusable(role, &error.to_string());
            }
        }
        for role in &quotas {
            let none = QuotaRecord::default();
            let record = self.registry.quotas.get(role.as_str()).cloned();
            let quota = record.as_deref().unwrap_or(&none);
            if let Err(error) = self.allocator.set_quota(role, &quota.guarantees, &quota.limits) {
                self.setting_unusable(role, &error.to_string());
            }
        }
        self.settle_holdings();
        for role in weights {
            let ids: Vec<OfferId> = self.offers_below(&role).map(|(id, _)| id.clone()).collect();
            for id in ids {
                self.rescind(&id);
            }
        }
        for role in quotas {
            self.make_room_for_quota(&role);
        }
    }

    fn setting_unusable(&mut self, role: &str, reason: &str) {
        let fields = vec![("role", role.to_owned()), ("reason", reason.to_owned())];
        self.note(Level::Warn, "a setting of a role has no effect", fields);
    }

    /// Takes offers back so that a new quota holds at once, as far as offers stand against it.
    fn make_room_for_quota(&mut self, role: &str) {
        let Some(quota) = self.registry.quotas.get(role).cloned() else { return };
        let consumed = self.allocator.consumed(role);
        // Beyond the limit: the role's own offers.
        let mut beyond = quota.limits.clone();
        for (name, limit) in &mut beyond {
            *limit = consumed.get(name).copied().unwrap_or_default().saturating_sub(*limit);
        }
        let own: Vec<_> = self.offers_below(role).map(described).collect();
        self.rescind_enough(beyond, own);
        // Below the guarantee, as far as it is not free: offers of roles to which nothing was promised.
        let mut missing = quota.guarantees.clone();
        subtract(&mut missing, &consumed);
        subtract(&mut missing, &self.allocator.free_for_all());
        let promised = |of: &str| {
            let quota = self.registry.quotas.get(top(of));
            quota.is_some_and(|quota| !quota.guarantees.is_empty())
        };
        let others: Vec<_> =
            self.offers.all().filter(|(_, one)| !promised(&one.role)).map(described).collect();
        self.rescind_enough(missing, others);
    }

    fn rescind_enough(&mut self, mut wanted: Amounts, offers: Vec<(OfferId, Amounts)>) {
        for (id, amounts) in offers {
            let helps = wanted.iter().any(|(name, want)| *want > 0 && amounts.contains_key(name));
            if helps {
                subtract(&mut wanted, &amounts);
                self.rescind(&id);
            }
        }
    }

    /// Offers for this role and those below it.
    fn offers_below<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a OfferId, &'a Offered)> {
        self.offers
            .all()
            .filter(move |(_, one)| *one.role == *role || role::is_strict_subrole(&one.role, role))
    }

    /// After a change of leader quotas are trusted only when most agents are back: before that, what roles use is not known
    /// to be all, and what is free looks scarcer than it is. Agents that were given up are not waited for.
    pub(super) fn awaits_agents(&self) -> bool {
        if self.quota_recovered || self.registry.quotas.is_empty() {
            return false;
        }
        let until_ms = self.lead_since_ms().saturating_add(self.config.quota_recovery_ms);
        let known = self.registry.reachable_agents();
        let back = self.view.connected_agents.len();
        self.now.cluster_ms < until_ms && back * 5 < known * 4
    }
}

/// The top-level role above a role, or itself.
fn top(role: &str) -> &str {
    role.split('/').next().unwrap_or(role)
}

fn described((id, offered): (&OfferId, &Offered)) -> (OfferId, Amounts) {
    (id.clone(), unreserved(&offered.resources))
}

/// Unreserved scalars that nobody takes back, in thousandths.
fn unreserved(resources: &Resources) -> Amounts {
    let mut amounts = BTreeMap::new();
    for (identity, amount) in resources.iter() {
        let counts = identity.kind() == ValueKind::Scalar
            && identity.reservations().is_empty()
            && !identity.is_revocable();
        if counts {
            let sum: &mut u64 = amounts.entry(identity.name().to_owned()).or_default();
            *sum = sum.saturating_add(u64::try_from(amount.total().0).unwrap_or_default());
        }
    }
    amounts
}

fn subtract(from: &mut Amounts, less: &Amounts) {
    for (name, amount) in from.iter_mut() {
        *amount = amount.saturating_sub(less.get(name).copied().unwrap_or_default());
    }
}
