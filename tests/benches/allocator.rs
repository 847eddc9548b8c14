//! P1 to P3: the allocator alone, in one thread, on the grids of Mesos' own allocator benchmarks. A cycle plans every agent that
//! has something to give, in the master's slices, and charges what it gives away.

use std::time::Instant;

use tepui_proto::resources::Resources;
use tepui_proto::v1::framework_info::Capability;
use tepui_proto::v1::framework_info::capability::Type;
use tepui_proto::v1::{AgentInfo, FrameworkInfo};
use tepui_scheduler_core::allocator::{Allocation, Allocator, Amounts};
use tepui_scheduler_core::ids::{AgentId, FrameworkId};

use super::{Figure, Settings};

/// What each agent has.
const AGENT: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";
/// Work of one slice, as the master has it.
const SLICE: usize = 80_000;
const MANY_CYCLES: usize = 15;
const TASK_ENDS: usize = 1_000;
/// Long enough that no refusal ends in a run.
const FOR_GOOD_MS: u64 = 1 << 40;

/// A cluster of the grid.
struct Bench {
    allocator: Allocator,
    agents: usize,
    frameworks: usize,
    roles: Vec<String>,
    held: Vec<Allocation>,
    /// Longest slice so far, milliseconds.
    longest_ms: f64,
}

impl Bench {
    /// All frameworks in one role, or each in one of its own.
    fn new(agents: usize, frameworks: usize, own_roles: bool) -> Bench {
        let mut allocator = Allocator::new(7);
        let resources = Resources::parse(AGENT).unwrap_or_default().to_proto();
        let info = AgentInfo { resources, ..Default::default() };
        for agent in 0..agents {
            allocator.set_agent(&AgentId::from(format!("agent-{agent:05}")), &info);
        }
        let role = |number: usize| if own_roles { format!("role-{number:04}") } else { "role".to_owned() };
        let roles: Vec<String> = (0..frameworks).map(role).collect();
        for (number, role) in roles.iter().enumerate() {
            let info = FrameworkInfo {
                roles: vec![role.clone()],
                capabilities: vec![Capability { r#type: Some(Type::MultiRole as i32) }],
                ..Default::default()
            };
            allocator.set_framework(&framework(number), &info, &[], true);
        }
        Bench { allocator, agents, frameworks, roles, held: Vec::new(), longest_ms: 0.0 }
    }

    /// Gives every role this much, guaranteed and no more, in units of an agent.
    fn quotas(&mut self, of_an_agent: f64) {
        let milli = |units: f64| (units * of_an_agent * 1000.0) as u64;
        let amounts = Amounts::from([
            ("cpus".to_owned(), milli(24.0)),
            ("mem".to_owned(), milli(4096.0)),
            ("disk".to_owned(), milli(4096.0)),
        ]);
        for role in &self.roles {
            // The names are the usual ones, for which there is always room.
            let _ = self.allocator.set_quota(role, &amounts, &amounts);
        }
    }

    /// One cycle, in milliseconds.
    fn cycle(&mut self) -> f64 {
        let began = Instant::now();
        loop {
            let slice = Instant::now();
            let plan = self.allocator.plan(0, SLICE);
            self.longest_ms = self.longest_ms.max(slice.elapsed().as_secs_f64() * 1000.0);
            self.held.extend(plan.allocations);
            if !plan.more {
                return began.elapsed().as_secs_f64() * 1000.0;
            }
        }
    }

    /// Everything comes back; `refuse` decides for how many milliseconds each is not wanted again.
    fn give_back(&mut self, refuse_ms: u64) {
        for one in std::mem::take(&mut self.held) {
            self.allocator.recover(&one.framework, &one.role, &one.agent, &one.resources);
            if refuse_ms > 0 {
                let until_ms = refuse_ms;
                self.allocator.refuse(&one.framework, &one.role, &one.agent, &one.resources, until_ms);
            }
        }
    }

    /// Makes every agent with something to give dirty, without changing anything.
    fn touch_all(&mut self) {
        let (id, role) = (framework(0), self.roles[0].clone());
        self.allocator.suppress(&id, std::slice::from_ref(&role));
        self.allocator.revive(&id, &[role]);
    }

    fn name(&self) -> String {
        format!("{} agents, {} frameworks", self.agents, self.frameworks)
    }
}

fn framework(number: usize) -> FrameworkId {
    FrameworkId::from(format!("framework-{number:04}"))
}

/// What is done in a process of its own, to see how much memory it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Grid {
    OneRole,
    Declining,
    NoQuotas,
    SmallQuotas,
    LargeQuotas,
}

impl Grid {
    fn build(self, agents: usize, frameworks: usize) -> Bench {
        let own_roles = !matches!(self, Self::OneRole | Self::Declining);
        let mut bench = Bench::new(agents, frameworks, own_roles);
        match self {
            Self::SmallQuotas => bench.quotas(0.5),
            Self::LargeQuotas => bench.quotas(2.0),
            Self::OneRole | Self::Declining | Self::NoQuotas => {}
        }
        bench
    }

    fn refuse_ms(self) -> u64 {
        if self == Self::Declining { FOR_GOOD_MS } else { 0 }
    }

    /// Most memory that a process of its own has had after all cycles.
    fn peak(self, settings: &Settings, agents: usize, frameworks: usize, name: &str) -> Figure {
        let mut command = std::process::Command::new(&settings.executable);
        command.arg("allocator-peak").arg(format!("{self:?}"));
        command.args([agents, frameworks, cycles(settings)].map(|number| number.to_string()));
        let answer = command.output().map(|output| output.stdout).unwrap_or_default();
        let peak = String::from_utf8_lossy(&answer).trim().parse().unwrap_or(f64::NAN);
        let id = if matches!(self, Self::OneRole | Self::Declining) { "P1" } else { "P2" };
        Figure::of(id, &format!("peak memory, {name}"), "MB", "", vec![peak])
    }
}

/// The process that [`Grid::peak`] starts: prints megabytes.
#[expect(clippy::print_stdout, reason = "the answer to the process that asked")]
pub fn peak(mut arguments: impl Iterator<Item = String>) -> std::process::ExitCode {
    let grids = [Grid::OneRole, Grid::Declining, Grid::NoQuotas, Grid::SmallQuotas, Grid::LargeQuotas];
    let name = arguments.next().unwrap_or_default();
    let grid = grids.into_iter().find(|grid| format!("{grid:?}") == name);
    let numbers: Vec<usize> = arguments.filter_map(|number| number.parse().ok()).collect();
    let (Some(grid), &[agents, frameworks, cycles]) = (grid, numbers.as_slice()) else {
        return std::process::ExitCode::from(2);
    };
    let mut bench = grid.build(agents, frameworks);
    for _ in 0..cycles {
        bench.cycle();
        bench.give_back(grid.refuse_ms());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(f64::NAN);
    println!("{}", kib / 1024.0);
    std::process::ExitCode::SUCCESS
}

fn cycles(settings: &Settings) -> usize {
    if settings.short { 2 } else { MANY_CYCLES }
}

/// P1: one role, no filters.
pub(super) fn full_cycles(settings: &Settings) -> Vec<Figure> {
    let grid: &[(usize, usize, &str)] = if settings.short {
        &[(1_000, 100, "")]
    } else {
        &[(1_000, 100, ""), (10_000, 1_000, ""), (20_000, 2_000, "<= 100"), (50_000, 6_000, "<= 500")]
    };
    let mut figures = Vec::new();
    for (agents, frameworks, target) in grid.iter().copied() {
        let began = Instant::now();
        let mut bench = Grid::OneRole.build(agents, frameworks);
        let built_ms = began.elapsed().as_secs_f64() * 1000.0;
        let mut samples = Vec::new();
        for _ in 0..cycles(settings) {
            samples.push(bench.cycle());
            assert_eq!(bench.held.len(), agents, "every agent goes to somebody");
            bench.give_back(0);
        }
        let (name, longest) = (bench.name(), bench.longest_ms);
        figures.push(Figure::of("P1", &format!("full cycle, {name}, one role"), "ms", target, samples));
        figures.push(Figure::of("P1", &format!("longest slice, {name}"), "ms", "<= 10", vec![longest]));
        figures.push(Figure::of("P1", &format!("adding them all, {name}"), "ms", "", vec![built_ms]));
        figures.push(Grid::OneRole.peak(settings, agents, frameworks, &name));
    }
    let (agents, frameworks) = if settings.short { (1_000, 100) } else { (10_000, 1_000) };
    figures.extend(declining(settings, agents, frameworks));
    figures.push(suppressing(settings, agents, frameworks));
    figures
}

/// Everybody declines everything for good, again and again: refusals pile up, one on each agent a round.
fn declining(settings: &Settings, agents: usize, frameworks: usize) -> Vec<Figure> {
    let mut bench = Grid::Declining.build(agents, frameworks);
    let mut samples = Vec::new();
    for _ in 0..cycles(settings) {
        samples.push(bench.cycle());
        bench.give_back(Grid::Declining.refuse_ms());
    }
    let what = format!("cycle while every offer is declined for good, {}", bench.name());
    let peak = Grid::Declining.peak(settings, agents, frameworks, &what);
    vec![Figure::of("P1", &what, "ms", "", samples), peak]
}

/// A part of the frameworks suppresses before each cycle.
fn suppressing(settings: &Settings, agents: usize, frameworks: usize) -> Figure {
    let mut bench = Bench::new(agents, frameworks, false);
    let mut samples = Vec::new();
    let (rounds, mut next) = (cycles(settings), 0);
    for round in 0..rounds {
        samples.push(bench.cycle());
        bench.give_back(0);
        let until = frameworks * (round + 1) / (rounds + 1);
        for number in next..until {
            let role = bench.roles[number].clone();
            bench.allocator.suppress(&framework(number), &[role]);
        }
        next = until;
    }
    Figure::of("P1", &format!("cycle while frameworks suppress, {}", bench.name()), "ms", "", samples)
}

/// P2: a role for each framework, small and large quotas, and none.
pub(super) fn quotas(settings: &Settings) -> Vec<Figure> {
    let size = if settings.short { 300 } else { 3_000 };
    let mut figures = Vec::new();
    let mut medians = Vec::new();
    let kinds = [
        ("no quotas", Grid::NoQuotas),
        ("small quotas", Grid::SmallQuotas),
        ("large quotas", Grid::LargeQuotas),
    ];
    for (kind, grid) in kinds {
        let mut bench = grid.build(size, size);
        let name = format!("{}, {size} roles, {kind}", bench.name());
        let (mut full, mut idle) = (Vec::new(), Vec::new());
        for _ in 0..cycles(settings) {
            full.push(bench.cycle());
            bench.touch_all();
            let before = bench.held.len();
            idle.push(bench.cycle());
            assert_eq!(bench.held.len(), before, "nothing could be placed");
            bench.give_back(0);
        }
        let figure = Figure::of("P2", &format!("full cycle, {name}"), "ms", "<= 100", full);
        medians.push(figure.value);
        figures.push(figure);
        figures.push(Figure::of("P2", &format!("cycle that can place nothing, {name}"), "ms", "<= 5", idle));
        figures.push(Figure::of(
            "P2",
            &format!("longest slice, {name}"),
            "ms",
            "<= 10",
            vec![bench.longest_ms],
        ));
        figures.push(grid.peak(settings, size, size, &name));
    }
    for (kind, median) in [("small", medians[1]), ("large", medians[2])] {
        let what = format!("full cycle with {kind} quotas to one without any");
        figures.push(Figure::of("P2", &what, "x", "", vec![median / medians[0]]));
    }
    figures
}

/// P3: on a full cluster one task ends; its resources are offered again.
pub(super) fn one_end(settings: &Settings) -> Vec<Figure> {
    let (agents, frameworks) = if settings.short { (1_000, 100) } else { (50_000, 6_000) };
    let mut bench = Bench::new(agents, frameworks, false);
    bench.cycle();
    let mut samples = Vec::new();
    for number in 0..if settings.short { 20 } else { TASK_ENDS } {
        let one = bench.held.swap_remove(number * 37 % bench.held.len());
        let began = Instant::now();
        bench.allocator.recover(&one.framework, &one.role, &one.agent, &one.resources);
        bench.cycle();
        samples.push(began.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(bench.held.len(), agents, "the agent is offered again");
    }
    let what = format!("a task ends, its resources are offered again, {}", bench.name());
    vec![Figure::of("P3", &what, "ms", "<= 1", samples)]
}
