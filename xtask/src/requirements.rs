//! The programs that the tests need: found, or installed from Debian's packages, or an error that says what to install.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::{finish, python};

/// Where everything is.
pub(crate) struct Requirements {
    /// The folder of PostgreSQL's programs.
    pub(crate) postgres: PathBuf,
    /// The browser.
    pub(crate) chromium: PathBuf,
    /// What steers the browser.
    pub(crate) chromedriver: PathBuf,
    /// Runs the emulator.
    pub(crate) java: PathBuf,
    /// Google's Pub/Sub emulator.
    pub(crate) pubsub_jar: PathBuf,
    /// Python with what recurrence is compared with.
    pub(crate) python: PathBuf,
    /// Whether `cargo nextest` is there; without it `cargo test` runs the same tests.
    pub(crate) nextest: bool,
}

/// One program: its package, and how to find it.
struct Need {
    package: &'static str,
    find: fn() -> Option<PathBuf>,
}

const POSTGRES: Need = Need { package: "postgresql", find: postgres_programs };
const CHROMIUM: Need = Need { package: "chromium", find: || on_path("chromium") };
const CHROMEDRIVER: Need = Need { package: "chromium-driver", find: || on_path("chromedriver") };
const JAVA: Need = Need { package: "default-jre-headless", find: || on_path("java") };
const PYTHON: Need = Need { package: "python3-venv", find: || on_path("python3") };
/// Not in Debian itself but in Google's package source.
const EMULATOR: Need = Need { package: "google-cloud-cli-pubsub-emulator", find: emulator_jar };

impl Requirements {
    /// Finds everything, and installs what is missing.
    pub(crate) fn fulfil() -> anyhow::Result<Self> {
        let missing: Vec<_> = [POSTGRES, CHROMIUM, CHROMEDRIVER, JAVA, PYTHON, EMULATOR]
            .iter()
            .filter(|need| (need.find)().is_none())
            .map(|need| need.package)
            .collect();
        if !missing.is_empty() {
            install(&missing)?;
        }
        Ok(Self {
            postgres: POSTGRES.found()?,
            chromium: CHROMIUM.found()?,
            chromedriver: CHROMEDRIVER.found()?,
            java: JAVA.found()?,
            pubsub_jar: EMULATOR.found()?,
            python: python_with_dateutil()?,
            nextest: on_path("cargo-nextest").is_some(),
        })
    }
}

/// A Python that has what recurrence is compared with: from PyPI, or where that can't be reached, Debian's own.
fn python_with_dateutil() -> anyhow::Result<PathBuf> {
    let debians = || {
        let python = on_path("python3")?;
        let has = Command::new(&python).args(["-c", "import dateutil.rrule, dateutil.tz"]).output();
        has.is_ok_and(|it| it.status.success()).then_some(python)
    };
    python::with("test-python", python::DATEUTIL).or_else(|error| {
        eprintln!("{error:#}");
        if debians().is_none() {
            install(&["python3-dateutil"])?;
        }
        debians().with_context(|| format!("the tests need {} or Debian's python3-dateutil", python::DATEUTIL))
    })
}

impl Need {
    fn found(&self) -> anyhow::Result<PathBuf> {
        (self.find)().with_context(|| {
            let package = self.package;
            let source = if package.starts_with("google-") {
                " It is in Google's package source: https://cloud.google.com/sdk/docs/install#deb."
            } else {
                ""
            };
            format!(
                "the tests need Debian's package {package}, which could not be installed. Install it by hand.{source}"
            )
        })
    }
}

/// Installs Debian packages one by one, so that one which can't be had doesn't hide the others. What is still missing
/// afterwards is reported by [`Need::found`].
fn install(packages: &[&str]) -> anyhow::Result<()> {
    println!("The tests need {}, which this machine lacks: installing.", packages.join(", "));
    if on_path("apt-get").is_none() {
        bail!("there is no apt-get here. Install these Debian packages or their like by hand: {}", packages.join(", "));
    }
    apt_get(&["update"])?;
    for package in packages {
        if let Err(error) = apt_get(&["install", "--yes", "--no-install-recommends", package]) {
            eprintln!("{error:#}");
        }
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = if is_root()? { Command::new("apt-get") } else { Command::new("sudo") };
    if !is_root()? {
        command.args(["--non-interactive", "apt-get"]);
    }
    finish(command.args(["--quiet", "--quiet"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether this is the superuser, whom PostgreSQL refuses.
pub(crate) fn is_root() -> anyhow::Result<bool> {
    let output = Command::new("id").arg("-u").output().context("`id -u` could not be started")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// A program in one of the folders of PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Debian keeps PostgreSQL's programs out of PATH, one folder per version; the newest counts.
fn postgres_programs() -> Option<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .max();
    newest.map(|(_, folder)| folder).or_else(|| Some(on_path("initdb")?.parent()?.to_owned()))
}

fn emulator_jar() -> Option<PathBuf> {
    let listing = Command::new("dpkg").args(["-L", EMULATOR.package]).output().ok()?;
    let text = String::from_utf8_lossy(&listing.stdout).into_owned();
    let jar = text.lines().find(|line| line.ends_with("-all.jar")).map(PathBuf::from)?;
    jar.is_file().then_some(jar)
}
