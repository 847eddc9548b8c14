//! Weights and quotas: checked, bounded, all or nothing.

use std::collections::BTreeMap;

use super::*;
use crate::registry::Refusal;

fn quota(role: &str, guarantee: u64, limit: u64) -> QuotaRecord {
    let amounts = |amount| BTreeMap::from([("cpus".to_owned(), amount)]);
    QuotaRecord { role: role.to_owned(), guarantees: amounts(guarantee), limits: amounts(limit) }
}

impl Story {
    fn quotas(&mut self, quotas: Vec<QuotaRecord>, capacity: Option<u64>) -> Outcome {
        let capacity = capacity.map(|cpus| Capacity { amounts: BTreeMap::from([("cpus".to_owned(), cpus)]) });
        self.apply(Operation::SetQuotas(SetQuotas { quotas, capacity }))
    }
}

#[test]
fn one_bad_role_spoils_the_whole_change() {
    let mut story = Story::new();
    let outcome = story.quotas(vec![quota("a", 1, 2), quota("b/c", 1, 2)], None);
    assert_eq!(outcome, Outcome::Refused(Refusal::Malformed));
    assert!(story.registry.quotas.is_empty() && story.changes.is_empty());
    let weight = |role: &str, weight| WeightRecord { role: role.to_owned(), weight };
    let weights = vec![weight("a", 2.0), weight("b", 0.0)];
    let outcome = story.apply(Operation::SetWeights(SetWeights { weights }));
    assert_eq!(outcome, Outcome::Refused(Refusal::Malformed));
    assert!(story.registry.weights.is_empty());
}

#[test]
fn guarantees_are_summed_when_they_are_applied() {
    let mut story = Story::new();
    assert_eq!(story.quotas(vec![quota("a", 3, 9)], Some(5)), Outcome::Done);
    assert_eq!(story.changes, [Change::Cluster]);
    let refused = Outcome::Refused(Refusal::Overcommitted);
    assert_eq!(story.quotas(vec![quota("b", 3, 9)], Some(5)), refused);
    assert_eq!(story.quotas(vec![quota("a", 2, 9), quota("b", 3, 9)], Some(5)), Outcome::Done);
    // Who insists may promise more than there is.
    assert_eq!(story.quotas(vec![quota("c", 100, 100)], None), Outcome::Done);
}

#[test]
fn a_quota_without_amounts_is_taken_away() {
    let mut story = Story::new();
    story.quotas(vec![quota("a", 1, 2)], None);
    story.quotas(vec![QuotaRecord { role: "a".to_owned(), ..Default::default() }], None);
    assert!(story.registry.quotas.is_empty());
}
