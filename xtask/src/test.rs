//! `cargo xtask test`: every check that a change has to pass, in one go, with the time that each took.
//!
//! All stages run even if one failed, so that one run tells everything.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::postgres::Cluster;
use crate::requirements::Requirements;
use crate::{cargo, finish, root};

/// What `cargo xtask test` was asked for.
#[derive(Default)]
pub(crate) struct Options {
    only: Option<String>,
    no_lint: bool,
}

impl Options {
    /// Reads the words after `test`.
    pub(crate) fn parse(words: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match *word {
                "--no-lint" => options.no_lint = true,
                "--only" => {
                    let filter = rest.next().context("--only needs a part of a test's name")?;
                    options.only = Some((*filter).to_owned());
                }
                other => bail!("cargo xtask test doesn't know {other}; it knows --only FILTER and --no-lint"),
            }
        }
        Ok(options)
    }
}

/// What ran, for how long, and how it ended.
#[derive(Default)]
struct Stages(Vec<(&'static str, Duration, anyhow::Result<()>)>);

impl Stages {
    fn run(&mut self, name: &'static str, stage: impl FnOnce() -> anyhow::Result<()>) {
        println!("\n── {name}");
        let start = Instant::now();
        let result = stage();
        self.0.push((name, start.elapsed(), result));
    }

    fn report(self) -> anyhow::Result<()> {
        println!();
        let mut failed = Vec::new();
        for (name, took, result) in self.0 {
            let word = if result.is_ok() { "ok" } else { "FAILED" };
            println!("{name:<24}{:>8.1} s  {word}", took.as_secs_f64());
            failed.extend(result.err().map(|error| format!("{name}: {error:#}")));
        }
        if !failed.is_empty() {
            bail!("{}", failed.join("\n"));
        }
        Ok(())
    }
}

/// Runs every check.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut stages = Stages::default();
    let mut requirements = None;
    stages.run("requirements", || {
        requirements = Some(Requirements::fulfil()?);
        Ok(())
    });
    let Some(requirements) = requirements else {
        return stages.report();
    };
    if !options.no_lint {
        stages.run("formatting", || finish(cargo().args(["fmt", "--all", "--check"])));
        let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        stages.run("clippy", || finish(cargo().args(clippy)));
    }
    let mut built = false;
    stages.run("build of the tests", || {
        finish(runner(&requirements).arg("--no-run"))?;
        built = true;
        Ok(())
    });
    if built {
        stages.run("tests", || tests(&requirements, options.only.as_deref()));
        if options.only.is_none() {
            stages.run("examples in the docs", || finish(cargo().args(["test", "--workspace", "--doc", "--quiet"])));
        }
    }
    stages.report()
}

fn tests(requirements: &Requirements, only: Option<&str>) -> anyhow::Result<()> {
    let scratch = Scratch::in_memory()?;
    let mut runner = runner(requirements);
    if let Some(Scratch(folder)) = &scratch {
        runner.env("TMPDIR", folder);
    }
    serve(requirements, runner.args(only))
}

/// Where this machine keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// A folder in memory for what tests write: hundreds of databases, each of whose commits waits for the disk, would
/// wait for one another. It goes when the tests end.
struct Scratch(PathBuf);

impl Scratch {
    /// None where files can't be kept in memory.
    fn in_memory() -> anyhow::Result<Option<Self>> {
        if !Path::new(MEMORY).is_dir() {
            return Ok(None);
        }
        let folder = Path::new(MEMORY).join(format!("intail-tests-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
        Ok(Some(Self(folder)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

/// Runs a command with everything that tests need at hand.
pub(crate) fn with_services(command: &mut Command) -> anyhow::Result<()> {
    serve(&Requirements::fulfil()?, command)
}

fn serve(requirements: &Requirements, command: &mut Command) -> anyhow::Result<()> {
    let cluster = Cluster::start(&requirements.postgres)?;
    command
        .env("INTAIL_TEST_POSTGRES_URL", cluster.url())
        .env("INTAIL_TEST_CHROMIUM", &requirements.chromium)
        .env("INTAIL_TEST_CHROMEDRIVER", &requirements.chromedriver)
        .env("INTAIL_TEST_JAVA", &requirements.java)
        .env("INTAIL_TEST_PYTHON", &requirements.python)
        .env("INTAIL_TEST_PUBSUB_JAR", &requirements.pubsub_jar);
    finish(command)
}

/// The test runner without a filter; `cargo test` runs the same tests where nextest isn't installed.
fn runner(requirements: &Requirements) -> Command {
    let mut command = cargo();
    if requirements.nextest {
        command.args(["nextest", "run", "--workspace"]);
    } else {
        command.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    }
    command
}

/// Runs the browser tests and copies what they saw into `directory`.
pub(crate) fn screenshots(directory: &Path) -> anyhow::Result<()> {
    run(&Options { only: Some("browser".to_owned()), no_lint: true })?;
    let from = root().join("target/screenshots");
    std::fs::create_dir_all(directory).with_context(|| format!("{} could not be made", directory.display()))?;
    for entry in from.read_dir().with_context(|| format!("there are no screenshots in {}", from.display()))? {
        let entry = entry?;
        std::fs::copy(entry.path(), directory.join(entry.file_name()))?;
    }
    Ok(())
}
