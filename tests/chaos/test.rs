//! A short campaign: each kind of fault once, everything checked.

use std::time::Duration;

use tepui_tests::chaos::{self, Fault, Settings, Way};
use tepui_tests::harness;

/// A three-master cluster for these faults, one after the other.
fn settings(first: Vec<Fault>) -> Settings {
    Settings {
        executable: env!("CARGO_BIN_EXE_tepui-under-test").into(),
        cycles: first.len() as u64,
        seed: 1,
        masters: 3,
        agents: 2,
        master_args: harness::slow_timers(),
        first,
    }
}

/// It can be heard but hears nothing: were it to go on sending heartbeats, nobody would be elected for as long as that lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_leader_is_replaced_while_it_is_deaf() -> anyhow::Result<()> {
    let span = Duration::from_secs(20);
    let report = Box::pin(chaos::run(&settings(vec![Fault::CutLeader(Way::In, span)]), |_| {})).await?;
    assert!(report.losses.is_empty(), "{}", report.losses.join("\n"));
    let recovery = report.cycles[0].recovery;
    assert!(
        recovery < span,
        "writes were possible only {recovery:?} later, after the network was whole again"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_masters_drivers_and_agents_are_killed() -> anyhow::Result<()> {
    let first = vec![
        Fault::KillLeader,
        Fault::KillDriver,
        Fault::PauseLeader(Duration::from_secs(2)),
        Fault::KillAgent(0, Duration::from_millis(300)),
        Fault::StopLeader,
        Fault::KillFollower(1),
        Fault::CutLeader(Way::Both, Duration::from_secs(4)),
        Fault::CutLeader(Way::Out, Duration::from_secs(4)),
        Fault::CutLeader(Way::In, Duration::from_secs(4)),
        Fault::KillAgent(1, Duration::from_millis(300)),
    ];
    let settings = settings(first);
    let report = Box::pin(chaos::run(&settings, |cycle| {
        println!("cycle {}: {}, recovered after {:?}", cycle.number, cycle.fault, cycle.recovery);
    }))
    .await?;
    assert!(report.losses.is_empty(), "{}", report.losses.join("\n"));
    assert_eq!(report.cycles.len(), settings.first.len());
    assert!(report.generations >= 2 && report.zombies_fenced >= 1, "{report:?}");
    assert!(report.writes > 50 && report.tasks > 0, "{report:?}");
    Ok(())
}
