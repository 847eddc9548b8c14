//! House rules that a linter cannot express: file length, module heads, what a core may depend on, links in docs.
//! Refuses to judge style beyond these.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// No source file is longer than this many lines, tests included.
const MAX_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests package lies in the workspace")
        .to_path_buf()
}

/// All files below `folder` with this extension, without build output and hidden folders.
fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, extension, found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    files(&root(), "rs", &mut paths);
    assert!(paths.len() > 50, "the walk over the workspace found only {} source files", paths.len());
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("read a source file");
            (path.strip_prefix(root()).expect("below the root").to_path_buf(), text)
        })
        .collect()
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(_, text)| text.lines().count() > MAX_LINES)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "files over {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let headless: Vec<String> = sources()
        .iter()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(headless.is_empty(), "files without a `//!` head:\n{}", headless.join("\n"));
}

/// The names under `[dependencies]` of a package's manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).expect("read a manifest");
    let manifest: toml_lite::Table = toml_lite::parse(&text);
    manifest.get("dependencies").cloned().unwrap_or_default()
}

/// Just enough of TOML for our own manifests: section names and the keys in them.
mod toml_lite {
    use std::collections::{BTreeMap, BTreeSet};

    pub(crate) type Table = BTreeMap<String, BTreeSet<String>>;

    pub(crate) fn parse(text: &str) -> Table {
        let mut table = Table::new();
        let mut section = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, _)) = line.split_once('=') {
                let key = key.trim().split('.').next().unwrap_or_default().to_owned();
                table.entry(section.clone()).or_default().insert(key);
            }
        }
        table
    }
}

fn assert_never(manifest: &str, forbidden: &[&str]) {
    let found = dependencies(manifest);
    assert!(!found.is_empty(), "{manifest} has no dependencies: the check cannot work");
    for name in forbidden {
        assert!(!found.contains(*name), "{manifest} must not depend on {name}");
    }
}

#[test]
fn packages_depend_only_on_what_they_may() {
    let world = [
        "tokio",
        "axum",
        "openraft",
        "rand",
        "reqwest",
        "redb",
        "hyper",
        "uuid",
        "nix",
        "tracing",
        "serde_json",
    ];
    let servers =
        ["tepui-scheduler", "tepui-scheduler-core", "tepui-agent", "tepui-agent-core", "tepui-raft-store"];
    for core in ["scheduler/core/Cargo.toml", "agent/core/Cargo.toml"] {
        assert_never(core, &world);
        assert_never(core, &["tepui-raft-store", "tepui-sdk", "tepui-scheduler", "tepui-agent"]);
    }
    assert_never("scheduler/core/Cargo.toml", &["tepui-agent-core"]);
    assert_never("agent/core/Cargo.toml", &["tepui-scheduler-core"]);
    assert_never("proto/Cargo.toml", &["tokio", "axum", "reqwest"]);
    assert_never("proto/Cargo.toml", &servers);
    assert_never("proto/Cargo.toml", &["tepui-sdk", "tepui-streaming"]);
    assert_never(
        "raft-store/Cargo.toml",
        &["tepui-proto", "tepui-scheduler", "tepui-scheduler-core", "tepui-sdk"],
    );
    assert_never(
        "scheduler/Cargo.toml",
        &["tepui-agent", "tepui-agent-core", "tepui-sdk", "openraft", "redb"],
    );
    assert_never(
        "agent/Cargo.toml",
        &["tepui-scheduler", "tepui-scheduler-core", "tepui-raft-store", "tepui-sdk"],
    );
    assert_never("framework-sdk/Cargo.toml", &servers);
    assert_never("framework-sdk/streaming/Cargo.toml", &servers);
}

/// Link targets `](target)` in a page of Markdown.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

#[test]
fn links_in_docs_lead_somewhere() {
    let mut pages = Vec::new();
    files(&root(), "md", &mut pages);
    assert!(pages.iter().any(|page| page.ends_with("README.md")), "README.md is missing");
    let mut dead = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("read a page");
        for target in links(&text) {
            if !page.parent().expect("a page lies in a folder").join(&target).exists() {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn pages_name_only_files_that_exist_in_backticks_with_a_docs_path() {
    let text = fs::read_to_string(root().join("README.md")).expect("read README.md");
    for word in text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("docs/") || word.starts_with("examples/"))
    {
        assert!(root().join(word).exists(), "README.md names {word}, which is not there");
    }
}
