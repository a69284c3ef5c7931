//! `cargo xtask bench NAME`: runs `intail/benches/NAME.rs` in release mode. A benchmark is a program of its own
//! (`harness = false`) that prints a table; there is nothing to register here.

use anyhow::bail;

use crate::{cargo, finish, python, root, test};

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
        return test::with_services(command.env("INTAIL_BENCH_PYTHON", python::with("bench-python", PYTHON_PACKAGE)?));
    }
    finish(&mut command)
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
