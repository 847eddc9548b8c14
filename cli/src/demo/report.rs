//! The demo's words: progress lines, the table of carriers, the verdict. Prints to standard output only.

use std::fmt::Write;
use std::time::Duration;

use super::chaos::Kill;
use super::recount::Recount;

/// One line of progress.
pub(super) fn progress(
    elapsed: Duration,
    records: u64,
    total: u64,
    rate: f64,
    batch: u64,
    leader: &str,
    generation: u64,
    state: &str,
) -> String {
    format!(
        "{:>6.1} s   {records:>6}/{total} records   {rate:>6.0}/s   batch {batch:>3}   leader {leader}   driver generation {generation} {state}",
        elapsed.as_secs_f64()
    )
}

/// The table of flights and delays per carrier.
pub(super) fn table(recount: &Recount) -> String {
    let mut text = String::from("carrier   flights   delayed   delay minutes   minutes per delayed flight\n");
    for (carrier, counts) in &recount.carriers {
        let mean =
            if counts.delayed == 0 { 0.0 } else { counts.delay_minutes as f64 / counts.delayed as f64 };
        // Writing to a String cannot fail.
        let _never = writeln!(
            text,
            "{carrier:<7} {:>9} {:>9} {:>15} {mean:>28.1}",
            counts.flights, counts.delayed, counts.delay_minutes
        );
    }
    text
}

/// The kills and how long each interrupted the stream.
pub(super) fn kills(kills: &[Kill]) -> String {
    let mut text = String::new();
    for kill in kills {
        let gap = match kill.gap_ms {
            Some(gap) => format!("next batch committed {:.2} s later", gap as f64 / 1000.0),
            None => "no batch was committed afterwards".to_owned(),
        };
        let _never = writeln!(
            text,
            "killed {} ({}) after batch {}: {gap}",
            kill.victim.describe(),
            kill.what,
            kill.batch
        );
    }
    text
}

/// The last line.
pub(super) fn verdict(recount: &Recount) -> String {
    format!(
        "{} records in, {} counted, {} lost, {} duplicated",
        recount.records_in, recount.counted, recount.lost, recount.duplicated
    )
}
