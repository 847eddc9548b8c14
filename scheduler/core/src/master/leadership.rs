//! The beginning and the end of a leadership.

use super::core::{Master, Party};
use super::effect::{Effect, Level, Reply};
use super::input::{MasterIdentity, ProposalId};
use super::mint::Mint;
use super::pipeline::{Pending, Pipeline};
use super::timers::Timer;
use crate::registry::{FrameworkRecord, Operation, Outcome, Registry, TakeLead, Tick, failover_timeout_ms};

/// Wait before `TakeLead` is proposed again.
const RETRY_MS: u64 = 100;
/// While a deadline is armed, cluster time is committed this often.
const TICK_MS: u64 = 1_000;

/// How far a leadership is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    TakingLead,
    Serving,
    /// Somebody else raised the epoch: waits to be deposed and does nothing.
    Superseded,
}

impl Master {
    pub(super) fn on_elected(&mut self, registry: Registry, identity: MasterIdentity, seed: [u8; 32]) {
        if self.phase != Phase::Idle {
            self.on_deposed();
        }
        self.phase = Phase::TakingLead;
        self.now.cluster_ms = self.now.cluster_ms.max(registry.cluster_ms);
        self.see(registry);
        self.identity = identity;
        self.mint = Mint::new(seed);
        self.allocator.set_region(region_of(self.identity.domain.as_ref()));
        self.view.listed_roles = self.config.roles.clone().unwrap_or_default().into();
        self.view.numbers.excluded_from_shares = self.config.allocator.excluded_from_shares.clone().into();
        self.propose_take_lead();
    }

    pub(super) fn propose_take_lead(&mut self) {
        if self.phase != Phase::TakingLead {
            return;
        }
        let me = &self.identity;
        let take = TakeLead {
            node_id: me.node_id,
            master_id: me.master_id.clone(),
            hostname: me.hostname.clone(),
            ip: me.ip.clone(),
            port: u32::from(me.port),
            version: me.version.clone(),
            cluster_id: me.cluster_id.clone(),
            domain: me.domain.clone(),
            term: me.term,
        };
        self.propose(Operation::TakeLead(take), Pending::TakeLead);
    }

    pub(super) fn on_deposed(&mut self) {
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for connection in connections {
            self.close(connection);
        }
        let waiting: Vec<_> = std::mem::take(&mut self.waiting).into_iter().collect();
        for request in waiting {
            let reason = "this master no longer leads; the outcome is unknown".to_owned();
            self.out.push(Effect::Reply { request, reply: Reply::Rejected { status: 503, reason } });
        }
        self.forget_leadership();
    }

    /// Drops everything that belongs to one leadership. Numbers of proposals go on, so that no late outcome is mistaken.
    fn forget_leadership(&mut self) {
        let fresh = Self::new(self.config.clone());
        let old = std::mem::replace(self, fresh);
        self.pipeline = Pipeline::after(&old.pipeline);
        self.out = old.out;
        self.attachments.masters = old.attachments.masters;
        self.now = old.now;
    }

    pub(super) fn on_applied(&mut self, registry: Registry, outcomes: Vec<(ProposalId, Outcome)>) {
        if self.phase == Phase::Idle {
            return;
        }
        if self.phase == Phase::Serving && registry.epoch > self.registry.epoch {
            // Another leadership has begun, so this Registry is not this leadership's to decide on.
            self.superseded(registry.epoch);
            return;
        }
        if self.phase == Phase::Serving {
            self.registry = registry;
        } else {
            self.see(registry);
        }
        self.see_operations();
        for (proposal, outcome) in outcomes {
            let Some(pending) = self.pipeline.take(proposal) else { continue };
            if let Outcome::Stale { epoch } = outcome {
                self.superseded(epoch);
                // It stays charged: this leadership decides nothing any more.
                self.pipeline.put_back(proposal, pending);
                continue;
            }
            self.on_outcome(pending, outcome);
        }
        if self.serving() {
            if self.in_doubt {
                self.settle_doubts();
            }
            self.sync_settings();
            self.supervise(|supervisor, cx| supervisor.applied(cx));
            self.settle_drains();
            self.tell_agents_of_operations();
        }
    }

    fn superseded(&mut self, epoch: u64) {
        if self.phase == Phase::Serving {
            self.note(Level::Warn, "leadership was superseded", vec![("epoch", epoch.to_string())]);
            self.phase = Phase::Superseded;
            self.view.serving = false;
        }
    }

    pub(super) fn took_lead(&mut self, outcome: &Outcome) {
        if *outcome != (Outcome::TookLead { epoch: self.registry.epoch }) {
            // Somebody took the lead behind us in the same batch.
            self.phase = Phase::Superseded;
            return;
        }
        self.phase = Phase::Serving;
        self.view.serving = true;
        self.note(Level::Info, "took the lead", vec![("epoch", self.registry.epoch.to_string())]);
        // First of all, so that there is room to count what quotas name.
        self.sync_settings();
        self.warm_took_lead();
        self.fleet_took_lead();
        if self.awaits_agents() {
            let until_ms = self.lead_since_ms().saturating_add(self.config.quota_recovery_ms);
            self.timers.arm(until_ms, Timer::Allocation);
        } else {
            self.quota_recovered = true;
        }
        self.supervise(|supervisor, cx| supervisor.take_lead(cx));
    }

    pub(super) fn retry_take_lead(&mut self) {
        if self.phase == Phase::TakingLead {
            self.timers.arm(self.now.cluster_ms + RETRY_MS, Timer::TakeLead);
        }
    }

    /// Commits the time while a deadline is armed and nothing else carries it.
    pub(super) fn keep_time(&mut self) {
        let armed = self.timers.deadlines_armed()
            || self.arms_deadlines()
            || self.supervisor.next_deadline(&self.registry).is_some();
        if armed && self.now.cluster_ms >= self.pipeline.proposed_ms().saturating_add(TICK_MS) {
            self.propose(Operation::Tick(Tick {}), Pending::Tick);
        }
    }

    /// Cluster time at which a framework that is away is to be removed; nothing if it is not away.
    pub(super) fn framework_deadline_ms(&self, record: &FrameworkRecord) -> Option<u64> {
        if record.internal || self.registry.framework_connected(record) {
            return None;
        }
        let since_ms = self.lead_since_ms();
        let timeout_ms = record
            .info
            .as_ref()
            .map_or(0, failover_timeout_ms)
            .max(super::drivers::failover_timeout_ms(&self.registry, &record.id()));
        match (record.deadline_ms, record.disconnected_ms) {
            // Away before this leadership began.
            (Some(deadline_ms), Some(left_ms)) if left_ms < since_ms => {
                Some(deadline_ms.max(since_ms + self.config.framework_min_grace_ms))
            }
            (Some(deadline_ms), _) => Some(deadline_ms),
            // Connected when the last leader was lost.
            (None, _) => Some(since_ms.saturating_add(timeout_ms.max(self.config.framework_grace_ms))),
        }
    }

    pub(super) fn lead_since_ms(&self) -> u64 {
        self.registry.lead_since_ms()
    }

    pub(super) fn is_connected(&self, party: &Party) -> bool {
        match party {
            Party::Framework(id) => self.live(id).is_some(),
            Party::Agent(id) => self.agents.get(id).is_some_and(|session| session.registered().is_some()),
        }
    }
}

fn region_of(domain: Option<&tepui_proto::v1::DomainInfo>) -> Option<String> {
    domain?.fault_domain.as_ref()?.region.as_ref()?.name.clone()
}
