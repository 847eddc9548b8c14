//! Frameworks come, change, go away and end.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_proto::v1::{self, TaskState, task_status::Reason};

use super::{MAX_COMPLETED_FRAMEWORKS, Step};
use crate::ids::{self, DRIVERS_FRAMEWORK, FrameworkId, TaskKey};
use crate::registry::operation::{
    AdmitFramework, DisconnectFramework, RemoveFramework, SuppressRoles, UpdateFramework,
};
use crate::registry::outcome::{Change, Outcome, Refusal};
use crate::registry::records::{FrameworkRecord, TaskRecord};
use crate::status::{Verdict, master_status};

impl Step<'_> {
    pub(super) fn admit_framework(&mut self, admit: &AdmitFramework) -> Result<Outcome, Refusal> {
        let (id, info) = identified(admit.info.as_ref())?;
        if self.tables.frameworks.contains_key(&id) {
            return Err(Refusal::FrameworkExists);
        }
        if self.tables.completed(&id).is_some() {
            return Err(Refusal::CompletedFramework);
        }
        self.put_framework(
            id,
            FrameworkRecord {
                info: Some(info),
                suppressed_roles: admit.suppressed_roles.clone(),
                offer_constraints: admit.offer_constraints.clone(),
                connected_epoch: self.tables.epoch,
                registered_wall_ms: self.tables.wall_ms,
                reregistered_wall_ms: self.tables.wall_ms,
                ..Default::default()
            },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn update_framework(&mut self, update: &UpdateFramework) -> Result<Outcome, Refusal> {
        let (id, mut info) = identified(update.info.as_ref())?;
        let old = self.framework(&id)?;
        if old.internal {
            return Err(Refusal::UnknownFramework);
        }
        let mut record = FrameworkRecord::clone(&old);
        if let Some(kept) = &record.info
            && !record.recovered
        {
            info.user = kept.user.clone();
            info.checkpoint = kept.checkpoint;
        }
        let anew = record.info.as_ref() != Some(&info);
        record.info = Some(info);
        record.suppressed_roles = update.suppressed_roles.clone();
        record.offer_constraints = update.offer_constraints.clone();
        if !update.in_place {
            record.connected_epoch = self.tables.epoch;
            record.disconnected_ms = None;
            record.deadline_ms = None;
            record.recovered = false;
            record.reregistered_wall_ms = self.tables.wall_ms;
        }
        if record != *old {
            self.put_framework(id, record);
        }
        Ok(Outcome::FrameworkUpdated { anew })
    }

    pub(super) fn suppress_roles(&mut self, suppress: &SuppressRoles) -> Result<Outcome, Refusal> {
        let id = FrameworkId::from(suppress.framework_id.as_str());
        let old = self.framework(&id)?;
        let mut record = FrameworkRecord::clone(&old);
        let subscribed: BTreeSet<String> = record.roles().into_iter().collect();
        let mut roles: BTreeSet<String> = record.suppressed_roles.iter().cloned().collect();
        for role in suppress.roles.iter().filter(|role| subscribed.contains(*role)) {
            if suppress.suppressed {
                roles.insert(role.clone());
            } else {
                roles.remove(role);
            }
        }
        record.suppressed_roles = roles.into_iter().collect();
        if record != *old {
            self.put_framework(id, record);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn disconnect_framework(
        &mut self,
        disconnect: &DisconnectFramework,
    ) -> Result<Outcome, Refusal> {
        let id = FrameworkId::from(disconnect.framework_id.as_str());
        let mut record = FrameworkRecord::clone(&*self.framework(&id)?);
        if record.internal {
            return Err(Refusal::UnknownFramework);
        }
        record.connected_epoch = 0;
        record.disconnected_ms = Some(self.tables.cluster_ms);
        record.deadline_ms = Some(disconnect.deadline_ms);
        self.put_framework(id, record);
        Ok(Outcome::Done)
    }

    pub(super) fn remove_framework(&mut self, remove: &RemoveFramework) -> Result<Outcome, Refusal> {
        let id = FrameworkId::from(remove.framework_id.as_str());
        let mut record = FrameworkRecord::clone(&*self.framework(&id)?);
        if record.internal {
            return Err(Refusal::UnknownFramework);
        }
        for key in self.tables.tasks_of(&id) {
            self.orphan(&key);
        }
        self.forget_operations_of(&id);
        self.tables.frameworks.remove(&id);
        record.connected_epoch = 0;
        record.unregistered_wall_ms = self.tables.wall_ms;
        record.removal_reason = remove.reason.clone();
        self.tables.completed_frameworks.push_back(Arc::new(record));
        while self.tables.completed_frameworks.len() > MAX_COMPLETED_FRAMEWORKS {
            if let Some(oldest) = self.tables.completed_frameworks.pop_front() {
                self.tables.history.remove(&oldest.id());
            }
        }
        self.changes.push(Change::Framework(id));
        Ok(Outcome::Done)
    }

    /// Adds a framework that only an agent remembers.
    pub(super) fn adopt_framework(&mut self, info: &v1::FrameworkInfo, grace_ms: u64) {
        let Ok((id, info)) = identified(Some(info)) else { return };
        if id.as_str() == DRIVERS_FRAMEWORK {
            return;
        }
        if self.tables.frameworks.contains_key(&id) || self.tables.completed(&id).is_some() {
            return;
        }
        let now = self.tables.cluster_ms;
        let timeout_ms = failover_timeout_ms(&info);
        self.put_framework(
            id,
            FrameworkRecord {
                info: Some(info),
                disconnected_ms: Some(now),
                deadline_ms: Some(now.saturating_add(timeout_ms.max(grace_ms))),
                recovered: true,
                registered_wall_ms: self.tables.wall_ms,
                ..Default::default()
            },
        );
    }

    pub(super) fn framework(&self, id: &FrameworkId) -> Result<Arc<FrameworkRecord>, Refusal> {
        self.tables.frameworks.get(id).cloned().ok_or(Refusal::UnknownFramework)
    }

    pub(super) fn put_framework(&mut self, id: FrameworkId, record: FrameworkRecord) {
        self.tables.frameworks.insert(id.clone(), Arc::new(record));
        self.changes.push(Change::Framework(id));
    }

    /// The framework of this task ends: history says KILLED. A task that may still be running stays charged.
    fn orphan(&mut self, key: &TaskKey) {
        let Some(old) = self.tables.tasks.get(key).cloned() else { return };
        let running = !old.state().is_terminal() && old.unreachable_wall_ms.is_none();
        let mut ended = TaskRecord::clone(&old);
        if !old.state().is_terminal() || old.unreachable_wall_ms.is_some() {
            self.conclude(
                &mut ended,
                Verdict {
                    state: TaskState::TaskKilled,
                    reason: Reason::FrameworkRemoved,
                    message: "framework removed",
                    wall_ms: self.tables.wall_ms,
                },
            );
        }
        self.remember(key, ended);
        if running {
            let mut left = TaskRecord::clone(&old);
            left.info = None;
            self.put_task(key, Some(left));
        } else {
            self.put_task(key, None);
        }
    }

    /// Writes a verdict of the master into a record.
    pub(super) fn conclude(&self, record: &mut TaskRecord, verdict: Verdict<'_>) {
        let task = record.task.as_ref();
        let mut status = master_status(
            task.and_then(|task| task.task_id.clone()),
            task.and_then(|task| task.agent_id.clone()),
            verdict,
        );
        status.executor_id = task.and_then(|task| task.executor_id.clone());
        super::observe::write_status(record, &status, verdict.state);
    }
}

/// Returns how long a framework may be away, milliseconds; nonsense counts as zero.
pub fn failover_timeout_ms(info: &v1::FrameworkInfo) -> u64 {
    // A cast of a float saturates, and makes zero of NaN.
    (info.failover_timeout.unwrap_or_default().max(0.0) * 1000.0) as u64
}

fn identified(info: Option<&v1::FrameworkInfo>) -> Result<(FrameworkId, v1::FrameworkInfo), Refusal> {
    let info = info.ok_or(Refusal::Malformed)?;
    let id: FrameworkId = ids::of(info.id.as_ref());
    if id.as_str().is_empty() { Err(Refusal::Malformed) } else { Ok((id, info.clone())) }
}
