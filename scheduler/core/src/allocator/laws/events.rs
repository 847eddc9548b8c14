//! Things that can happen to a cluster, drawn at random.

use proptest::prelude::*;

pub(super) const ROLES: [&str; 6] = ["*", "a", "a/b", "a/b/c", "a/d", "b"];
/// Roles that can have a quota.
pub(super) const TOPS: [&str; 2] = ["a", "b"];
pub(super) const RACKS: [&str; 2] = ["r1", "r2"];

/// What an agent has. Bits of `extras`: see [`Extra`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) cpus: u8,
    pub(super) mem: u8,
    pub(super) rack: bool,
    pub(super) extras: u8,
}

/// Beyond plain processors and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    Reserved,
    Refined,
    SharedVolume,
    Revocable,
    Gpus,
    Remote,
}

pub(super) const EXTRAS: [Extra; 6] =
    [Extra::Reserved, Extra::Refined, Extra::SharedVolume, Extra::Revocable, Extra::Gpus, Extra::Remote];

impl Machine {
    pub(super) fn has(self, extra: Extra) -> bool {
        EXTRAS.iter().position(|one| *one == extra).is_some_and(|bit| self.extras >> bit & 1 == 1)
    }
}

/// What a framework is like. Bits of `abilities`: GPUs, regions, shared, revocable, refined.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) roles: Vec<usize>,
    pub(super) suppressed: bool,
    pub(super) abilities: u8,
    pub(super) rack: Option<bool>,
    /// Thousandths.
    pub(super) minimum: Option<u16>,
    pub(super) active: bool,
}

/// Something that happens. Agents, frameworks and roles by number.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Agent {
        agent: u8,
        machine: Machine,
        anew: bool,
    },
    Lose {
        agent: u8,
        for_good: bool,
    },
    Return {
        agent: u8,
    },
    /// An operator reserves a processor, or takes the reservation back.
    Convert {
        agent: u8,
        role: usize,
    },
    /// A task that nobody offered anything for: its agent brought it.
    Task {
        agent: u8,
        framework: u8,
        role: usize,
    },
    Framework {
        framework: u8,
        kind: Kind,
    },
    Remove {
        framework: u8,
    },
    Revive {
        framework: u8,
    },
    Suppress {
        framework: u8,
        role: usize,
    },
    Weight {
        role: usize,
        weight: u8,
    },
    Quota {
        top: usize,
        guarantee: u8,
        limit: Option<u8>,
        mem: bool,
    },
    Hosts {
        bits: u8,
    },
    Demand {
        cpus: u8,
    },
    Plan,
    /// An offer is declined, or a task ends.
    GiveBack {
        nth: u8,
        refuse: bool,
    },
    Pass {
        ms: u16,
    },
}

fn machine() -> impl Strategy<Value = Machine> {
    // Most machines are ordinary.
    let extras = prop_oneof![2 => Just(0_u8), 1 => 0..64_u8];
    (1..12_u8, 0..12_u8, any::<bool>(), extras).prop_map(|(cpus, mem, rack, extras)| Machine {
        cpus,
        mem,
        rack,
        extras,
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    let roles = prop::collection::vec(0..ROLES.len(), 1..3);
    let abilities = prop_oneof![2 => Just(0_u8), 1 => Just(31_u8), 1 => 0..32_u8];
    let rack = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let minimum = prop_oneof![3 => Just(None), 1 => (0..3_u16).prop_map(|cpus| Some(cpus * 1000))];
    (roles, prop::bool::weighted(0.2), abilities, rack, minimum, prop::bool::weighted(0.9)).prop_map(
        |(roles, suppressed, abilities, rack, minimum, active)| Kind {
            roles,
            suppressed,
            abilities,
            rack,
            minimum,
            active,
        },
    )
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let (agent, framework, role) = (0..6_u8, 0..5_u8, 0..ROLES.len());
    prop_oneof![
        6 => (agent.clone(), machine(), prop::bool::weighted(0.7))
            .prop_map(|(agent, machine, anew)| Event::Agent { agent, machine, anew }),
        1 => (agent.clone(), any::<bool>()).prop_map(|(agent, for_good)| Event::Lose { agent, for_good }),
        1 => agent.clone().prop_map(|agent| Event::Return { agent }),
        2 => (agent.clone(), role.clone()).prop_map(|(agent, role)| Event::Convert { agent, role }),
        2 => (agent, framework.clone(), role.clone())
            .prop_map(|(agent, framework, role)| Event::Task { agent, framework, role }),
        6 => (framework.clone(), kind()).prop_map(|(framework, kind)| Event::Framework { framework, kind }),
        1 => framework.clone().prop_map(|framework| Event::Remove { framework }),
        1 => framework.clone().prop_map(|framework| Event::Revive { framework }),
        1 => (framework, role.clone()).prop_map(|(framework, role)| Event::Suppress { framework, role }),
        1 => (role, 1..9_u8).prop_map(|(role, weight)| Event::Weight { role, weight }),
        3 => (0..TOPS.len(), 0..9_u8, prop::option::of(0..9_u8), any::<bool>())
            .prop_map(|(top, guarantee, limit, mem)| Event::Quota { top, guarantee, limit, mem }),
        1 => (0..20_u8).prop_map(|bits| Event::Hosts { bits }),
        1 => (1..9_u8).prop_map(|cpus| Event::Demand { cpus }),
        8 => Just(Event::Plan),
        6 => (any::<u8>(), any::<bool>()).prop_map(|(nth, refuse)| Event::GiveBack { nth, refuse }),
        1 => (0..9_000_u16).prop_map(|ms| Event::Pass { ms }),
    ]
}
