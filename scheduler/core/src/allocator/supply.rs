//! What an agent can give: the one place where the allocator looks into resources.
//!
//! Owns which part of an agent's free resources a framework may get at all, how that part is cut down to a quota, and
//! when it is too small to bother anybody.

use std::sync::Arc;

use tepui_proto::resources::{Amount, Identity, Millis, Resources, ValueKind};

use super::ledger::{SharedAmount, Volume};
use super::quantities::{Counted, Kinds, Quantities};
use crate::ids::AgentId;

/// Smallest offers by default: either suffices.
pub(super) const MIN_CPUS: Millis = Millis(10);
pub(super) const MIN_MEM: Millis = Millis(32_000);

/// Named amounts.
pub(crate) type Amounts = Vec<(Arc<str>, Millis)>;

/// When an offer is worth being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Minimum {
    /// 0.01 cpus or 32 MB.
    Default,
    /// All amounts of at least one of these; with none of them, anything will do.
    AnyOf(Arc<[Amounts]>),
}

impl Minimum {
    pub(crate) fn met_by(&self, resources: &Resources) -> bool {
        if resources.is_empty() {
            return false;
        }
        match self {
            Minimum::Default => {
                // Both at once: this is asked for every offer.
                let (mut cpus, mut mem) = (Millis::ZERO, Millis::ZERO);
                for (identity, amount) in resources.iter() {
                    match identity.name() {
                        "cpus" => cpus += amount.total(),
                        "mem" => mem += amount.total(),
                        _ => {}
                    }
                }
                cpus >= MIN_CPUS || mem >= MIN_MEM
            }
            Minimum::AnyOf(sets) => {
                sets.is_empty()
                    || sets.iter().any(|set| set.iter().all(|(name, least)| resources.scalar(name) >= *least))
            }
        }
    }
}

impl std::fmt::Display for Minimum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Minimum::AnyOf(sets) = self else { return f.write_str("cpus:0.01|mem:32") };
        for (nth, set) in sets.iter().enumerate() {
            if nth > 0 {
                f.write_str("|")?;
            }
            for (place, (name, least)) in set.iter().enumerate() {
                let gap = if place > 0 { ";" } else { "" };
                write!(f, "{gap}{name}:{}", least.to_f64())?;
            }
        }
        Ok(())
    }
}

impl Minimum {
    /// Whether so much of unreserved scalars could be enough.
    pub(crate) fn within(&self, most: &Quantities, kinds: &Kinds) -> bool {
        let enough = |name: &str, least: Millis| {
            kinds.index_of(name).is_none_or(|kind| most.get(kind) >= milli(least))
        };
        match self {
            Minimum::Default => enough("cpus", MIN_CPUS) || enough("mem", MIN_MEM),
            Minimum::AnyOf(sets) => {
                sets.is_empty() || sets.iter().any(|set| set.iter().all(|(name, least)| enough(name, *least)))
            }
        }
    }
}

/// What a framework may hold at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Eligible<'a> {
    pub(crate) role: &'a str,
    pub(crate) revocable: bool,
    pub(crate) shared: bool,
    /// Whether it knows reservations that were made upon reservations.
    pub(crate) refined: bool,
}

/// Returns the part that is unreserved or reserved for this role or one above it, and of a sort that the framework knows.
pub(crate) fn eligible(free: &Resources, to: Eligible<'_>) -> Resources {
    free.filter(|identity| {
        identity.is_allocatable_to(to.role)
            && (to.revocable || !identity.is_revocable())
            && (to.shared || !identity.is_shared())
            && (to.refined || identity.reservations().len() <= 1)
    })
}

/// Whether nothing in it is reserved, revocable or shared, so that it is the same for everybody.
pub(crate) fn is_plain(resources: &Resources) -> bool {
    resources.iter().all(|(identity, _)| {
        identity.reservations().is_empty() && !identity.is_revocable() && !identity.is_shared()
    })
}

/// All scalars, by kind.
pub(crate) fn quantities(resources: &Resources, kinds: &mut Kinds) -> Quantities {
    kinds.quantities(scalars(resources, |_| true))
}

/// All scalars, by kind, without learning new kinds.
pub(crate) fn known_quantities(resources: &Resources, kinds: &Kinds) -> Quantities {
    kinds.known_quantities(scalars(resources, |_| true))
}

/// What it counts for shares and quotas, without learning new kinds. What is shared is a volume of this agent.
pub(crate) fn counted(resources: &Resources, kinds: &Kinds, agent: &AgentId) -> Counted {
    let mut counted = Counted::default();
    for (identity, amount) in resources.iter() {
        if identity.kind() != ValueKind::Scalar {
            continue;
        }
        let Some(kind) = kinds.index_of(identity.name()) else { continue };
        if let (true, Amount::Pieces(pieces)) = (identity.is_shared(), amount) {
            for (size, copies) in pieces {
                let mut amounts = Quantities::default();
                amounts.add(kind, milli(*size));
                let volume = Volume { agent: agent.clone(), identity: identity.clone(), size: *size };
                counted.shared.push(SharedAmount { volume: volume.into(), copies: *copies, amounts });
            }
            continue;
        }
        let milli = milli(amount.total());
        counted.all.add(kind, milli);
        if counts_for_quota(identity) {
            counted.unreserved.add(kind, milli);
        }
    }
    counted
}

/// Of whatever is held together: all scalars, by kind, without learning new kinds; each shared volume once.
pub(crate) fn held_quantities(resources: &Resources, kinds: &Kinds) -> Quantities {
    let once = |amount: &Amount| match amount {
        Amount::Pieces(pieces) => pieces.keys().map(|size| milli(*size)).sum(),
        _ => milli(amount.total()),
    };
    let scalars = resources.iter().filter(|(identity, _)| identity.kind() == ValueKind::Scalar);
    kinds.known_quantities(scalars.map(|(identity, amount)| {
        (identity.name(), if identity.is_shared() { once(amount) } else { milli(amount.total()) })
    }))
}

/// What guarantees can be met from: unreserved scalars that nobody will take back.
pub(crate) fn headroom(resources: &Resources, kinds: &Kinds) -> Quantities {
    kinds.known_quantities(scalars(resources, counts_for_quota))
}

/// What counts for quotas of a total: reservations by the top-level role that they belong to.
pub(crate) fn reservations(total: &Resources, kinds: &mut Kinds) -> Vec<(Arc<str>, Quantities)> {
    let mut by_role: std::collections::BTreeMap<&str, Quantities> = std::collections::BTreeMap::new();
    for (identity, amount) in total.iter() {
        let Some(role) = identity.reservation_role() else { continue };
        if identity.kind() != ValueKind::Scalar || identity.is_revocable() {
            continue;
        }
        let top = role.split('/').next().unwrap_or(role);
        let one = kinds.quantities([(identity.name(), milli(amount.total()))]);
        let sum = by_role.entry(top).or_default();
        *sum = sum.plus(&one);
    }
    by_role.into_iter().map(|(role, amounts)| (Arc::from(role), amounts)).collect()
}

/// Cuts unreserved scalars down to `most`; what cannot be divided is left out when it is too large. All else stays.
pub(crate) fn cut(resources: &Resources, most: &Quantities, kinds: &Kinds) -> Resources {
    let mut left = *most;
    let mut kept = Resources::new();
    for (identity, amount) in resources.iter() {
        let kind = kinds.index_of(identity.name()).filter(|_| counts_for_quota(identity));
        let Some(kind) = kind else {
            kept.insert(identity.clone(), amount.clone());
            continue;
        };
        let wanted = milli(amount.total());
        if wanted <= left.0[kind] {
            kept.insert(identity.clone(), amount.clone());
        } else if matches!(amount, Amount::Scalar(_)) {
            // Graphics processors come whole.
            let part = if identity.name() == "gpus" { left.0[kind] / 1000 * 1000 } else { left.0[kind] };
            kept.insert(identity.clone(), Amount::Scalar(Millis(i64::try_from(part).unwrap_or(i64::MAX))));
        } else {
            continue;
        }
        left.0[kind] = left.0[kind].saturating_sub(wanted);
    }
    kept
}

fn counts_for_quota(identity: &Identity) -> bool {
    identity.kind() == ValueKind::Scalar && identity.reservations().is_empty() && !identity.is_revocable()
}

fn scalars(resources: &Resources, counts: fn(&Identity) -> bool) -> impl Iterator<Item = (&str, u64)> {
    resources
        .iter()
        .filter(move |(identity, _)| identity.kind() == ValueKind::Scalar && counts(identity))
        .map(|(identity, amount)| (identity.name(), milli(amount.total())))
}

fn milli(amount: Millis) -> u64 {
    u64::try_from(amount.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Resources {
        Resources::parse(text).unwrap()
    }

    #[test]
    fn an_offer_must_be_worth_it() {
        let table = [
            ("cpus:0.01", true),
            ("mem:32", true),
            ("cpus:0.009;mem:31.9", false),
            ("disk:1000;ports:[1-9]", false),
        ];
        for (text, worth) in table {
            assert_eq!(Minimum::Default.met_by(&parse(text)), worth, "{text}");
        }
        assert!(Minimum::AnyOf(Arc::new([])).met_by(&parse("ports:[1-1]")));
        assert!(!Minimum::AnyOf(Arc::new([])).met_by(&Resources::new()));
        let both = vec![("cpus".into(), Millis(1_000)), ("gpus".into(), Millis(1_000))];
        let either = Minimum::AnyOf(Arc::new([both, vec![("disk".into(), Millis(5_000))]]));
        assert!(!either.met_by(&parse("cpus:8")));
        assert!(either.met_by(&parse("cpus:8;gpus:1")) && either.met_by(&parse("disk:5")));
    }

    #[test]
    fn cutting_touches_unreserved_scalars_only() {
        let kinds = Kinds::new();
        let mut most = Quantities([u64::MAX; super::super::quantities::MAX_KINDS]);
        most.0[0] = 1_500;
        most.0[3] = 1_900;
        let whole = parse("cpus:4;cpus(a):2;mem:64;gpus:3;ports:[1-2]");
        assert_eq!(cut(&whole, &most, &kinds), parse("cpus:1.5;cpus(a):2;mem:64;gpus:1;ports:[1-2]"));
        assert_eq!(headroom(&whole, &kinds).get(0), 4_000);
        assert_eq!(known_quantities(&whole, &kinds).get(0), 6_000);
    }

    #[test]
    fn reservations_reach_the_role_and_those_below() {
        let free = parse("cpus:1;cpus(a):2;cpus(b):4");
        let of = |role| {
            eligible(&free, Eligible { role, revocable: false, shared: false, refined: true }).scalar("cpus")
        };
        assert_eq!(
            (of("a"), of("a/x"), of("b"), of("c")),
            (Millis(3_000), Millis(3_000), Millis(5_000), Millis(1_000))
        );
        assert!(!is_plain(&free) && is_plain(&parse("cpus:1;ports:[1-2]")));
    }
}
