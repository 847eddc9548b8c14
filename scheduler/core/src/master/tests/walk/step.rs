//! What can happen, and how often it does.

use super::chance::Chance;
use super::world::{AGENTS, FRAMEWORKS};

/// One thing that happens. Everything further follows from `dice` and from how the world is then, so that a walk can do without
/// any of its steps.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// So many milliseconds pass.
    Pass(u64),
    Framework {
        who: usize,
        what: Ask,
        dice: u64,
    },
    Agent {
        who: usize,
        what: Deed,
        dice: u64,
    },
    Operator {
        what: Wish,
        dice: u64,
    },
    /// Nothing is committed any more.
    Hold,
    /// All that waits is committed, and so is what comes.
    Commit,
    /// Only so many of those that wait.
    CommitFirst(usize),
    /// Those that wait are lost; `unknown` says that nobody can say so.
    Lose {
        unknown: bool,
        held: bool,
    },
    /// The leader dies after so many of what it proposed are committed, which it never learns; `same` is elected again.
    Elect {
        unheard: usize,
        same: bool,
    },
}

/// What a framework does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Accept,
    Decline,
    Revive,
    Suppress,
    Kill,
    Acknowledge,
    Reconcile,
    ReconcileOperations,
    Inverse,
    ShutDown,
    Update,
    Subscribe,
    FailOver,
    Break,
    Teardown,
}

/// What an agent does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Report,
    ExecutorExit,
    Break,
    Return,
    /// Does not answer pings for a while.
    Deaf,
    /// Comes back without some of its tasks.
    Forget,
    /// Comes back with a task that the master does not know.
    Bring,
    /// Comes back with more or less than it had.
    Resize,
    Unregister,
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Quota,
    RemoveQuota,
    Weight,
    Operate,
    Schedule,
    Down,
    Up,
    Drain,
    Deactivate,
    Reactivate,
    Gone,
    Teardown,
}

const ASKS: [(usize, Ask); 15] = [
    (90, Ask::Accept),
    (6, Ask::Decline),
    (8, Ask::Revive),
    (2, Ask::Suppress),
    (4, Ask::Kill),
    (8, Ask::Acknowledge),
    (2, Ask::Reconcile),
    (1, Ask::ReconcileOperations),
    (5, Ask::Inverse),
    (1, Ask::ShutDown),
    (4, Ask::Update),
    (12, Ask::Subscribe),
    (2, Ask::FailOver),
    (2, Ask::Break),
    (1, Ask::Teardown),
];

const DEEDS: [(usize, Deed); 9] = [
    (30, Deed::Report),
    (3, Deed::ExecutorExit),
    (2, Deed::Break),
    (24, Deed::Return),
    (2, Deed::Deaf),
    (3, Deed::Forget),
    (2, Deed::Bring),
    (2, Deed::Resize),
    (1, Deed::Unregister),
];

const WISHES: [(usize, Wish); 12] = [
    (8, Wish::Quota),
    (1, Wish::RemoveQuota),
    (2, Wish::Weight),
    (8, Wish::Operate),
    (4, Wish::Schedule),
    (2, Wish::Down),
    (5, Wish::Up),
    (2, Wish::Drain),
    (2, Wish::Deactivate),
    (10, Wish::Reactivate),
    (1, Wish::Gone),
    (1, Wish::Teardown),
];

impl Step {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let kind = chance.pick(100);
        let dice = chance.next();
        match kind {
            0..40 => Self::Framework { who: chance.pick(FRAMEWORKS), what: chance.weighted(&ASKS), dice },
            40..60 => Self::Agent { who: chance.pick(AGENTS), what: chance.weighted(&DEEDS), dice },
            60..70 => Self::Operator { what: chance.weighted(&WISHES), dice },
            70..88 => Self::Pass(chance.weighted(&[
                (30, 25),
                (20, 100),
                (20, 600),
                (10, 1_500),
                (4, 8_000),
                (3, 32_000),
            ])),
            88..91 => Self::Hold,
            91..95 => Self::Commit,
            95..97 => Self::CommitFirst(1 + chance.pick(3)),
            97..99 => Self::Lose { unknown: chance.one_in(2), held: chance.one_in(2) },
            _ => Self::Elect { unheard: chance.pick(4), same: chance.one_in(3) },
        }
    }
}
