//! `cargo xtask bench NAME`: runs `intail/benches/NAME.rs` in release mode. A benchmark is a program of its own
//! (`harness = false`) that prints a table; there is nothing to register here.

use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;

use crate::{cargo, finish, root, test};

/// The benchmark that is compared with Google's own Python client, and what that needs.
const WITH_PYTHON: &str = "backfill";
const PYTHON_PACKAGE: &str = "google-api-python-client==2.202.0";

/// Runs one benchmark with the remaining words as its arguments.
pub(crate) fn run(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let names = names()?;
    if !names.iter().any(|known| known == name) {
        bail!("there is no benchmark `{name}`; there are: {}", names.join(", "));
    }
    let mut command = cargo();
    command.args(["bench", "--package", "intail", "--bench", name, "--"]).args(arguments);
    if name == WITH_PYTHON {
        return test::with_services(command.env("INTAIL_BENCH_PYTHON", python()?));
    }
    finish(&mut command)
}

/// A Python of its own with Google's client.
fn python() -> anyhow::Result<PathBuf> {
    let folder = root().join("target/bench-python");
    let python = folder.join("bin/python3");
    if !python.is_file() {
        finish(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    finish(Command::new(&python).args(["-m", "pip", "install", "--quiet", PYTHON_PACKAGE]))?;
    Ok(python)
}

fn names() -> anyhow::Result<Vec<String>> {
    let Ok(entries) = root().join("intail/benches").read_dir() else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}
