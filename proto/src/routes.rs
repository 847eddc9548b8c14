//! How paths find what answers them, on masters and agents alike: by the longest prefix of whole segments, as Mesos does.
//!
//! Owns that rule. Knows no endpoint: each server has its own table.

/// Whether more segments may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Whatever follows belongs to the same endpoint.
    Any,
    /// The path is the whole of it.
    None,
}

/// The paths of a server, without the slash in front.
pub type Table<R> = [(&'static str, Tail, R)];

/// Returns the path without slashes at its ends, which make no difference.
pub fn trimmed(path: &str) -> &str {
    path.trim_start_matches('/').trim_end_matches('/')
}

/// Returns what answers a trimmed path; `None` is a 404.
pub fn find<R: Copy>(table: &Table<R>, path: &str) -> Option<R> {
    let mut prefix = path;
    loop {
        let hit =
            table.iter().find(|(known, tail, _)| *known == prefix && (*tail == Tail::Any || prefix == path));
        if let Some((_, _, route)) = hit {
            return Some(*route);
        }
        prefix = prefix.rsplit_once('/')?.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_segments_are_whole() {
        let table = [("", Tail::None, 0), ("a", Tail::Any, 1), ("a/b", Tail::Any, 2), ("a/c", Tail::None, 3)];
        for (path, expected) in [
            ("/", Some(0)),
            ("/a", Some(1)),
            ("a/", Some(1)),
            ("/ab", None),
            ("/a/b/x/y", Some(2)),
            ("/a/bc", Some(1)),
            ("/a/c", Some(3)),
            ("/a/c/x", Some(1)),
            ("/x/a", None),
        ] {
            assert_eq!(find(&table, trimmed(path)), expected, "{path}");
        }
    }
}
