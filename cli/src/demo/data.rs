//! The demo's input: the month of departures embedded in the binary, split into one CSV file a day, and the job that reads it.
//! Owns only files below the folder it is given.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// All departures of January 2013 from New York City's airports; provenance beside the file.
const MONTH: &[u8] = include_bytes!("../../../examples/data/flights/2013-01.csv.gz");

/// The job as users find it in `examples/`.
const JOB: &str = include_str!("../../../examples/flights.toml");

/// Number of departures in the month, counted when the data was published.
pub const RECORDS: u64 = 27_004;

/// Where the demo's files lie.
#[derive(Clone, Debug)]
pub struct Files {
    pub input: PathBuf,
    pub output: PathBuf,
    pub job: PathBuf,
}

/// Writes the 31 daily files and the job description below `dir`.
///
/// # Errors
/// When a file cannot be written, or the embedded data is not what it should be.
pub fn lay_out(dir: &Path) -> anyhow::Result<Files> {
    let files = Files { input: dir.join("input"), output: dir.join("output"), job: dir.join("flights.toml") };
    fs::create_dir_all(&files.input).with_context(|| format!("create {}", files.input.display()))?;
    fs::create_dir_all(&files.output).with_context(|| format!("create {}", files.output.display()))?;
    for (day, text) in split_by_day(&unpack()?)? {
        let path = files.input.join(format!("{day}.csv"));
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    fs::write(&files.job, job(&files, dir)?).with_context(|| format!("write {}", files.job.display()))?;
    Ok(files)
}

fn unpack() -> anyhow::Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(MONTH)
        .read_to_string(&mut text)
        .context("unpack the embedded departures")?;
    Ok(text)
}

/// The month's lines by day of scheduled departure (local date), each day with the header line.
fn split_by_day(month: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut lines = month.lines();
    let header = lines.next().context("the embedded departures are empty")?;
    let mut days: BTreeMap<String, String> = BTreeMap::new();
    for line in lines {
        let mut cells = line.split(',');
        let mut cell = || cells.next().and_then(|cell| cell.parse::<u32>().ok());
        let (Some(year), Some(month), Some(day)) = (cell(), cell(), cell()) else {
            anyhow::bail!("the embedded departures have a line without a date: {line}");
        };
        let text =
            days.entry(format!("{year:04}-{month:02}-{day:02}")).or_insert_with(|| format!("{header}\n"));
        text.push_str(line);
        text.push('\n');
    }
    Ok(days)
}

/// The example job, its folders replaced by the demo's own.
fn job(files: &Files, dir: &Path) -> anyhow::Result<String> {
    let mut job: toml::Table = JOB.parse().context("parse the embedded job")?;
    for (section, key, value) in [
        ("source", "path", files.input.as_path()),
        ("sink", "path", files.output.as_path()),
        ("checkpoint", "path", &dir.join("checkpoint")),
    ] {
        let table = job
            .get_mut(section)
            .and_then(toml::Value::as_table_mut)
            .with_context(|| format!("the embedded job has no [{section}]"))?;
        table.insert(key.to_owned(), value.display().to_string().into());
    }
    toml::to_string(&job).context("write the job")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_splits_into_31_days_and_loses_no_line() {
        let days = split_by_day(&unpack().unwrap()).unwrap();
        assert_eq!(days.len(), 31);
        let records: u64 = days.values().map(|day| day.lines().count() as u64 - 1).sum();
        assert_eq!(records, RECORDS);
    }

    #[test]
    fn the_job_points_at_the_folders_of_the_demo() {
        let dir = tempfile::tempdir().unwrap();
        let files = lay_out(dir.path()).unwrap();
        let job: toml::Table = fs::read_to_string(&files.job).unwrap().parse().unwrap();
        assert_eq!(job["source"]["path"].as_str(), files.input.to_str());
        assert_eq!(job["sink"]["path"].as_str(), files.output.to_str());
    }
}
