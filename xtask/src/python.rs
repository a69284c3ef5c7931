//! Pythons of their own under `target/`, each with the packages that one purpose needs, at one version.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::{finish, root};

/// What recurrence is compared with.
pub(crate) const DATEUTIL: &str = "python-dateutil==2.9.0.post0";

/// A Python with these packages from PyPI. What is there already isn't asked for again.
pub(crate) fn with(folder: &str, package: &str) -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join(folder);
    let (python, stamp) = (folder.join("bin/python3"), folder.join("has"));
    if std::fs::read_to_string(&stamp).is_ok_and(|has| has == package) && python.is_file() {
        return Ok(python);
    }
    if !python.is_file() {
        let made = finish(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        made.context("Python can't make an environment of its own: install Debian's package python3-venv or its like")?;
    }
    finish(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]))?;
    std::fs::write(&stamp, package).with_context(|| format!("{} could not be written", stamp.display()))?;
    Ok(python)
}
