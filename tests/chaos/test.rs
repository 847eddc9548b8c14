//! Short campaigns: each kind of fault once, everything checked. The full form runs where this system allows it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tepui_tests::chaos::{self, Fault, Settings, Way, inside};
use tepui_tests::harness;

/// A three-master cluster for these faults, one after the other.
fn settings(first: Vec<Fault>) -> Settings {
    Settings {
        cycles: first.len() as u64,
        master_args: harness::slow_timers(),
        first,
        ..Settings::new(env!("CARGO_BIN_EXE_tepui-under-test"))
    }
}

/// Carries them out and expects that nothing is lost.
async fn clean(first: Vec<Fault>) -> anyhow::Result<chaos::Report> {
    let settings = settings(first);
    let report = Box::pin(chaos::run(&settings, |_, _| Ok(()))).await?;
    assert!(report.losses.is_empty(), "{}", report.losses.join("\n"));
    assert_eq!(report.cycles.len(), settings.first.len());
    assert!(report.operations.ok > 50 && report.looks > 0, "{report:?}");
    Ok(report)
}

/// It can be heard but hears nothing: were it to go on sending heartbeats, nobody would be elected for as long as that lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_leader_is_replaced_while_it_is_deaf() -> anyhow::Result<()> {
    let span = Duration::from_secs(10);
    let report = clean(vec![Fault::CutLeader(Way::In, span)]).await?;
    let recovery = report.cycles[0].recovery;
    assert!(
        recovery < span,
        "writes were possible only {recovery:?} later, after the network was whole again"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_masters_drivers_and_agents_are_killed() -> anyhow::Result<()> {
    let report = clean(vec![
        Fault::KillLeader,
        Fault::KillDriver,
        Fault::PauseLeader(Duration::from_secs(2)),
        Fault::KillAgent(0, Duration::from_millis(300)),
        Fault::StopLeader,
        Fault::KillFollower(1),
        Fault::DamagedFollower(0),
        Fault::FullRestart,
        Fault::KillAgent(1, Duration::from_millis(300)),
    ])
    .await?;
    assert!(report.generations >= 2 && report.zombies_fenced >= 1, "{report:?}");
    assert!(report.writes > 50 && report.tasks > 0, "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_network_and_the_hosts_fail() -> anyhow::Result<()> {
    let span = Duration::from_millis(1_500);
    clean(vec![
        Fault::CutLeader(Way::Both, span),
        Fault::CutLeader(Way::Out, span),
        Fault::CutFollower(0, Way::Both, span),
        Fault::CutAgent(0, Way::Both, span),
        Fault::CutClients(span),
        Fault::Flap(span),
        Fault::Lossy(span),
        Fault::SlowLeader(span),
        Fault::DripFollower(1, span),
        Fault::FewFiles(span),
        Fault::ClockJump(0, 1, span),
        Fault::ClockJump(3, -24, span),
    ])
    .await?;
    Ok(())
}

/// The case in which Mesos with Chronos broke for good in 2015.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_goes_on_after_brief_interruptions_of_every_link_without_a_person() -> anyhow::Result<()>
{
    let settings = settings(Vec::new());
    let brief = Box::pin(chaos::interrupt(&settings, 1)).await?;
    assert!(brief.losses.is_empty(), "{}", brief.losses.join("\n"));
    assert!(brief.interruptions > 20 && brief.jobs > 20, "{brief:?}");
    Ok(())
}

/// No process of a campaign outlives it, even if it is killed and cannot clean up.
#[test]
fn a_campaign_that_is_killed_leaves_no_process() -> anyhow::Result<()> {
    if let Err(why) = inside::is_possible() {
        println!("skipped: no full form here: {why}");
        return Ok(());
    }
    let mut campaign = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["--form", "full", "--no-stream", "--slow-timers"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(campaign.stdout.take().context("its output")?).lines();
    // The second line is the first cycle: everything runs.
    let (first, second) = (lines.next().context("a line")??, lines.next().context("a cycle")??);
    assert!(first.contains("full form") && second.contains("recovered"), "{first}\n{second}");
    let number = campaign.id().to_string();
    let left = || tepui::cluster::find_processes(&[(inside::NUMBER, Path::new(&number))]).len();
    assert!(left() >= 5, "masters and agents");
    campaign.kill()?;
    campaign.wait()?;
    let until = Instant::now() + harness::PATIENCE;
    while left() > 0 {
        assert!(Instant::now() < until, "{} processes are left", left());
        std::thread::yield_now();
    }
    inside::sweep();
    let folder = format!("tepui-chaos-{number}-");
    let mut folders = std::fs::read_dir(std::env::temp_dir())?.filter_map(Result::ok);
    assert!(!folders.any(|one| one.file_name().to_string_lossy().starts_with(&folder)), "its folder is left");
    Ok(())
}

/// The command, in network namespaces of its own.
#[test]
fn nothing_is_lost_with_a_network_namespace_for_each_server() -> anyhow::Result<()> {
    if let Err(why) = inside::is_possible() {
        println!("skipped: no full form here: {why}");
        return Ok(());
    }
    let output = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["--form", "full", "--no-stream", "--cycles", "6", "--seed", "2", "--slow-timers"])
        .output()?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("full form") && said.contains("\n0 lost\n"), "{said}");
    Ok(())
}
