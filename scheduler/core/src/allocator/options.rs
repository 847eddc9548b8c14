//! What an operator may set about offers for the whole cluster, and the text forms of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_proto::resources::Resources;

use super::supply::{Amounts, MIN_CPUS, MIN_MEM, Minimum};

/// In which order those who wait are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sorter {
    /// Whoever holds the smallest dominant share, by weight, comes first.
    #[default]
    Drf,
    /// Drawn by lot for each agent: in proportion to weights, whatever anybody holds.
    Random,
}

impl Sorter {
    /// As flags have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drf => "drf",
            Self::Random => "random",
        }
    }
}

impl std::str::FromStr for Sorter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Drf, Self::Random];
        let found = all.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| format!("{text:?} is no sorter: there are 'drf' and 'random'"))
    }
}

/// Settings of the allocator.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How roles are sorted, and the frameworks of a role.
    pub role_sorter: Sorter,
    pub framework_sorter: Sorter,
    /// When an offer is worth being made, unless the framework says otherwise for its role.
    pub minimum: Minimums,
    /// Kinds of resources that do not count for shares.
    pub excluded_from_shares: BTreeSet<String>,
    /// Agents with graphics processors are hidden from frameworks that do not know them.
    pub filter_gpus: bool,
    /// The masters' region: agents of another one are for frameworks that know regions.
    pub region: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            role_sorter: Sorter::default(),
            framework_sorter: Sorter::default(),
            minimum: Minimums::default(),
            excluded_from_shares: BTreeSet::new(),
            filter_gpus: true,
            region: None,
        }
    }
}

/// Alternatives of least amounts; without any, everything is worth an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimums(pub(super) Vec<Amounts>);

impl Default for Minimums {
    fn default() -> Self {
        Self(vec![vec![(Arc::from("cpus"), MIN_CPUS)], vec![(Arc::from("mem"), MIN_MEM)]])
    }
}

impl Minimums {
    /// Reads `cpus:0.01|mem:32`: each alternative is a list of scalars as agents write theirs; no text is no minimum.
    ///
    /// # Errors
    /// Says which alternative cannot be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut alternatives = Vec::new();
        for one in text.split('|').map(str::trim).filter(|one| !one.is_empty()) {
            let amounts = Resources::parse(one).map_err(|error| format!("{one:?}: {error}"))?;
            let scalars = amounts.scalars();
            if scalars.len() != amounts.iter().count() {
                return Err(format!("{one:?}: only unreserved scalars can be a minimum"));
            }
            alternatives.push(scalars.into_iter().collect());
        }
        Ok(Self(alternatives))
    }

    /// The minimum that the planner asks for.
    pub(super) fn minimum(&self) -> Minimum {
        if *self == Self::default() { Minimum::Default } else { Minimum::AnyOf(self.0.clone().into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorters_are_read() {
        assert_eq!("drf".parse(), Ok(Sorter::default()));
        assert_eq!("random".parse(), Ok(Sorter::Random));
        assert!("Random".parse::<Sorter>().is_err() && "".parse::<Sorter>().is_err());
    }

    #[test]
    fn minimums_are_read() {
        assert_eq!(Minimums::parse("cpus:0.01|mem:32"), Ok(Minimums::default()));
        assert_eq!(Minimums::parse(" "), Ok(Minimums(Vec::new())));
        let both = Minimums::parse("cpus:1;mem:64|disk:5").unwrap();
        assert_eq!(both.0.len(), 2);
        assert_eq!(both.0[0].len(), 2);
        for bad in ["ports:[1-2]", "cpus", "cpus(r):1;cpus:1"] {
            assert!(Minimums::parse(bad).is_err(), "{bad}");
        }
    }
}
