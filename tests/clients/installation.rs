//! Where the libraries are, and what happens if they are not there. Installs nothing: that is `.ci/clients`' business.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::TEPUI;

/// Names the folder into which `.ci/clients` has installed.
const FOLDER: &str = "TEPUI_CLIENTS_DIR";
/// If this is set to anything but `0`, a missing library is a failure.
const REQUIRED: &str = "TEPUI_CLIENTS_REQUIRED";

/// A library, and with it the interpreter that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Pymesos,
    Mesoshttp,
    MesosFramework,
}

/// How a script on a library is started.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    pub(crate) program: PathBuf,
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

/// The folder with the scripts.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/scripts")
}

/// The folder with the libraries: beside the build's own output unless the environment names another.
fn folder() -> PathBuf {
    if let Some(named) = env::var_os(FOLDER).filter(|value| !value.is_empty()) {
        return PathBuf::from(named);
    }
    let target = Path::new(TEPUI).parent().and_then(Path::parent);
    target.map(|target| target.join("clients")).unwrap_or_default()
}

/// The runner of a library. Nothing if it is missing and may be: the reason has been told then, past the capture of a test's output.
///
/// # Errors
/// When it is missing and required.
pub(crate) fn find(library: Library) -> anyhow::Result<Option<Runner>> {
    let folder = folder();
    let (runner, check) = match library {
        Library::Pymesos | Library::Mesoshttp => (
            Runner { program: folder.join("python/bin/python"), environment: Vec::new() },
            ["-c", if library == Library::Pymesos { "import pymesos" } else { "import mesoshttp" }],
        ),
        Library::MesosFramework => (
            Runner {
                program: PathBuf::from("node"),
                environment: vec![("NODE_PATH", folder.join("node/node_modules"))],
            },
            ["-e", "require.resolve('mesos-framework')"],
        ),
    };
    let found = Command::new(&runner.program)
        .args(check)
        .envs(runner.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if found {
        return Ok(Some(runner));
    }
    let reason = format!("{library:?} is not installed in {}; .ci/clients installs it", folder.display());
    let required = env::var_os(REQUIRED).is_some_and(|value| !value.is_empty() && value != "0");
    anyhow::ensure!(!required, "{reason}");
    writeln!(std::io::stderr(), "skipped: {reason}")?;
    Ok(None)
}
