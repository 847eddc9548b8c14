//! What goes wrong, and when. Never more than the run can come back from: when faults stop, everything is healed.

use super::agenda::{MS, SECOND};
use super::event::Event;
use super::network::Place;
use super::world::World;

impl World {
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if !self.faulty {
            return Ok(());
        }
        let delay = self.chance.between(1, 2 * self.settings.fault_interval_ms) * MS;
        self.after(delay, Event::Fault);
        self.report.faults += 1;
        match self.chance.between(0, 16) {
            0 | 1 => self.crash_leader(),
            2 => {
                let node = self.chance.index(self.nodes.len());
                self.crash_master(node);
            }
            3 => self.cut_off_leader(true),
            4 => self.cut_off_leader(false),
            5 => self.cut_off_agents(),
            6 => self.cut_off_one_pair(),
            7 => self.pause_a_master(),
            8 => {
                let agent = self.chance.index(self.agents.len());
                self.crash_agent(agent, false);
            }
            9 => {
                let agent = self.chance.index(self.agents.len());
                self.crash_agent(agent, true);
            }
            10 => {
                let framework = self.chance.index(self.frameworks.len());
                self.crash_framework(framework);
            }
            11 => self.zombie_framework(),
            12 => self.kill_driver(),
            13 => self.pause_driver(),
            14 => self.break_some_stream(),
            15 => self.kill_some_executor(),
            _all if self.chance.percent(20) => {
                for node in 0..self.nodes.len() {
                    self.crash_master(node);
                }
            }
            _nothing => {}
        }
        Ok(())
    }

    fn crash_leader(&mut self) {
        if let Some((leader, _)) = self.log.leader {
            self.crash_master(leader);
        }
    }

    fn heal_later(&mut self) {
        let delay = self.chance.between(100, 20_000) * MS;
        self.after(delay, Event::Heal);
    }

    /// The leader and its peers do not hear each other, in one direction or both; agents and frameworks reach it still.
    fn cut_off_leader(&mut self, both: bool) {
        let Some((leader, _)) = self.log.leader else { return };
        self.note(|| {
            format!("master {leader} is cut off from its peers{}", if both { "" } else { ", one way" })
        });
        for peer in 0..self.nodes.len() {
            let (one, other) = (Place::Master(leader), Place::Master(peer));
            if both {
                self.network.block_both(one, other);
            } else {
                self.network.block(one, other);
            }
        }
        self.heal_later();
    }

    fn cut_off_agents(&mut self) {
        let agent = self.chance.index(self.agents.len());
        self.note(|| format!("agent {agent} is cut off"));
        for node in 0..self.nodes.len() {
            self.network.block_both(Place::Agent(agent), Place::Master(node));
        }
        self.heal_later();
    }

    fn cut_off_one_pair(&mut self) {
        let node = Place::Master(self.chance.index(self.nodes.len()));
        let client = if self.chance.percent(50) {
            Place::Agent(self.chance.index(self.agents.len()))
        } else {
            Place::Framework(self.chance.index(self.frameworks.len()))
        };
        let to_master = self.chance.percent(50);
        self.note(|| format!("nothing passes between {client:?} and {node:?}, one way"));
        if to_master {
            self.network.block(client, node);
        } else {
            self.network.block(node, client);
        }
        self.heal_later();
    }

    fn pause_a_master(&mut self) {
        let node = match self.log.leader {
            Some((leader, _)) if self.chance.percent(70) => leader,
            _any => self.chance.index(self.nodes.len()),
        };
        let pause = self.chance.between(50, 8_000);
        self.note(|| format!("master {node} is paused for {pause} ms"));
        self.nodes[node].paused_until = self.now + pause * MS;
    }

    /// A second instance of a framework comes up while the first one still believes itself subscribed.
    fn zombie_framework(&mut self) {
        let framework = self.chance.index(self.frameworks.len());
        if !self.frameworks[framework].up || self.frameworks[framework].id.is_none() {
            return;
        }
        self.note(|| format!("framework {framework} subscribes from a second instance"));
        let found = &mut self.frameworks[framework];
        found.life += 1;
        found.stream = None;
        found.subscribed = false;
        let life = found.life;
        self.after(MS, Event::FrameworkSearch { framework, life });
        self.after(5 * SECOND, Event::FrameworkStep { framework, life });
    }

    fn living_driver(&mut self) -> Option<usize> {
        let alive: Vec<usize> =
            (0..self.drivers.len()).filter(|number| self.drivers[*number].alive).collect();
        (!alive.is_empty()).then(|| alive[self.chance.index(alive.len())])
    }

    fn kill_driver(&mut self) {
        let Some(number) = self.living_driver() else { return };
        let (agent, process) = (self.drivers[number].agent, self.drivers[number].process);
        let generation = self.drivers[number].generation;
        self.note(|| format!("driver generation {generation} is killed"));
        self.drivers[number].alive = false;
        self.kill_outside(agent, process, 0);
    }

    fn pause_driver(&mut self) {
        let Some(number) = self.living_driver() else { return };
        let pause = self.chance.between(100, 40_000);
        let generation = self.drivers[number].generation;
        self.note(|| format!("driver generation {generation} is paused for {pause} ms"));
        self.drivers[number].paused_until = self.now + pause * MS;
        if self.chance.percent(50) {
            // Nobody reaches its host meanwhile, so that it is still there when it goes on, and the first to do something.
            let agent = self.drivers[number].agent;
            self.network.away.insert(agent);
            self.after(pause * MS - 1, Event::HostIsBack { agent });
        }
    }

    fn break_some_stream(&mut self) {
        let open: Vec<u64> =
            self.network.streams.iter().filter(|(_, stream)| !stream.broken).map(|(id, _)| *id).collect();
        if !open.is_empty() {
            let stream = open[self.chance.index(open.len())];
            self.note(|| format!("stream {stream} breaks"));
            self.break_stream(stream, false, false);
        }
    }

    /// No fault comes any more, and all that were there are mended.
    pub(crate) fn stop_faults(&mut self) {
        self.note(|| "faults stop".to_owned());
        self.faulty = false;
        self.network.heal();
        let now = self.now;
        for node in &mut self.nodes {
            node.paused_until = node.paused_until.min(now);
        }
        for node in 0..self.nodes.len() {
            let life = self.nodes[node].life;
            if !self.nodes[node].up {
                self.after(MS, Event::RestartMaster { node, life });
            }
        }
        for agent in 0..self.agents.len() {
            let life = self.agents[agent].life;
            self.after(MS, Event::RestartAgent { agent, life });
        }
        for framework in 0..self.frameworks.len() {
            let life = self.frameworks[framework].life;
            self.after(MS, Event::RestartFramework { framework, life });
        }
    }
}
