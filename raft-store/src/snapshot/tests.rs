//! Tests of the folder: what survives a start, what is refused, what is kept.

use super::*;

fn header(index: u64) -> Header {
    Header {
        cluster_id: "c".to_owned(),
        last: Some(LogIdRecord { term: 3, node: 1, index }),
        membership: (&StoredMembership::default()).into(),
    }
}

fn write(snapshots: &Snapshots, index: u64) -> SnapshotFile {
    let body = format!("state at {index}");
    snapshots.write(&header(index), Box::new(move |out| out.write_all(body.as_bytes()))).unwrap()
}

fn body(file: &SnapshotFile) -> String {
    let mut text = String::new();
    file.body().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_newest_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    assert!(snapshots.current().is_none());
    write(&snapshots, 9);
    write(&snapshots, 10);
    fs::write(dir.path().join("000007.tmp"), "half").unwrap();
    let again = Snapshots::open(dir.path()).unwrap();
    assert_eq!(body(&again.current().unwrap()), "state at 10");
    assert_eq!(names(dir.path()).len(), 2, "the unfinished file is gone");
}

#[test]
fn two_are_kept_and_an_open_one_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let first = write(&snapshots, 1);
    for index in 2..6 {
        write(&snapshots, index);
    }
    assert_eq!(names(dir.path()).len(), KEEP);
    assert_eq!(body(&first), "state at 1");
}

#[test]
fn a_damaged_snapshot_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&Snapshots::open(dir.path()).unwrap(), 5).path;
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let middle = good.len() / 2;
    bad[middle] ^= 1;
    for bytes in [&bad[..], &good[..good.len() - 1], &good[..0]] {
        fs::write(&path, bytes).unwrap();
        match Snapshots::open(dir.path()) {
            Err(OpenError::Damaged { file, reason }) => {
                assert_eq!(file, path);
                assert!(!reason.is_empty());
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("opened"),
        }
    }
}

#[test]
fn a_failed_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let failing: Frozen = Box::new(|_| Err(io::Error::other("no")));
    assert!(snapshots.write(&header(1), failing).is_err());
    assert!(names(dir.path()).is_empty());
}
