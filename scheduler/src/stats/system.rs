//! The host: its processors, load and memory, as Mesos names them. What the system does not tell is left out.

/// Names and numbers.
pub(crate) fn system() -> Vec<(String, f64)> {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut numbers = vec![("system/cpus_total".to_owned(), cpus as f64)];
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    numbers.extend(loads(&read("/proc/loadavg")));
    numbers.extend(memory(&read("/proc/meminfo")));
    numbers
}

fn loads(text: &str) -> Vec<(String, f64)> {
    let names = ["1min", "5min", "15min"].iter().zip(text.split_whitespace());
    names.filter_map(|(name, load)| Some((format!("system/load_{name}"), load.parse().ok()?))).collect()
}

fn memory(text: &str) -> Vec<(String, f64)> {
    let names = [("MemTotal:", "system/mem_total_bytes"), ("MemFree:", "system/mem_free_bytes")];
    let find = |(field, name): (&str, &str)| {
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some((name.to_owned(), kibibytes * 1024.0))
    };
    names.into_iter().filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_read() {
        let loads = loads("0.50 1.25 2.00 1/234 5678\n");
        assert_eq!(loads[0], ("system/load_1min".to_owned(), 0.5));
        assert_eq!(loads[2], ("system/load_15min".to_owned(), 2.0));
        let memory = memory("MemTotal:       16 kB\nMemFree:   2 kB\nMemAvailable: 5 kB\n");
        let expected =
            [("system/mem_total_bytes".to_owned(), 16384.0), ("system/mem_free_bytes".to_owned(), 2048.0)];
        assert_eq!(memory, expected);
        assert!(super::loads("nonsense").is_empty() && super::memory("MemTotal: x").is_empty());
    }
}
