//! Who is on the network of a campaign, what can be wrong on the way from one to another, and who makes it so: gateways on loopback, or
//! the kernel between network namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tepui::cluster::{LocalCluster, Place};

use super::gateways::{Gateways, Spot};
use super::namespaces::Namespaces;

/// Somebody on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Site {
    Master(usize),
    /// An agent and all that it runs.
    Agent(usize),
    /// Everybody else: frameworks, operators, those who watch.
    Clients,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Site::Master(index) => write!(f, "master {}", index + 1),
            Site::Agent(index) => write!(f, "agent {}", index + 1),
            Site::Clients => f.write_str("clients"),
        }
    }
}

/// What is wrong on one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// Nothing gets through. What was sent gets through later, if whoever sent it goes on trying.
    Cut,
    /// Connections end at once and cannot be made. The kernel's network knows only [`Trouble::Cut`].
    Broken,
    /// Everything comes so much later, and not much at a time.
    Slow(Duration),
    /// A few bytes at a time: so many a second.
    Drip(u32),
    /// Out of a thousand packets so many are lost; a gateway holds up pieces and now and then ends a connection instead.
    Loss(u32),
}

/// What is wrong, by way: from whom to whom. Ways that are not in here are fine.
pub(crate) type Weather = BTreeMap<(Site, Site), Trouble>;

/// The same trouble on all ways between these sites, in both directions.
pub(crate) fn between(ones: &[Site], others: &[Site], trouble: Trouble) -> Weather {
    let pairs = ones.iter().flat_map(|one| others.iter().map(move |other| (*one, *other)));
    pairs
        .filter(|(one, other)| one != other)
        .flat_map(|(one, other)| [((one, other), trouble), ((other, one), trouble)])
        .collect()
}

/// Who makes the weather.
#[derive(Debug)]
pub(super) enum Network {
    /// Loopback: a gateway in front of everything that a master listens on.
    Gateways { gateways: Gateways, places: Vec<Place> },
    /// A network namespace for each server, joined by a bridge.
    Namespaces(Namespaces),
}

impl Network {
    /// Makes places for so many masters and agents.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn prepare(full: bool, masters: usize, agents: usize) -> anyhow::Result<Self> {
        if full {
            return Ok(Network::Namespaces(Namespaces::build(masters, agents)?));
        }
        let places = (1..=masters).map(|number| {
            let reached = std::net::Ipv4Addr::new(127, 77, 0, u8::try_from(number).unwrap_or(u8::MAX));
            Place { reached, ..Place::default() }
        });
        Ok(Network::Gateways { gateways: Gateways::default(), places: places.collect() })
    }

    /// The masters' places and, after them, the agents'.
    pub(super) fn places(&self) -> &[Place] {
        match self {
            Network::Gateways { places, .. } => places,
            Network::Namespaces(namespaces) => &namespaces.places,
        }
    }

    /// Begins to carry, once it is known who listens where.
    ///
    /// # Errors
    /// When a port is taken.
    pub(super) async fn open(&mut self, cluster: &LocalCluster) -> anyhow::Result<()> {
        let Network::Gateways { gateways, places } = self else { return Ok(()) };
        let masters =
            (0..cluster.masters().len()).map(|index| (Site::Master(index), cluster.master_dir(index)));
        let agents = (0..cluster.agents().len()).map(|index| (Site::Agent(index), cluster.agent_dir(index)));
        gateways.known(
            masters.chain(agents).map(|(site, folder)| (site, folder.display().to_string())).collect(),
        );
        for (index, (place, peer)) in places.iter().zip(cluster.peer_ports()).enumerate() {
            for port in [peer, port_of(&cluster.masters()[index])] {
                let spot = Spot { front: (place.reached, port).into(), target: (place.listen, port).into() };
                gateways.stand(spot, Site::Master(index)).await?;
            }
        }
        Ok(())
    }

    /// Makes the weather so and not otherwise.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn set(&mut self, weather: Weather) -> anyhow::Result<()> {
        match self {
            Network::Gateways { gateways, .. } => {
                gateways.set(weather);
                Ok(())
            }
            Network::Namespaces(namespaces) => namespaces.set(&weather),
        }
    }
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
}

/// All sites of a cluster of this size.
pub(crate) fn sites(masters: usize, agents: usize) -> Vec<Site> {
    let servers = (0..masters).map(Site::Master).chain((0..agents).map(Site::Agent));
    servers.chain([Site::Clients]).collect()
}

/// All ways of a cluster of this size: each has a master at one of its ends.
pub(crate) fn links(masters: usize, agents: usize) -> Vec<(Site, Site)> {
    let all = sites(masters, agents);
    let ends: BTreeSet<(Site, Site)> = (0..masters)
        .map(Site::Master)
        .flat_map(|one| all.iter().map(move |other| (one.min(*other), one.max(*other))))
        .filter(|(one, other)| one != other)
        .collect();
    ends.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_has_a_master_and_is_there_once() {
        let found = links(3, 2);
        assert_eq!(found.len(), 3 + 3 * 2 + 3);
        assert!(found.iter().all(|(one, other)| matches!(one, Site::Master(_)) && one < other));
        let weather = between(&[Site::Master(0)], &sites(2, 1), Trouble::Cut);
        assert_eq!(weather.len(), 6, "both directions, and nobody to itself");
    }
}
