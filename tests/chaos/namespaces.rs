//! A network of its own for every master and agent, joined by a bridge that stands in a network of its own, and weather made by the
//! kernel: real packets that are really lost. For root alone, and only in a process that [`super::inside`] has put apart: nothing here
//! is seen from outside, and nothing is left when that process ends, however it ends.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use tepui::cluster::Place;

use super::network::{Site, Trouble, Weather};

/// Of the addresses of this network only the last part differs.
const NET: [u8; 3] = [10, 213, 0];
/// What a way that is slow carries at most, kbit/s.
const SLOW_KBIT: u32 = 512;
/// How much may wait where it is slow, bytes; what comes then is lost.
const BUFFER: u32 = 16 << 10;

/// All namespaces of one cluster.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// Masters, then agents.
    pub(super) places: Vec<Place>,
    sites: Vec<Site>,
    switch: String,
    /// Whether the kernel can delay packets by a given time.
    delays: bool,
    weather: Weather,
    slowed: BTreeSet<usize>,
}

impl Namespaces {
    /// Builds them all.
    ///
    /// # Errors
    /// When a command fails; its words are told.
    pub(super) fn build(masters: usize, agents: usize) -> anyhow::Result<Self> {
        let prefix = format!("tepui-{}", super::inside::number());
        let switch = format!("{prefix}-switch");
        let mut sites = super::network::sites(masters, agents);
        // Clients are this process; it has the first address.
        sites.rotate_right(1);
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge", "forward_delay", "0"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
        let mut places = Vec::new();
        for (number, site) in sites.iter().enumerate() {
            let port = port(number);
            ip(&["link", "add", "uplink", "type", "veth", "peer", "name", &port, "netns", &switch])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
            tc(&["-n", &switch, "qdisc", "add", "dev", &port, "clsact"])?;
            let own = format!("{}/24", address(number));
            if *site == Site::Clients {
                // Its own end keeps another name, so that the next ends can have this one.
                ip(&["link", "set", "uplink", "name", "wire"])?;
                ip(&["addr", "add", &own, "dev", "wire"])?;
                ip(&["link", "set", "wire", "up"])?;
                continue;
            }
            let name = format!("{prefix}-{}", site.to_string().replace(' ', "-"));
            ip(&["netns", "add", &name])?;
            ip(&["link", "set", "uplink", "netns", &name])?;
            ip(&["-n", &name, "addr", "add", &own, "dev", "uplink"])?;
            ip(&["-n", &name, "link", "set", "uplink", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            places.push(Place {
                listen: address(number),
                reached: address(number),
                through: vec!["nsenter".to_owned(), format!("--net=/run/netns/{name}"), "--".to_owned()],
                environment: Vec::new(),
            });
        }
        let probe = port(0);
        let delays =
            tc(&["-n", &switch, "qdisc", "add", "dev", &probe, "root", "netem", "delay", "1ms"]).is_ok();
        if delays {
            tc(&["-n", &switch, "qdisc", "del", "dev", &probe, "root"])?;
        }
        let (weather, slowed) = (Weather::new(), BTreeSet::new());
        Ok(Namespaces { places, sites, switch, delays, weather, slowed })
    }

    /// Makes the weather so and not otherwise.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn set(&mut self, weather: &Weather) -> anyhow::Result<()> {
        let mut orders = String::new();
        let slow = self.slow(weather);
        for number in self.slowed.symmetric_difference(&slow.iter().map(|(number, _)| *number).collect()) {
            let port = port(*number);
            match slow.iter().find(|(slow, _)| slow == number) {
                None => orders.push_str(&format!("qdisc del dev {port} root\n")),
                Some((_, delay)) if self.delays => {
                    let delay = delay.as_millis();
                    orders.push_str(&format!("qdisc add dev {port} root netem delay {delay}ms\n"));
                }
                Some((_, delay)) => orders.push_str(&format!(
                    "qdisc add dev {port} root tbf rate {SLOW_KBIT}kbit burst {BUFFER} latency {}ms\n",
                    delay.as_millis().max(50)
                )),
            }
        }
        for (way, trouble) in weather.iter().filter(|(way, trouble)| self.weather.get(way) != Some(*trouble))
        {
            if let (Some((port, preference)), Some(program)) =
                (self.filter(*way), program(self.address(way.1), *trouble))
            {
                orders.push_str(&format!(
                    "filter replace dev {port} ingress pref {preference} handle 1 bpf da bytecode \"{program}\"\n"
                ));
            }
        }
        for (way, trouble) in self.weather.iter().filter(|(way, _)| !weather.contains_key(way)) {
            if let (Some((port, preference)), true) = (self.filter(*way), filters(*trouble)) {
                orders.push_str(&format!("filter del dev {port} ingress pref {preference}\n"));
            }
        }
        self.slowed = slow.into_iter().map(|(number, _)| number).collect();
        self.weather.clone_from(weather);
        if orders.is_empty() {
            return Ok(());
        }
        let mut child = Command::new("tc")
            .args(["-n", &self.switch, "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start tc")?;
        child.stdin.take().context("tc reads")?.write_all(orders.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "tc: {said}after\n{orders}");
        Ok(())
    }

    /// Sites to which packets come late, by number.
    fn slow(&self, weather: &Weather) -> Vec<(usize, Duration)> {
        let numbered = self.sites.iter().enumerate();
        let late = numbered.filter_map(|(number, site)| {
            weather.iter().find_map(|((_, to), trouble)| match trouble {
                Trouble::Slow(delay) if to == site => Some((number, *delay)),
                Trouble::Drip(_) if to == site => Some((number, Duration::from_millis(400))),
                _other => None,
            })
        });
        late.collect()
    }

    /// The port of the switch that sees what is sent on this way, and the rank of the way's own filter there.
    fn filter(&self, way: (Site, Site)) -> Option<(String, usize)> {
        let number = |site| self.sites.iter().position(|found| *found == site);
        Some((port(number(way.0)?), number(way.1)? + 1))
    }

    fn address(&self, site: Site) -> Ipv4Addr {
        address(self.sites.iter().position(|found| *found == site).unwrap_or_default())
    }
}

fn address(number: usize) -> Ipv4Addr {
    let [a, b, c] = NET;
    Ipv4Addr::new(a, b, c, u8::try_from(number + 1).unwrap_or(u8::MAX))
}

/// The switch's port to a site.
fn port(number: usize) -> String {
    format!("port{number}")
}

/// Whether the trouble is made by a filter.
fn filters(trouble: Trouble) -> bool {
    matches!(trouble, Trouble::Cut | Trouble::Broken | Trouble::Loss(_))
}

/// A filter in the kernel's packet language that drops what goes to this address: all of it, or so many of a thousand packets by lot.
/// What is not IPv4 passes.
fn program(to: Ipv4Addr, trouble: Trouble) -> Option<String> {
    let to = u32::from(to);
    match trouble {
        Trouble::Cut | Trouble::Broken => {
            Some(format!("6,40 0 0 12,21 0 2 2048,32 0 0 30,21 1 0 {to},6 0 0 4294967295,6 0 0 2"))
        }
        Trouble::Loss(of_thousand) => {
            let limit = u64::from(of_thousand.min(1_000)) * u64::from(u32::MAX) / 1_000;
            Some(format!(
                "8,40 0 0 12,21 0 4 2048,32 0 0 30,21 0 2 {to},32 0 0 4294963256,53 0 1 {limit},6 0 0 4294967295,6 0 0 2"
            ))
        }
        Trouble::Slow(_) | Trouble::Drip(_) => None,
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    command("ip", arguments)
}

fn tc(arguments: &[&str]) -> anyhow::Result<()> {
    command("tc", arguments)
}

/// Runs a command and tells its words if it fails.
///
/// # Errors
/// When it cannot be started, or fails.
pub(super) fn command(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name} {}: {said}", arguments.join(" "));
    Ok(())
}
