//! Laws that hold after every input; tests and simulations check them all the time.

use std::collections::BTreeMap;

use tepui_proto::resources::Resources;

use super::core::{Master, Party};
use super::leadership::Phase;
use crate::registry::unallocated;

impl Master {
    /// Panics if the state contradicts itself. For tests.
    pub fn check_invariants(&self) {
        self.registry.check_invariants();
        self.check_warm();
        if !self.serving() {
            return;
        }
        self.check_connections();
        self.check_offers_held();
    }

    /// What is kept ready is what the Registry says, of everybody who does not wait for it.
    fn check_warm(&self) {
        self.check_amounts();
        self.allocator.check_invariants();
        if self.phase != Phase::Idle {
            return;
        }
        let all = self.registry.agents.iter().filter(|(id, _)| !self.warm.agents.contains(id));
        for (id, record) in all {
            let counts = record.unreachable_ms.is_none();
            assert_eq!(self.holdings.knows(id), counts, "agent {id}: whether the allocator knows it");
        }
        let frameworks = self.allocator.known_frameworks();
        assert!(
            self.warm.waits_for_frameworks() || frameworks.eq(self.registry.frameworks.keys()),
            "frameworks that the allocator knows"
        );
    }

    fn check_connections(&self) {
        for (id, session) in &self.frameworks {
            let Some(live) = &session.live else { continue };
            assert_eq!(
                self.connections.get(&live.connection),
                Some(&Party::Framework(id.clone())),
                "live stream of framework {id}"
            );
            assert!(self.view.connected_frameworks.contains(id), "framework {id} is live and not shown");
        }
        for id in &self.view.connected_frameworks {
            assert!(self.live(id).is_some(), "framework {id} is shown connected and is not");
        }
        for (id, session) in &self.agents {
            assert_eq!(
                self.connections.get(&session.connection),
                Some(&Party::Agent(id.clone())),
                "stream of agent {id}"
            );
        }
    }

    fn check_offers_held(&self) {
        let mut count = 0;
        for (id, offered) in self.offers.all() {
            count += 1;
            assert!(self.is_connected(&Party::Framework(offered.framework.clone())), "offer {id}: framework");
            assert!(self.agents.contains_key(&offered.agent), "offer {id}: agent is not connected");
            assert!(self.view.offers.contains_key(id), "offer {id} is not shown");
        }
        assert_eq!(count, self.view.offers.len(), "offers shown");
    }

    /// Offered + charged + free = total, on every agent, and the allocator thinks so too.
    fn check_amounts(&self) {
        for (id, record) in &self.registry.agents {
            if self.warm.agents.contains(id) {
                continue;
            }
            if !self.holdings.knows(id) {
                assert!(self.offers.on_agent(id).next().is_none(), "agent {id} is offered and not known");
                continue;
            }
            let held = self.held_on(id);
            let told = self.holdings.told().get(id).cloned().unwrap_or_default();
            assert_eq!(held, told, "agent {id}: the allocator was told something else");
            if record.unreachable_ms.is_some() {
                continue;
            }
            let total = unallocated(record.total());
            let sum: Resources = held.values().sum();
            let free = self.allocator.free(id);
            if total.covers(&sum) {
                assert_eq!(total.less(&sum), free, "agent {id}: free");
            }
            // Offers come from what is free; agents may bring more tasks than fit, or come back with less, but of
            // what is short nothing is offered.
            let offered: Resources = self.offers.on_agent(id).map(|offered| &offered.resources).sum();
            let same = sum.filter(|identity| offered.iter().any(|(other, _)| other == identity));
            assert!(total.covers(&same), "agent {id}: {sum} held of {total}");
        }
        let mut charged = BTreeMap::new();
        for launch in self.pipeline.launches() {
            *charged.entry(launch.agent.clone()).or_insert(0) += 1;
            for task in &launch.tasks {
                assert!(self.pipeline.holds_task(&task.key), "pending task {} is not indexed", task.key);
            }
        }
        for (agent, launches) in charged {
            assert_eq!(self.pipeline.launches_on(&agent).count(), launches, "launches on {agent}");
        }
    }
}
