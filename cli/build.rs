//! Asks git which commit this is, for `/version`. Without git, or outside of a repository, nothing is known and nothing fails.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Every commit and every change of branch is written down there.
    for log in ["logs/HEAD", "HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", log])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let facts = [
        ("TEPUI_GIT_SHA", git(&["rev-parse", "HEAD"])),
        ("TEPUI_GIT_BRANCH", git(&["symbolic-ref", "--quiet", "HEAD"])),
        ("TEPUI_GIT_TAG", git(&["describe", "--exact-match", "--tags"])),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            println!("cargo::rustc-env={name}={value}");
        }
    }
}

/// The one line that git answers, if it does.
fn git(arguments: &[&str]) -> Option<String> {
    // A source tree that lies in somebody else's repository is not a commit of it.
    if !Path::new("../.git").exists() {
        return None;
    }
    let output = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty() && !line.contains('\n')).then_some(line)
}
