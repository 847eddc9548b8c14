//! Everybody who takes part in a walk, and how time passes for them.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::resources::Resources;

use super::account::Consumption;
use super::agents::Agent;
use super::chance::Chance;
use super::frameworks::Framework;
use super::step::Step;
use crate::ids::{AgentId, FrameworkId};
use crate::master::{Config, ProposalId};
use crate::registry::{QuotaRecord, Registry};
use crate::testing::Harness;

pub(super) const AGENTS: usize = 4;
pub(super) const FRAMEWORKS: usize = 4;

/// What each agent has by itself.
const HAS: [&str; AGENTS] = [
    "cpus:4;mem:1024;disk:500;ports:[1-12]",
    "cpus:3;cpus(a):1;mem:1024;disk:300;ports:[1-4, 8-12]",
    "cpus:2;mem:512;mem(b):256;disk:200",
    "cpus:4;mem:2048;disk:100;gpus:1",
];

/// Resources that a proposal holds until it is settled.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) agent: AgentId,
    /// Empty for an operator's.
    pub(super) framework: FrameworkId,
    pub(super) role: String,
    /// Without executors, unless whole offers are held.
    pub(super) resources: Resources,
    /// Executors of the launches in it, and whether they are to be paid for besides.
    pub(super) executors: BTreeMap<String, (Resources, Payer)>,
}

/// Who had to pay for an executor when its launch was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payer {
    /// Somebody else had.
    Other,
    /// This launch.
    Own,
    /// This launch, out of the whole that it holds anyway.
    Within,
}

pub(super) struct World {
    pub(super) harness: Harness,
    pub(super) agents: Vec<Agent>,
    pub(super) frameworks: Vec<Framework>,
    pub(super) uuids: u64,
    pub(super) tasks: u64,
    /// Statuses heard so far.
    pub(super) heard: u64,
    pub(super) now: usize,
    /// What proposals hold that are not settled.
    pub(super) holds: BTreeMap<ProposalId, Hold>,
    /// Proposals of which nobody knows what became, of this leadership.
    pub(super) doubtful: BTreeSet<ProposalId>,
    /// What is counted at quotas, after the last step.
    pub(super) consumption: Consumption,
    /// Something came that nobody gave: an agent with its tasks, an operator's reservation, a new leader who knows less.
    pub(super) came: bool,
    /// Limits that the last step left behind.
    pub(super) limits: imbl::OrdMap<std::sync::Arc<str>, std::sync::Arc<QuotaRecord>>,
    /// How often the walk met what it is to meet.
    pub(super) met: BTreeMap<&'static str, u64>,
    /// Built from the log alone.
    pub(super) replica: Registry,
    pub(super) replayed: usize,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let config = Config {
            offer_timeout_ms: 20_000,
            registry_gc_interval_ms: 20_000,
            registry_max_agent_age_ms: 30_000,
            ..Config::default()
        };
        let mut harness = Harness::with(config);
        let agents = HAS.iter().map(|text| Agent::new(&mut harness, text)).collect();
        let frameworks = (0..FRAMEWORKS).map(|kind| Framework::new(&mut harness, kind)).collect();
        let mut world = Self {
            harness,
            agents,
            frameworks,
            uuids: seed << 32,
            tasks: 0,
            heard: 0,
            now: 0,
            holds: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            consumption: Consumption::new(),
            came: true,
            limits: imbl::OrdMap::new(),
            met: BTreeMap::new(),
            replica: Registry::default(),
            replayed: 0,
        };
        world.listen();
        world.judge();
        world
    }

    pub(super) fn take(&mut self, step: &Step) {
        self.now += 1;
        self.came = false;
        match step {
            Step::Pass(ms) => self.pass(*ms),
            Step::Framework { who, what, dice } => self.ask(*who, *what, &mut Chance::new(*dice)),
            Step::Agent { who, what, dice } => self.act(*who, *what, &mut Chance::new(*dice)),
            Step::Operator { what, dice } => self.wish(*what, &mut Chance::new(*dice)),
            Step::Hold => self.harness.hold(),
            Step::Commit => {
                self.forget_doubts();
                self.harness.commit();
            }
            Step::CommitFirst(count) => {
                self.harness.hold();
                self.came |= self.brings(*count);
                self.harness.commit_first(*count);
            }
            Step::Lose { unknown, held } => self.lose(*unknown, *held),
            Step::Elect { unheard, same } => self.elect(*unheard, *same),
        }
        self.listen();
        self.settle_holds();
        self.judge();
    }

    /// Everything that waits is committed now.
    fn forget_doubts(&mut self) {
        self.came |= self.brings(usize::MAX);
    }

    fn lose(&mut self, unknown: bool, held: bool) {
        let lost: Vec<ProposalId> = self.harness.queue.iter().map(|(proposal, _)| *proposal).collect();
        if unknown {
            self.doubtful.extend(lost);
        }
        self.harness.fail(unknown);
        if !held {
            self.came |= self.brings(usize::MAX);
            self.harness.commit();
        }
    }

    fn elect(&mut self, unheard: usize, same: bool) {
        self.harness.commit_unheard(unheard);
        self.holds.clear();
        self.doubtful.clear();
        self.came = true;
        for agent in &mut self.agents {
            agent.deaf = false;
        }
        if same {
            self.harness.reelect();
        } else {
            self.harness.elect();
        }
    }

    /// Time passes while everybody listens.
    pub(super) fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let some = left.min(1_000);
            self.harness.advance(some);
            left -= some;
            self.listen();
        }
        // What is due at this very moment.
        self.harness.advance(0);
    }

    /// Everybody reads what there is and does what an honest peer does, until there is nothing to be read.
    pub(super) fn listen(&mut self) {
        for _ in 0..20 {
            let mut quiet = true;
            for agent in 0..self.agents.len() {
                while let Some(order) = self.harness.try_order(&self.agents[agent].peer) {
                    quiet = false;
                    self.obey(agent, order);
                }
            }
            for one in 0..self.frameworks.len() {
                quiet &= !self.hear_all(one);
            }
            if quiet {
                return;
            }
        }
        panic!("there is no end of news");
    }
}
