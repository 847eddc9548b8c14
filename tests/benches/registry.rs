//! The Registry at full size, in one thread: what it costs to apply, to clone, to write and to read, how much memory it takes, and how
//! long a new leader's turns are. 50,000 agents, 500,000 running tasks of 300 frameworks; ten thousand agents come back at once.

use std::time::Instant;

use tepui_scheduler_core::registry::Registry;

use super::registry_cluster::{Cluster, Size};
use super::registry_lead::Lead;
use super::{Figure, Settings};

const CLONES: usize = 100_000;

/// Everything in one go, since each part needs what the one before made.
pub(super) fn registry(settings: &Settings) -> Vec<Figure> {
    let size = if settings.short { Size::short() } else { Size::full() };
    let mut figures = Vec::new();
    let before_mb = resident_mb();
    let mut cluster = Cluster::new(size);
    let mut add = |what: String, unit, target, samples| {
        figures.push(Figure::of("registry", &what, unit, target, samples));
    };
    for (what, samples) in cluster.build() {
        add(format!("apply {what}, {}", size.name()), "µs", "", samples);
    }
    let built_mb = resident_mb();
    add(format!("memory of the Registry, {}", size.name()), "MB", "<= 1024", vec![built_mb - before_mb]);
    for (what, samples) in cluster.churn() {
        add(format!("apply {what} at full size"), "µs", "", samples);
    }
    let registry = cluster.registry();
    add("clone".to_owned(), "ns", "", vec![clones(registry)]);
    for (what, unit, value) in snapshots(registry) {
        add(what.to_owned(), unit, "", vec![value]);
    }
    for (what, unit, target, samples) in Lead::new(cluster, size).run() {
        add(what, unit, target, samples);
    }
    figures
}

fn clones(registry: &Registry) -> f64 {
    let began = Instant::now();
    for _ in 0..CLONES {
        std::hint::black_box(registry.clone());
    }
    began.elapsed().as_secs_f64() * 1e9 / CLONES as f64
}

fn snapshots(registry: &Registry) -> Vec<(&'static str, &'static str, f64)> {
    let mut bytes = Vec::new();
    let began = Instant::now();
    // Writing into a vector cannot fail.
    let _ = registry.write_snapshot(&mut bytes);
    let written = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    let read = Registry::read_snapshot(&mut bytes.as_slice());
    let took = began.elapsed().as_secs_f64() * 1e3;
    assert!(read.is_ok_and(|read| read == *registry), "a snapshot gives the same Registry");
    vec![
        ("snapshot", "MB", bytes.len() as f64 / 1e6),
        ("write a snapshot to memory", "ms", written),
        ("read a snapshot from memory", "ms", took),
    ]
}

/// Memory of this process that is in use, megabytes.
pub(super) fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(f64::NAN);
    kib / 1024.0
}
