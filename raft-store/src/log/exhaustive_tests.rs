//! A small log, crashed at every operation and damaged at every place: what comes back is everything that was acknowledged, or a refusal.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::crash_tests::{Disk, Loss, Model, Platter, Write, contents};
use super::disk::{Change, Commit, LogDisk, Tail};
use super::open::check_guard;
use super::redb_disk::RedbDisk;
use crate::codec::LogIdRecord;

/// What was acknowledged, and what was being committed when the disk died.
struct Life {
    acknowledged: Model,
    tried: Option<Model>,
}

/// Some commits: appends, votes, truncations, a purge.
fn live(backend: &Disk, commits: usize) -> Life {
    let mut rng = StdRng::seed_from_u64(7);
    let mut life = Life { acknowledged: Model::default(), tried: None };
    let Ok(disk) = RedbDisk::open_backend(backend.clone()) else { return life };
    for _ in 0..commits {
        let (commit, after) = life.acknowledged.next(&mut rng);
        if disk.commit(&commit).is_err() {
            life.tried = Some(after);
            return life;
        }
        life.acknowledged = after;
    }
    life
}

/// Every way in which the unsynced writes may survive that differs in kind: none, all, each prefix, each alone, all but each, and
/// each torn at each of its sectors, from the front and from the back, among none and among all others.
fn survivors(platter: &Platter, mut visit: impl FnMut(Vec<u8>, String)) {
    let writes = &platter.unsynced;
    let build = |keep: &dyn Fn(usize) -> bool, torn: Option<(usize, Write)>| {
        let mut out = platter.durable.clone();
        for (i, write) in writes.iter().enumerate() {
            match &torn {
                Some((at, part)) if *at == i => part.apply(&mut out),
                _ if keep(i) => write.apply(&mut out),
                _ => {}
            }
        }
        out
    };
    for end in 0..=writes.len() {
        visit(build(&|i| i < end, None), format!("the first {end} of {} writes", writes.len()));
    }
    for (at, write) in writes.iter().enumerate() {
        visit(build(&|i| i == at, None), format!("write {at} alone"));
        visit(build(&|i| i != at, None), format!("all but write {at}"));
        let Write::Bytes(offset, bytes) = write else { continue };
        for cut in (512..bytes.len()).step_by(512) {
            let front = Write::Bytes(*offset, bytes[..cut].to_vec());
            let back = Write::Bytes(offset + cut, bytes[cut..].to_vec());
            for (part, side) in [(front, "front"), (back, "back")] {
                for others in [true, false] {
                    let text = format!("write {at} torn at {cut}, its {side} there, others {others}");
                    visit(build(&|i| others && i != at, Some((at, part.clone()))), text);
                }
            }
        }
    }
}

#[test]
fn a_crash_at_every_operation_keeps_what_was_acknowledged() {
    const COMMITS: usize = 5;
    let whole = Disk::new(Vec::new(), u64::MAX);
    live(&whole, COMMITS);
    let operations = whole.0.lock().unwrap().operations;
    assert!(operations > 20, "{operations} operations");
    let (mut tried, mut interrupted) = (0, 0);
    for point in 0..operations {
        let backend = Disk::new(Vec::new(), point);
        let life = live(&backend, COMMITS);
        interrupted += usize::from(life.tried.is_some());
        let mut seen = BTreeSet::new();
        survivors(&backend.0.lock().unwrap(), |bytes, what| {
            if !seen.insert((bytes.len(), crc32c::crc32c(&bytes))) {
                return;
            }
            tried += 1;
            let what = format!("crash at operation {point}, {what}");
            let found = match RedbDisk::open_backend(Disk::new(bytes, u64::MAX)) {
                Ok(disk) => contents(&disk),
                // A file that was never whole: it is made under another name, so nobody opens it under its own.
                Err(_) if life.acknowledged.serial == 0 => return,
                Err(e) => panic!("{what}: refused: {e:?}"),
            };
            let good = found == life.acknowledged || life.tried.as_ref() == Some(&found);
            assert!(good, "{what}: neither before nor after the commit");
        });
    }
    assert!(interrupted > 10 && tried > 200, "{interrupted} commits interrupted, {tried} disks tried");
}

/// A log as a kill leaves it, and what is in it.
fn killed() -> (Vec<u8>, Model) {
    let backend = Disk::new(Vec::new(), u64::MAX);
    let mut rng = StdRng::seed_from_u64(3);
    let disk = RedbDisk::open_backend(backend.clone()).unwrap();
    let mut model = Model::default();
    for _ in 0..9 {
        let (commit, after) = model.next(&mut rng);
        disk.commit(&commit).unwrap();
        model = after;
    }
    let bytes = backend.0.lock().unwrap().crash(Loss::All, &mut rng);
    (bytes, model)
}

/// Opens it as a replica would. True if all of it is there, false if it is refused; anything else fails the test.
fn all_or_refused(bytes: Vec<u8>, model: &Model, what: &str) -> bool {
    let guard = Tail { serial: model.serial, last: model.last() };
    let Ok(disk) = RedbDisk::open_backend(Disk::new(bytes, u64::MAX)) else { return false };
    let Ok(found) = disk.recover(usize::MAX) else { return false };
    if check_guard(&found, Some(guard)).is_err() {
        return false;
    }
    assert!(contents(&disk) == *model, "{what}: opened, and something acknowledged is gone or other");
    true
}

/// Panics inside the database are expected and come out as refusals; their texts help nobody.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Mutex<()> = Mutex::new(());
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::sync::Arc::new(std::panic::take_hook());
    let outer = std::sync::Arc::clone(&hook);
    std::panic::set_hook(Box::new(move |info| {
        if info.location().is_none_or(|l| !l.file().contains("redb")) {
            outer(info);
        }
    }));
    let result = work();
    drop(std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| hook(info)));
    result
}

/// Damages the log at every `step`th byte that says anything, and the rest and every cut by sectors.
fn damage(step: usize) {
    let (whole, model) = killed();
    assert!(all_or_refused(whole.clone(), &model, "unharmed"));
    let (mut opened, mut refused) = (0, 0);
    let mut check = |bytes: Vec<u8>, what: &str| {
        if all_or_refused(bytes, &model, what) { opened += 1 } else { refused += 1 }
    };
    quietly(|| {
        // Every bit of what the database reads first: its marks, and both commit slots.
        for (byte, bit) in (0..320).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            let mut bad = whole.clone();
            bad[byte] ^= 1 << bit;
            check(bad, &format!("byte {byte} bit {bit}"));
        }
        let written: Vec<usize> = (320..whole.len()).filter(|byte| whole[*byte] != 0).collect();
        for byte in written.iter().step_by(step) {
            let mut bad = whole.clone();
            bad[*byte] ^= 1 << (byte % 8);
            check(bad, &format!("byte {byte}"));
        }
        for at in (0..whole.len()).step_by(512) {
            let sector = at..(at + 512).min(whole.len());
            let used = whole[sector.clone()].iter().any(|byte| *byte != 0);
            if used {
                let mut bad = whole.clone();
                bad[sector.clone()].fill(0);
                check(bad, &format!("sector at {at} zeroed"));
            }
            if used || at % 16_384 == 0 {
                let mut bad = whole.clone();
                bad[sector].fill(0xa5);
                check(bad, &format!("sector at {at} overwritten"));
                check(whole[..at].to_vec(), &format!("cut at {at}"));
                check(whole[..at + 1].to_vec(), &format!("cut at {}", at + 1));
            }
        }
        // Both slots exchanged, and one in place of the other.
        let (first, second) = (64..192, 192..320);
        for (from, to) in [(&first, &second), (&second, &first)] {
            let mut bad = whole.clone();
            bad.copy_within(from.clone(), to.start);
            check(bad, "one slot in place of the other");
        }
    });
    assert!(opened > 0 && refused > 100, "the test reached nothing: {opened} opened, {refused} refused");
}

#[test]
fn damage_is_refused_or_harmless() {
    damage(97);
}

#[test]
#[ignore = "takes minutes; run by name when the log store or its database changes"]
fn damage_of_every_byte_is_refused_or_harmless() {
    damage(1);
}

#[test]
fn the_file_does_not_grow_while_what_it_holds_stays_the_same() {
    let backend = Disk::new(Vec::new(), u64::MAX);
    let disk = RedbDisk::open_backend(backend.clone()).unwrap();
    let mut after_some = 0;
    for round in 0..120u64 {
        let begin = round * 20;
        let entries = (begin..begin + 20).map(super::crash_tests::entry_of_2_kib).collect();
        let mut changes = vec![Change::Append(entries)];
        if let Some(through) = begin.checked_sub(60) {
            changes.push(Change::PurgeThrough(LogIdRecord { term: 1, node: 1, index: through }));
        }
        let last = Some(LogIdRecord { term: 1, node: 1, index: begin + 19 });
        disk.commit(&Commit { changes, tail: Tail { serial: round + 1, last } }).unwrap();
        // Only the synced state counts; what was written on the way is of no interest here.
        let length = backend.0.lock().unwrap().durable.len();
        if round == 40 {
            after_some = length;
        }
        assert!(round < 40 || length <= after_some * 3 / 2, "{length} bytes in round {round}");
    }
}
