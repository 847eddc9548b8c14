//! The independent recount: reads the input files and the published output files, and nothing else, and compares them.
//! Shares no code with the streaming framework on purpose; a mistake there must not hide itself here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// What is counted for one carrier (and one window).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flights, cancelled ones included.
    pub flights: u64,
    /// Flights with a departure delay (also a negative one) on record.
    pub delayed: u64,
    /// Sum of the departure delays, minutes.
    pub delay_minutes: i64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.flights += other.flights;
        self.delayed += other.delayed;
        self.delay_minutes += other.delay_minutes;
    }
}

/// The result of comparing input and output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    /// Records in the input files.
    pub records_in: u64,
    /// Flights counted in the output files.
    pub counted: u64,
    /// Flights of the input that the output does not have.
    pub lost: u64,
    /// Flights that the output has too often.
    pub duplicated: u64,
    /// Other differences, in words: wrong sums, rows that occur twice, unreadable rows.
    pub differences: Vec<String>,
    /// Per carrier, as the output has it.
    pub carriers: BTreeMap<String, Counts>,
}

impl Recount {
    /// Tells whether output and input agree in every figure.
    pub fn agrees(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.differences.is_empty()
            && self.records_in == self.counted
    }
}

type Key = (String, String);

/// Compares the input folder with the output folder.
///
/// # Errors
/// When a folder or file cannot be read, or a column is missing.
pub fn recount(input: &Path, output: &Path) -> anyhow::Result<Recount> {
    let mut result = Recount::default();
    let expected = count_input(input, &mut result)?;
    let found = read_output(output, &mut result)?;
    for (key, want) in &expected {
        let have = found.get(key).copied().unwrap_or_default();
        result.lost += want.flights.saturating_sub(have.flights);
        result.duplicated += have.flights.saturating_sub(want.flights);
        if have.flights == want.flights && have != *want {
            result.differences.push(format!("{} {}: {have:?} instead of {want:?}", key.0, key.1));
        }
    }
    for (key, have) in &found {
        if !expected.contains_key(key) {
            result.duplicated += have.flights;
            result.differences.push(format!("{} {}: in the output only", key.0, key.1));
        }
        result.counted += have.flights;
        result.carriers.entry(key.1.clone()).or_default().add(*have);
    }
    Ok(result)
}

/// Counts per (UTC day of scheduled departure, carrier), straight from the input.
fn count_input(input: &Path, result: &mut Recount) -> anyhow::Result<BTreeMap<Key, Counts>> {
    let mut expected: BTreeMap<Key, Counts> = BTreeMap::new();
    for path in files_below(input)? {
        let mut reader = csv::Reader::from_path(&path).with_context(|| format!("read {}", path.display()))?;
        let columns = Columns::find(&path, reader.headers()?, ["time_hour", "carrier", "dep_delay"])?;
        for row in reader.records() {
            let row = row.with_context(|| format!("read {}", path.display()))?;
            result.records_in += 1;
            let [time, carrier, delay] = columns.cells(&row);
            let delay: Option<i64> = delay.parse().ok();
            let day = time.get(..10).with_context(|| format!("{}: bad time_hour {time}", path.display()))?;
            expected.entry((day.to_owned(), carrier.to_owned())).or_default().add(Counts {
                flights: 1,
                delayed: u64::from(delay.is_some()),
                delay_minutes: delay.unwrap_or(0),
            });
        }
    }
    Ok(expected)
}

/// Reads what was published. A window and carrier that occur in two rows are a duplicate, even if the sum happens to be right.
fn read_output(output: &Path, result: &mut Recount) -> anyhow::Result<BTreeMap<Key, Counts>> {
    let mut found: BTreeMap<Key, Counts> = BTreeMap::new();
    for path in files_below(output)? {
        let mut reader = csv::Reader::from_path(&path).with_context(|| format!("read {}", path.display()))?;
        let names = ["window_start", "carrier", "flights", "delayed_departures", "delay_minutes"];
        let columns = Columns::find(&path, reader.headers()?, names)?;
        for row in reader.records() {
            let row = row.with_context(|| format!("read {}", path.display()))?;
            let [window, carrier, flights, delayed, minutes] = columns.cells(&row);
            let (Some(day), Ok(flights), Ok(delayed)) = (window.get(..10), flights.parse(), delayed.parse())
            else {
                result.differences.push(format!("{}: unreadable row {row:?}", path.display()));
                continue;
            };
            // The sum over no values is empty.
            let counts = Counts { flights, delayed, delay_minutes: minutes.parse().unwrap_or(0) };
            let key = (day.to_owned(), carrier.to_owned());
            if found.contains_key(&key) {
                result.differences.push(format!("{} {}: published twice", key.0, key.1));
            }
            found.entry(key).or_default().add(counts);
        }
    }
    Ok(found)
}

/// All published CSV files below a folder, in order. Names that begin with `.` or `_` are not published.
fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || name.starts_with('_') {
            continue;
        }
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "csv") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Where the wanted columns stand in a file.
struct Columns<const N: usize>([usize; N]);

impl<const N: usize> Columns<N> {
    fn find(path: &Path, header: &csv::StringRecord, names: [&str; N]) -> anyhow::Result<Self> {
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(names) {
            *place = header
                .iter()
                .position(|column| column == name)
                .with_context(|| format!("{} has no column {name}", path.display()))?;
        }
        Ok(Columns(places))
    }

    fn cells<'row>(&self, row: &'row csv::StringRecord) -> [&'row str; N] {
        self.0.map(|place| row.get(place).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: &str = "carrier,dep_delay,time_hour\n\
        UA,2,2013-01-01T10:00:00Z\nUA,,2013-01-01T10:00:00Z\nAA,-3,2013-01-01T11:00:00Z\n";
    const HEADER: &str = "window_start,carrier,flights,delayed_departures,delay_minutes\n";

    fn compare(output: &str) -> Recount {
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir_all(&input).unwrap();
        fs::create_dir_all(out.join("batch=1")).unwrap();
        fs::write(input.join("a.csv"), INPUT).unwrap();
        fs::write(out.join("batch=1/part.csv"), format!("{HEADER}{output}")).unwrap();
        recount(&input, &out).unwrap()
    }

    #[test]
    fn equal_folders_agree() {
        let result = compare("2013-01-01T00:00:00Z,UA,2,1,2\n2013-01-01T00:00:00Z,AA,1,1,-3\n");
        assert!(result.agrees(), "{result:?}");
        assert_eq!((result.records_in, result.counted), (3, 3));
        assert_eq!(result.carriers["UA"], Counts { flights: 2, delayed: 1, delay_minutes: 2 });
    }

    #[test]
    fn a_missing_row_is_lost_and_a_repeated_one_duplicated() {
        let lost = compare("2013-01-01T00:00:00Z,UA,2,1,2\n");
        assert_eq!((lost.lost, lost.duplicated, lost.agrees()), (1, 0, false));
        let row = "2013-01-01T00:00:00Z,AA,1,1,-3\n";
        let twice = compare(&format!("2013-01-01T00:00:00Z,UA,2,1,2\n{row}{row}"));
        assert_eq!((twice.lost, twice.duplicated, twice.agrees()), (0, 1, false));
    }

    #[test]
    fn a_wrong_sum_is_a_difference() {
        let wrong = compare("2013-01-01T00:00:00Z,UA,2,1,3\n2013-01-01T00:00:00Z,AA,1,1,-3\n");
        assert_eq!((wrong.lost, wrong.duplicated, wrong.agrees()), (0, 0, false));
    }

    #[test]
    fn a_row_split_in_two_is_not_accepted() {
        let split = compare(
            "2013-01-01T00:00:00Z,UA,1,1,2\n2013-01-01T00:00:00Z,UA,1,0,\n2013-01-01T00:00:00Z,AA,1,1,-3\n",
        );
        assert!(!split.agrees());
    }
}
