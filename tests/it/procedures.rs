//! Commands as `docs/operating.md` has them, run on a cluster of this host. A line that is not on the page is not run.

use std::process::{Command, Output};

use anyhow::Context;
use serde_json::Value;

use crate::TEPUI;

/// The page, and what its places are here.
pub(crate) struct Page {
    text: String,
    places: Vec<(&'static str, String)>,
}

impl Page {
    pub(crate) fn open(places: &[(&'static str, String)]) -> anyhow::Result<Page> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operating.md");
        let text = std::fs::read_to_string(path).context("read docs/operating.md")?;
        Ok(Page { text, places: places.to_vec() })
    }

    /// The words of a line of the page, with this host's places.
    pub(crate) fn words(&self, line: &str) -> anyhow::Result<Vec<String>> {
        let shown = self.text.lines().any(|one| one.starts_with("    ") && one.trim() == line);
        anyhow::ensure!(shown, "docs/operating.md does not show: {line}");
        let mut line = line.to_owned();
        for (place, here) in &self.places {
            line = line.replace(place, here);
        }
        Ok(line.split_whitespace().map(str::to_owned).collect())
    }

    /// Runs a line of the page, with further words behind it.
    pub(crate) fn run(&self, line: &str, further: &[&str]) -> anyhow::Result<Output> {
        let words = self.words(line)?;
        let (program, words) = words.split_first().context("an empty line")?;
        let program = if program == "tepui" { TEPUI } else { program };
        let mut command = Command::new(program);
        command.args(words).args(further).env_remove("TEPUI_MASTERS");
        command.output().with_context(|| format!("run {line}"))
    }

    /// The same; it must succeed.
    pub(crate) fn succeed(&self, line: &str, further: &[&str]) -> anyhow::Result<Output> {
        let output = self.run(line, further)?;
        anyhow::ensure!(output.status.success(), "{line}: {}", text(&output.stderr));
        Ok(output)
    }

    /// The same; what it printed is JSON.
    pub(crate) fn json(&self, line: &str, further: &[&str]) -> anyhow::Result<Value> {
        let output = self.succeed(line, further)?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("read {}", text(&output.stdout)))
    }

    /// The same; it must fail, and what it said is returned.
    pub(crate) fn fail(&self, line: &str, further: &[&str]) -> anyhow::Result<String> {
        let output = self.run(line, further)?;
        anyhow::ensure!(!output.status.success(), "{line} succeeded: {}", text(&output.stdout));
        Ok(text(&output.stderr))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
