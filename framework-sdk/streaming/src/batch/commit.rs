//! From the slots' answers to the next register: the one document whose compare-and-set commits a batch and plans the next.

use std::collections::BTreeSet;

use crate::register::{OutputFile, Plan, Register, StateRefs};

use super::task::SlotDone;

/// Answers that do not fit the plan. A fault of the program or of an executor, never of the data.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("batch {batch}: {detail}")]
pub struct Inconsistent {
    pub batch: u64,
    pub detail: String,
}

/// What a batch came to, once the slots' answers have been merged.
pub(crate) struct Outcome {
    pub(crate) done: Vec<SlotDone>,
    pub(crate) state: StateRefs,
    /// Output made from closed windows, beside that of the slots.
    pub(crate) closed_output: Option<OutputFile>,
    pub(crate) windows_closed: u64,
    pub(crate) watermark_ms: Option<i64>,
}

/// Checks that the answers are exactly those of `plan`: every slot once, every planned record accounted for.
pub(crate) fn check_done(plan: &Plan, done: &[SlotDone]) -> Result<(), Inconsistent> {
    let wrong = |detail: String| Err(Inconsistent { batch: plan.batch, detail });
    let hash = plan.hash();
    let mut seen = BTreeSet::new();
    for answer in done {
        if answer.batch != plan.batch || answer.plan_hash != hash {
            return wrong(format!("slot {} answers to another plan", answer.slot));
        }
        let ranges = usize::try_from(answer.slot).ok().and_then(|slot| plan.slots.get(slot));
        let Some(ranges) = ranges.filter(|_| seen.insert(answer.slot)) else {
            return wrong(format!("slot {} is unknown or answered twice", answer.slot));
        };
        let planned: u64 = ranges.iter().map(|range| range.records).sum();
        if answer.records != planned {
            return wrong(format!(
                "slot {} read {} records, {planned} were planned",
                answer.slot, answer.records
            ));
        }
    }
    if seen.len() != plan.slots.len() {
        return wrong(format!("{} of {} slots answered", seen.len(), plan.slots.len()));
    }
    Ok(())
}

/// Returns the register after `register.plan` has been committed, with `next` as the plan.
pub(crate) fn next_register(
    register: &Register,
    outcome: Outcome,
    next: Option<Plan>,
) -> Result<Register, Inconsistent> {
    let expected = register.committed.batch + 1;
    let wrong = |detail: &str| Inconsistent { batch: expected, detail: detail.to_owned() };
    let plan = register.plan.as_ref().ok_or_else(|| wrong("nothing was planned"))?;
    if plan.batch != expected || next.as_ref().is_some_and(|n| n.batch != expected + 1) {
        return Err(wrong("the plan is not the one that follows"));
    }
    check_done(plan, &outcome.done)?;
    let mut following = register.clone();
    let committed = &mut following.committed;
    committed.batch = plan.batch;
    committed.position = register.planned_position();
    committed.max_event_ms =
        outcome.done.iter().map(|answer| answer.max_event_ms).max().flatten().max(committed.max_event_ms);
    // Never backwards, whatever the slots saw.
    committed.watermark_ms = committed.watermark_ms.max(outcome.watermark_ms);
    committed.state = outcome.state;
    committed.outputs =
        outcome.done.iter().filter_map(|answer| answer.output.clone()).chain(outcome.closed_output).collect();
    let totals = &mut following.totals;
    for answer in &outcome.done {
        totals.records += answer.records;
        totals.filtered += answer.filtered;
        totals.dropped_late += answer.late;
        totals.bad_records += answer.bad;
    }
    totals.windows_closed += outcome.windows_closed;
    totals.output_rows += following.committed.outputs.iter().map(|file| file.rows).sum::<u64>();
    totals.output_files += following.committed.outputs.len() as u64;
    following.finished = plan.end_of_input;
    following.plan = if plan.end_of_input { None } else { next };
    Ok(following)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use crate::source::{FilePosition, Position, Range};

    fn register() -> Register {
        let job = Job::from_toml_str(
            "name = 'a'\n[source]\nkind = 'files'\npath = '/in'\ncolumns = [{ name = 'x' }]\n\
             [sink]\nkind = 'files'\npath = '/out'\n[checkpoint]\npath = '/state'\n",
        )
        .unwrap();
        Register { plan: Some(plan(1)), ..Register::new(&job) }
    }

    fn plan(batch: u64) -> Plan {
        let range = |start, records| Range { file: "f".into(), start, end: start + records, records, crc: 0 };
        let at = FilePosition { offset: 15, records: 15, size: 20, done: false };
        Plan {
            batch,
            batch_time_ms: 0,
            records: 15,
            end_of_input: false,
            slots: vec![vec![range(0, 10)], vec![range(10, 5)]],
            after: Position::from([("f".to_owned(), at)]),
        }
    }

    fn done(slot: u32, records: u64) -> SlotDone {
        SlotDone {
            generation: 1,
            batch: 1,
            plan_hash: plan(1).hash(),
            slot,
            attempt: format!("a{slot}"),
            records,
            filtered: 1,
            late: 2,
            bad: 0,
            max_event_ms: Some(100 + i64::from(slot)),
            delta: None,
            output: None,
        }
    }

    fn outcome(done: Vec<SlotDone>) -> Outcome {
        let state = StateRefs::default();
        Outcome { done, state, closed_output: None, windows_closed: 3, watermark_ms: Some(90) }
    }

    #[test]
    fn one_step_commits_and_plans() {
        let next = next_register(&register(), outcome(vec![done(1, 5), done(0, 10)]), Some(plan(2))).unwrap();
        assert_eq!((next.committed.batch, next.plan.as_ref().map(|p| p.batch)), (1, Some(2)));
        assert_eq!(next.committed.position["f"].offset, 15);
        assert_eq!((next.committed.max_event_ms, next.committed.watermark_ms), (Some(101), Some(90)));
        assert_eq!((next.totals.records, next.totals.filtered, next.totals.dropped_late), (15, 2, 4));
        assert_eq!(next.totals.windows_closed, 3);
        assert!(!next.finished);
    }

    #[test]
    fn answers_must_be_those_of_the_plan() {
        let other_plan = SlotDone { plan_hash: "x".into(), ..done(1, 5) };
        let other_batch = SlotDone { batch: 2, ..done(1, 5) };
        for (answers, detail) in [
            (vec![done(0, 10)], "1 of 2 slots answered"),
            (vec![done(0, 10), done(0, 10)], "slot 0 is unknown or answered twice"),
            (vec![done(0, 10), done(2, 5)], "slot 2 is unknown"),
            (vec![done(0, 10), done(1, 4)], "slot 1 read 4 records, 5 were planned"),
            (vec![done(0, 10), other_plan], "slot 1 answers to another plan"),
            (vec![done(0, 10), other_batch], "slot 1 answers to another plan"),
        ] {
            let error = next_register(&register(), outcome(answers), None).unwrap_err();
            assert!(error.detail.contains(detail), "{error}");
        }
    }

    #[test]
    fn plans_follow_each_other() {
        let answers = || vec![done(0, 10), done(1, 5)];
        assert!(next_register(&register(), outcome(answers()), Some(plan(3))).is_err());
        let unplanned = Register { plan: None, ..register() };
        assert!(next_register(&unplanned, outcome(answers()), None).is_err());
    }

    #[test]
    fn the_watermark_never_goes_back_and_the_end_finishes() {
        let mut register = register();
        register.committed.watermark_ms = Some(500);
        let end = Plan { end_of_input: true, slots: Vec::new(), records: 0, ..plan(1) };
        register.plan = Some(end);
        let next = next_register(&register, outcome(Vec::new()), Some(plan(2))).unwrap();
        assert!(next.finished && next.plan.is_none());
        assert_eq!(next.committed.watermark_ms, Some(500));
    }
}
