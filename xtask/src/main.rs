//! `cargo xtask …`: what a developer and continuous integration run. It installs what is missing, starts what tests
//! need, and cleans up behind itself. A reader must not add a way to skip tests because something isn't there.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool talks to its terminal")]

mod bench;
mod mutate;
mod postgres;
mod python;
mod requirements;
mod simulate;
mod test;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

const USAGE: &str = "\
cargo xtask test [--only FILTER] [--no-lint]   formatting, clippy, and every test with PostgreSQL, browser and emulator
cargo xtask with-services COMMAND…             any command, with the tests' PostgreSQL, browser and emulator at hand
cargo xtask bench NAME                         a benchmark from intail/benches, in release mode
cargo xtask simulate [--seeds N] [--seed S]    bad days by seed, in release mode, compared with the false Google's truth
cargo xtask kill --times N                     real processes, killed N times on each database, compared with the truth
cargo xtask mutate [NAME]                      breaks the engine as docs/mutations.md says; the simulation must notice
cargo xtask screenshots DIRECTORY              the browser tests, then copies their screenshots
cargo xtask docs                               writes the generated pages in docs/
cargo xtask tidy                               the house rules alone";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    match words {
        ["test", options @ ..] => test::run(&test::Options::parse(options)?),
        ["with-services", program, words @ ..] => test::with_services(Command::new(program).args(words)),
        ["bench", name, options @ ..] => bench::run(name, options),
        ["simulate", options @ ..] => simulate::run(options),
        ["kill", "--times", times] => kill(times),
        ["mutate"] => mutate::run(None),
        ["mutate", name] => mutate::run(Some(name)),
        ["screenshots", directory] => test::screenshots(directory.as_ref()),
        ["docs"] => house_tests("generated", &[("INTAIL_WRITE_GENERATED", "1")]),
        ["tidy"] => house_tests("tidy::", &[]),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("there is no such command: cargo xtask {}\n\n{USAGE}", words.join(" ")),
    }
}

/// Runs those tests of the `it` binary that need nothing but the source tree.
fn house_tests(filter: &str, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "intail", "--test", "it", "--", filter]);
    finish(command.envs(variables.iter().copied()))
}

/// Kills real processes, so many times on each database.
fn kill(times: &str) -> anyhow::Result<()> {
    let times: u64 = times.parse().context("--times needs a number")?;
    let mut command = cargo();
    command.args(["test", "--package", "intail", "--test", "it", "--", "processes_that_are_killed", "--nocapture"]);
    test::with_services(command.env("INTAIL_KILLS", times.to_string()))
}

/// Cargo in the repository's root, the same one that started this program.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The repository's root.
fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Runs a command to its end; its failure is an error that names it.
fn finish(command: &mut Command) -> anyhow::Result<()> {
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    let line = words.join(" ");
    let status = command.status().with_context(|| format!("`{line}` could not be started"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}
