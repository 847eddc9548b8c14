//! What goes wrong, and when. Never more than the run can come back from: when faults stop, everything is healed.

use super::agenda::{MS, SECOND};
use super::event::Event;
use super::network::Place;
use super::world::World;

/// A fault, how often it is among 100, and its name in the count.
type Fault = (u64, &'static str, fn(&mut World) -> bool);

const FAULTS: [Fault; 30] = [
    (6, "leader killed", |world| world.leader().is_some_and(|node| world.crash(node, false))),
    (5, "leader loses power", |world| world.leader().is_some_and(|node| world.crash(node, true))),
    (5, "leader loses power while it writes", World::doom_leader),
    (4, "follower killed", |world| world.follower().is_some_and(|node| world.crash(node, false))),
    (4, "follower loses power", |world| world.follower().is_some_and(|node| world.crash(node, true))),
    (2, "all masters lose power", |world| {
        (0..world.nodes.len()).for_each(|node| world.crash_master(node, true));
        true
    }),
    (5, "all masters lose power while they write", |world| {
        world.nodes.iter_mut().filter(|node| node.up).for_each(|node| node.doomed = true);
        true
    }),
    (4, "disk of a master damaged", World::damage_a_disk),
    (3, "disk of a master slow", World::slow_a_disk),
    (1, "replacement of a master begun", World::begin_a_replacement),
    (5, "leader cut off", |world| world.cut_off_leader(true)),
    (4, "leader cut off, one way", |world| world.cut_off_leader(false)),
    (4, "leader cut off from one follower", World::cut_off_one_follower),
    (5, "agent cut off", World::cut_off_an_agent),
    (5, "client and master cut off, one way", World::cut_off_one_pair),
    (5, "leader paused", |world| world.leader().is_some_and(|node| world.pause_master(node))),
    (2, "follower paused", |world| world.follower().is_some_and(|node| world.pause_master(node))),
    (2, "calendar of a master jumps", World::jump_calendar),
    (1, "clock of a leader jumps", World::jump_clock),
    (2, "clocks of an agent jump", World::jump_agents_clock),
    (5, "agent killed", |world| world.some_agent_crashes(false)),
    (4, "host of an agent lost", |world| world.some_agent_crashes(true)),
    (3, "agent slow", World::slow_an_agent),
    (5, "framework killed", |world| {
        let framework = world.chance.index(world.frameworks.len());
        world.crash_framework(framework)
    }),
    (5, "second instance of a framework", World::second_instance),
    (4, "driver killed", World::kill_driver),
    (4, "driver paused", World::pause_driver),
    (4, "stream broken", World::break_some_stream),
    (4, "executor killed", World::kill_some_executor),
    (4, "nothing", |_world| true),
];

impl World {
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if !self.faulty {
            return Ok(());
        }
        let delay = self.chance.between(1, 2 * self.settings.fault_interval_ms) * MS;
        self.after(delay, Event::Fault);
        self.report.faults += 1;
        let all: u64 = FAULTS.iter().map(|(often, ..)| often).sum();
        let mut lot = self.chance.between(1, all);
        for (often, name, fault) in FAULTS {
            if lot <= often {
                if fault(self) {
                    self.report.count(name);
                }
                return Ok(());
            }
            lot -= often;
        }
        Ok(())
    }

    /// Who leads by the rules of the log, as far as anybody knows.
    pub(crate) fn leader(&self) -> Option<usize> {
        let term = |node: &usize| self.nodes[*node].lead.as_ref().map(|lead| lead.term);
        (0..self.nodes.len()).filter(|node| term(node).is_some()).max_by_key(term)
    }

    fn follower(&mut self) -> Option<usize> {
        let leads = |node: usize| self.nodes[node].lead.is_some();
        let others: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].up && !leads(*node)).collect();
        (!others.is_empty()).then(|| others[self.chance.index(others.len())])
    }

    fn crash(&mut self, node: usize, power: bool) -> bool {
        let up = self.nodes[node].up;
        self.crash_master(node, power);
        up
    }

    /// The leader's host loses power within its next write.
    fn doom_leader(&mut self) -> bool {
        let Some(leader) = self.leader() else { return false };
        self.nodes[leader].doomed = true;
        true
    }

    pub(crate) fn power_loss(&mut self, node: usize, life: u64) -> Result<(), String> {
        if self.nodes[node].life == life {
            self.crash_master(node, true);
        }
        Ok(())
    }

    /// One disk at a time, and only while all others have everything.
    fn damage_a_disk(&mut self) -> bool {
        let voters = self.voters();
        let length = self.checks.committed.len();
        let sound = |node: &usize| self.awake(*node) && self.nodes[*node].applied == length;
        if self.replacement.is_some() || !self.may_replace() || !voters.iter().all(sound) {
            return false;
        }
        let voters: Vec<usize> = voters.into_iter().collect();
        let node = voters[self.chance.index(voters.len())];
        self.crash_master(node, true);
        self.note(|| format!("the disk of master {node} is damaged"));
        self.nodes[node].log.damage(&mut self.chance);
        self.nodes[node].log.damaged
    }

    fn slow_a_disk(&mut self) -> bool {
        let node = self.chance.index(self.nodes.len());
        self.note(|| format!("the disk of master {node} is slow"));
        self.nodes[node].slow_disk_until = self.now + self.chance.between(1, 15) * SECOND;
        true
    }

    fn begin_a_replacement(&mut self) -> bool {
        let node = self.chance.index(self.nodes.len());
        self.plan_replacement(node)
    }

    fn heal_later(&mut self) {
        let delay = self.chance.between(100, 20_000) * MS;
        self.after(delay, Event::Heal);
    }

    /// The leader and its peers do not hear each other, in one direction or both; agents and frameworks reach it still.
    fn cut_off_leader(&mut self, both: bool) -> bool {
        let Some(leader) = self.leader() else { return false };
        self.note(|| {
            format!("master {leader} is cut off from its peers{}", if both { "" } else { ", one way" })
        });
        let towards = self.chance.percent(50);
        for peer in 0..self.nodes.len() {
            let (one, other) = (Place::Master(leader), Place::Master(peer));
            if both {
                self.network.block_both(one, other);
            } else if towards {
                self.network.block(other, one);
            } else {
                self.network.block(one, other);
            }
        }
        self.heal_later();
        true
    }

    /// Both reach all the others.
    fn cut_off_one_follower(&mut self) -> bool {
        let (Some(leader), Some(follower)) = (self.leader(), self.follower()) else { return false };
        self.note(|| format!("masters {leader} and {follower} do not reach each other"));
        self.network.block_both(Place::Master(leader), Place::Master(follower));
        self.heal_later();
        true
    }

    fn cut_off_an_agent(&mut self) -> bool {
        let agent = self.chance.index(self.agents.len());
        self.note(|| format!("agent {agent} is cut off"));
        for node in 0..self.nodes.len() {
            self.network.block_both(Place::Agent(agent), Place::Master(node));
        }
        self.heal_later();
        true
    }

    fn cut_off_one_pair(&mut self) -> bool {
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
        true
    }

    fn pause_master(&mut self, node: usize) -> bool {
        let pause = self.chance.between(50, 8_000);
        self.note(|| format!("master {node} is paused for {pause} ms"));
        self.nodes[node].paused_until = self.now + pause * MS;
        true
    }

    /// Calendars go back and forth by up to a day.
    fn jump_calendar(&mut self) -> bool {
        let node = self.chance.index(self.nodes.len());
        let off = self.chance.between(0, 172_800_000).cast_signed() - 86_400_000;
        self.note(|| format!("the calendar of master {node} is {off} ms off"));
        self.nodes[node].calendar_off = off;
        true
    }

    /// The clock of a leader, which should not, jumps forward.
    fn jump_clock(&mut self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let jump = self.chance.between(100, 15_000);
        self.note(|| format!("the clock of master {leader} jumps by {jump} ms"));
        self.nodes[leader].clock_ahead += jump * MS;
        true
    }

    fn jump_agents_clock(&mut self) -> bool {
        let agent = self.chance.index(self.agents.len());
        let off = self.chance.between(0, 172_800_000).cast_signed() - 86_400_000;
        let jump = self.chance.between(100, 15_000);
        self.note(|| format!("the calendar of agent {agent} is {off} ms off, its clock jumps by {jump} ms"));
        self.agents[agent].calendar_off = off;
        self.agents[agent].clock_ahead += jump * MS;
        true
    }

    fn some_agent_crashes(&mut self, host: bool) -> bool {
        let agent = self.chance.index(self.agents.len());
        self.crash_agent(agent, host)
    }

    fn slow_an_agent(&mut self) -> bool {
        let agent = self.chance.index(self.agents.len());
        self.note(|| format!("agent {agent} is slow"));
        self.agents[agent].slow_until = self.now + self.chance.between(1, 30) * SECOND;
        true
    }

    /// A second instance of a framework comes up while the first one still believes itself subscribed, and goes on calling.
    fn second_instance(&mut self) -> bool {
        let framework = self.chance.index(self.frameworks.len());
        if !self.frameworks[framework].up || self.frameworks[framework].id.is_none() {
            return false;
        }
        self.note(|| format!("framework {framework} subscribes from a second instance"));
        let found = &mut self.frameworks[framework];
        found.life += 1;
        found.old_stream = found.stream.take().or(found.old_stream);
        found.subscribed = false;
        let life = found.life;
        self.after(MS, Event::FrameworkSearch { framework, life });
        self.after(5 * SECOND, Event::FrameworkStep { framework, life });
        true
    }

    fn living_driver(&mut self) -> Option<usize> {
        let alive: Vec<usize> =
            (0..self.drivers.len()).filter(|number| self.drivers[*number].alive).collect();
        (!alive.is_empty()).then(|| alive[self.chance.index(alive.len())])
    }

    fn kill_driver(&mut self) -> bool {
        let Some(number) = self.living_driver() else { return false };
        let (agent, process) = (self.drivers[number].agent, self.drivers[number].process);
        let generation = self.drivers[number].generation;
        self.note(|| format!("driver generation {generation} is killed"));
        self.drivers[number].alive = false;
        self.kill_outside(agent, process, 0);
        true
    }

    fn pause_driver(&mut self) -> bool {
        let Some(number) = self.living_driver() else { return false };
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
        true
    }

    fn break_some_stream(&mut self) -> bool {
        let open: Vec<u64> =
            self.network.streams.iter().filter(|(_, stream)| !stream.broken).map(|(id, _)| *id).collect();
        if open.is_empty() {
            return false;
        }
        let stream = open[self.chance.index(open.len())];
        self.note(|| format!("stream {stream} breaks"));
        self.break_stream(stream, false, false);
        true
    }

    /// No fault comes any more, and all that were there are mended.
    pub(crate) fn stop_faults(&mut self) {
        self.note(|| "faults stop".to_owned());
        self.faulty = false;
        self.network.heal();
        let now = self.now;
        for node in &mut self.nodes {
            node.paused_until = node.paused_until.min(now);
            node.slow_disk_until = node.slow_disk_until.min(now);
            node.doomed = false;
        }
        for node in 0..self.nodes.len() {
            let life = self.nodes[node].life;
            if !self.nodes[node].up {
                self.after(MS, Event::RestartMaster { node, life });
            }
        }
        for agent in 0..self.agents.len() {
            let life = self.agents[agent].life;
            self.agents[agent].slow_until = self.agents[agent].slow_until.min(now);
            self.after(MS, Event::RestartAgent { agent, life });
        }
        for framework in 0..self.frameworks.len() {
            let life = self.frameworks[framework].life;
            self.after(MS, Event::RestartFramework { framework, life });
        }
    }
}
