//! What goes wrong and when: faults begin by chance, last by chance, and end.
//!
//! Owns the kinds of faults and what is needed to end each. Knows who leads only as an observer, to aim at it.

use super::dice::Dice;

/// Something that goes wrong for a while, or an order by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A process is killed and started again later.
    Crash(u64),
    /// All are killed at once.
    CrashAll,
    /// A process is stopped and goes on later.
    Pause(u64),
    /// Neither hears nor is heard by anybody.
    Isolate(u64),
    /// Is heard by nobody, but hears.
    Deaf(u64),
    /// Hears nobody, but is heard.
    Mute(u64),
    /// Two do not hear each other.
    Part(u64, u64),
    /// Every message takes longer, up to so many milliseconds.
    Slow(u64),
    /// So many of 100 messages are lost.
    Lossy(u64),
    /// So many of 100 messages arrive twice.
    Twice(u64),
    /// A disk takes so many milliseconds longer for a sync.
    SlowDisk(u64, u64),
    /// A sync fails.
    DiskError(u64),
    /// A disk has no space left.
    DiskFull(u64),
    /// Bytes on a disk change while its process is down.
    Damage(u64),
    /// The leader is told to hand over.
    HandOver,
    /// A replica is added.
    Add,
    /// A replica that does not lead is removed.
    Remove,
    /// A snapshot is asked for.
    Snapshot(u64),
}

/// What may be hit.
pub(super) struct Targets {
    pub(super) up: Vec<u64>,
    pub(super) leader: Option<u64>,
    /// Whether one more may be lost for good.
    pub(super) may_damage: bool,
    pub(super) voters: usize,
}

/// Draws the next fault and how long it lasts, in milliseconds.
pub(super) fn draw(dice: &mut Dice, targets: &Targets) -> Option<(Fault, u64)> {
    // Half of all blows are aimed at the leader.
    let target = match targets.leader {
        Some(leader) if dice.percent(50) => leader,
        _ => dice.one_of(&targets.up)?,
    };
    let other = dice.one_of(&targets.up)?;
    let short = dice.between(20, 400);
    let long = dice.between(200, 4_000);
    let fault = match dice.between(0, 99) {
        0..=15 => (Fault::Crash(target), long),
        16..=18 => (Fault::CrashAll, short),
        19..=30 => (Fault::Pause(target), if dice.percent(60) { short } else { long }),
        31..=38 => (Fault::Isolate(target), long),
        39..=43 => (Fault::Deaf(target), long),
        44..=48 => (Fault::Mute(target), long),
        49..=55 if other != target => (Fault::Part(target, other), long),
        49..=60 => (Fault::Slow(dice.between(10, 150)), long),
        61..=64 => (Fault::Lossy(dice.between(5, 40)), long),
        65..=68 => (Fault::Twice(dice.between(5, 60)), long),
        69..=74 => (Fault::SlowDisk(target, dice.between(20, 300)), long),
        75..=77 => (Fault::DiskError(target), short),
        78..=79 => (Fault::DiskFull(target), long),
        80..=81 if targets.may_damage => (Fault::Damage(target), long),
        80..=88 => (Fault::HandOver, 0),
        89..=92 if targets.voters < 5 => (Fault::Add, 0),
        89..=96 if targets.voters > 3 => (Fault::Remove, 0),
        _ => (Fault::Snapshot(target), 0),
    };
    Some(fault)
}
