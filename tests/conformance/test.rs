//! Runs every scenario that is built, against real processes, and fails with the list of those that do not hold.

use tepui_tests::conformance::{self, Outcome, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn all_scenarios_hold() -> anyhow::Result<()> {
    let settings =
        Settings { executable: env!("CARGO_BIN_EXE_tepui-under-test").into(), numbers: Vec::new() };
    let summary = Box::pin(conformance::run(&settings, |report| {
        let ending = match &report.outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Failed(reason) => format!("FAILED: {reason}"),
            Outcome::Skipped(reason) => format!("skipped: {reason}"),
        };
        println!("{} ... {ending} ({} ms)", report.name, report.took.as_millis());
    }))
    .await?;
    println!("{}", conformance::count(&summary));
    let failures: Vec<String> =
        summary.failures().iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
    assert!(failures.is_empty(), "{} scenarios do not hold:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}
