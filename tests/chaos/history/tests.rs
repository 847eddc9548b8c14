//! Histories that must be accepted, and histories that must be refused.

use super::*;

const KEY: &str = "k";

fn begin(histories: &mut Histories, action: Action) -> Id {
    histories.invoke(KEY, action)
}

fn cas(histories: &mut Histories, expected: u64, value: u64) -> Id {
    begin(histories, Action::Cas { expected, value })
}

fn end(histories: &mut Histories, id: Id, answer: Answer) -> bool {
    histories.complete(KEY, id, Outcome::Ok(answer));
    histories.violations.is_empty()
}

/// A whole write that nothing is beside.
fn written(histories: &mut Histories, expected: u64, value: u64) -> bool {
    let id = cas(histories, expected, value);
    end(histories, id, Answer::Written { version: expected + 1 })
}

/// A whole read that nothing is beside.
fn found(histories: &mut Histories, version: u64, value: u64) -> bool {
    let id = begin(histories, Action::Read);
    end(histories, id, Answer::Found { version, value })
}

#[test]
fn one_after_the_other_is_fine_and_a_stale_read_is_not() {
    let mut histories = Histories::default();
    assert!(found(&mut histories, 0, 0));
    assert!(written(&mut histories, 0, 10) && written(&mut histories, 1, 11));
    assert!(found(&mut histories, 2, 11));
    assert!(!found(&mut histories, 1, 10), "it was replaced before this read began");
}

#[test]
fn a_lost_write_a_foreign_value_and_a_version_that_was_skipped_are_refused() {
    for (version, value) in [(0, 0), (1, 99), (2, 10), (1, 0)] {
        let mut histories = Histories::default();
        assert!(written(&mut histories, 0, 10));
        assert!(!found(&mut histories, version, value), "version {version}, value {value}");
    }
}

#[test]
fn two_writes_over_one_version_are_refused_even_when_concurrent() {
    let mut histories = Histories::default();
    let (one, other) = (cas(&mut histories, 0, 10), cas(&mut histories, 0, 11));
    assert!(end(&mut histories, one, Answer::Written { version: 1 }));
    assert!(!end(&mut histories, other, Answer::Written { version: 1 }));
    assert!(histories.violations[0].contains("Written"), "{:?}", histories.violations);
}

#[test]
fn a_concurrent_read_may_see_either_but_later_ones_not_go_back() {
    let mut histories = Histories::default();
    assert!(written(&mut histories, 0, 10));
    let write = cas(&mut histories, 1, 11);
    let early = begin(&mut histories, Action::Read);
    assert!(found(&mut histories, 2, 11), "the write may have taken effect");
    // It began before, so it may have looked before.
    assert!(end(&mut histories, early, Answer::Found { version: 1, value: 10 }));
    assert!(!found(&mut histories, 1, 10), "somebody has seen the write already");
    histories.complete(KEY, write, Outcome::Unknown);
}

#[test]
fn a_read_that_began_before_a_write_returned_may_still_be_old() {
    let mut histories = Histories::default();
    let read = begin(&mut histories, Action::Read);
    assert!(written(&mut histories, 0, 10));
    assert!(end(&mut histories, read, Answer::Found { version: 0, value: 0 }));
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never_but_only_once() {
    let unknown = |histories: &mut Histories| {
        let id = cas(histories, 0, 10);
        histories.complete(KEY, id, Outcome::Unknown);
    };
    let mut never = Histories::default();
    unknown(&mut never);
    assert!(found(&mut never, 0, 0) && written(&mut never, 0, 11) && found(&mut never, 1, 11));
    let mut late = Histories::default();
    unknown(&mut late);
    assert!(found(&mut late, 0, 0) && found(&mut late, 1, 10) && written(&mut late, 1, 12));
    assert!(!found(&mut late, 1, 10), "it does not take effect again");
    let mut gone = Histories::default();
    unknown(&mut gone);
    assert!(found(&mut gone, 1, 10));
    assert!(!found(&mut gone, 0, 0), "it does not go away again");
}

#[test]
fn a_failed_write_has_no_effect() {
    let mut histories = Histories::default();
    let id = cas(&mut histories, 0, 10);
    histories.complete(KEY, id, Outcome::Failed);
    assert!(found(&mut histories, 0, 0));
    let id = cas(&mut histories, 0, 10);
    assert!(found(&mut histories, 1, 10));
    histories.complete(KEY, id, Outcome::Failed);
    assert!(!histories.violations.is_empty(), "it was seen");
}

#[test]
fn a_conflict_needs_another_version() {
    let mut histories = Histories::default();
    assert!(written(&mut histories, 0, 10));
    let id = cas(&mut histories, 0, 11);
    assert!(end(&mut histories, id, Answer::Conflict { version: 1 }));
    let id = cas(&mut histories, 1, 12);
    assert!(!end(&mut histories, id, Answer::Conflict { version: 1 }), "that is what it expected");
}

#[test]
fn registers_are_judged_apart_and_outcomes_are_counted() {
    let mut histories = Histories::default();
    assert!(written(&mut histories, 0, 10));
    let id = histories.invoke("other", Action::Read);
    histories.complete("other", id, Outcome::Ok(Answer::Found { version: 0, value: 0 }));
    let id = histories.invoke("other", Action::Read);
    histories.complete("other", id, Outcome::Unknown);
    let id = histories.invoke("other", Action::Read);
    histories.complete("other", id, Outcome::Failed);
    assert_eq!(histories.violations, Vec::<String>::new());
    assert_eq!(histories.counts, Counts { ok: 2, failed: 1, unknown: 1 });
}

#[test]
fn versions_follow_the_log_whichever_master_answers() {
    for (index, version, good) in [
        (20, 5, true),
        (25, 5, true),
        (25, 7, true),
        (30, 7, true),
        (40, 9, true),
        (10, 6, false),
        (20, 4, false),
        (25, 8, false),
        (40, 6, false),
    ] {
        let mut histories = Histories::default();
        assert!(found(&mut histories, 0, 0));
        histories.indexed(KEY, 20, 5);
        histories.indexed(KEY, 30, 7);
        histories.indexed(KEY, index, version);
        assert_eq!(histories.violations.is_empty(), good, "version {version} at index {index}");
    }
}

/// Many writers whose answers are lost: the states that must be followed stay few.
#[test]
fn unknown_outcomes_do_not_pile_up() {
    let mut histories = Histories::default();
    for version in 0..2_000 {
        for lost in 0..2 {
            let id = cas(&mut histories, version, 100_000 + 2 * version + lost);
            histories.complete(KEY, id, Outcome::Unknown);
        }
        assert!(written(&mut histories, version, version + 1));
        assert!(found(&mut histories, version + 1, version + 1));
    }
    let register = &histories.registers[KEY];
    assert!(register.worlds.len() < 10 && register.open.is_empty(), "{}", register.worlds.len());
}
