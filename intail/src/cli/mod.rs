//! The command line: one file per command. Nothing here reads the environment, the clock or randomness by itself:
//! `main.rs` hands them in as [`Surroundings`], so that tests run commands as people do. Answers go to `output`,
//! everything else to the log. An error is a sentence and, where there is one, a hint what to do; its inner causes are
//! for the log only.

mod assemble;
mod backup;
mod calls;
pub mod config;
mod copying;
mod doctor;
mod keys;
mod lifecycle;
mod migrate;
mod move_database;
mod org;
mod people;
mod presence;
mod serve;
mod table;

#[cfg(feature = "simulator")]
pub mod demo;
#[cfg(feature = "simulator")]
mod simulate;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::BoxStream;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Database};
use crate::random::Random;
use crate::seal::SealError;
use crate::store::{Store, StoreError};

pub use assemble::assemble;

/// Intail copies what people let it read of their Google Workspace account, and keeps it live.
#[derive(Debug, Parser)]
#[command(name = "intail", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs Intail beside a false Google Workspace: nothing to set up, nothing leaves this machine
    #[cfg(feature = "simulator")]
    Demo(demo::DemoArguments),
    /// Runs Intail
    Serve(serve::ServeArguments),
    /// Runs only the false Google Workspace, for integration tests
    #[cfg(feature = "simulator")]
    Simulate(simulate::SimulateArguments),
    /// Checks everything that Intail needs, and says how to mend what is wrong
    Doctor(doctor::DoctorArguments),
    /// Prints a configuration to start from, or checks one
    Config(config::ConfigArguments),
    /// Brings the database's schema up to date
    Migrate(ConfigFile),
    /// Lists, adds or removes organizations
    Org(org::OrgArguments),
    /// Lists people, or changes what they may do
    People(people::PeopleArguments),
    /// Writes everything that Intail keeps, as of this moment, into a file; Intail may run meanwhile
    Backup(backup::BackupArguments),
    /// Fills an empty database from a backup, whichever database that was made of
    Restore(backup::RestoreArguments),
    /// Copies everything from SQLite to PostgreSQL, while Intail doesn't run
    Move(move_database::MoveArguments),
    /// Lists the keys that seal secrets, or changes them while Intail runs
    Keys(keys::KeysArguments),
    /// Prints everything that this program can ask Google
    Calls(calls::CallsArguments),
}

/// Which configuration counts.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; without it, only environment variables count
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self, surroundings: &Surroundings) -> Result<Config, CliError> {
        let Surroundings { environment, working_directory, .. } = surroundings;
        Ok(Config::load(self.config.as_deref(), environment.clone(), working_directory)?)
    }

    /// How this command's siblings are called with the same configuration.
    fn option(&self) -> String {
        self.config.as_ref().map_or_else(String::new, |file| format!(" --config {}", file.display()))
    }
}

/// What a command is given of the world outside.
pub struct Surroundings {
    /// The environment's variables.
    pub environment: Vec<(String, String)>,
    /// Where relative paths start.
    pub working_directory: PathBuf,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Where answers go.
    pub output: Box<dyn Write + Send>,
    /// Brings a request to stop; a second one stops at once.
    pub stop: BoxStream<'static, ()>,
}

/// How a command ended that didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Done,
    /// It did its work and found problems, which it printed.
    Problems,
}

/// Why a command failed: a sentence, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct CliError {
    sentence: String,
    hints: Vec<String>,
    code: u8,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The exit code of a command that failed.
const FAILED: u8 = 1;
/// The exit code for a command line or configuration that can't be used; clap uses the same.
const MISUSED: u8 = 2;

impl CliError {
    fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hints: Vec::new(), code: FAILED, source: None }
    }

    fn misused(sentence: impl Into<String>) -> Self {
        Self { code: MISUSED, ..Self::new(sentence) }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    fn caused_by(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// What to do about it, one sentence each.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The process's exit code: 1, or 2 when the command line or the configuration can't be used.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Whether whoever read the output stopped reading, as `head` does: nothing to complain about.
    pub fn is_closed_output(&self) -> bool {
        let error = self.source.as_ref().and_then(|source| source.downcast_ref::<io::Error>());
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::misused(error.to_string()).hint("`intail config default` prints every key with its meaning.")
    }
}

impl From<config::ConfigCommandError> for CliError {
    fn from(error: config::ConfigCommandError) -> Self {
        match error {
            config::ConfigCommandError::Wrong(error) => error.into(),
            config::ConfigCommandError::Output(error) => error.into(),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::new("The answer couldn't be written.").caused_by(error)
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Url(_) => None,
            StoreError::Open(_) => Some("Check that it runs and lets Intail in; for SQLite, that its folder exists."),
            StoreError::Migrate(_) => Some("A newer Intail may have used this database: use that version again."),
            StoreError::Inconsistent { .. } | StoreError::LeaseLost | StoreError::Database(_) => {
                Some("Run it again with RUST_LOG=debug to see what the database said.")
            }
        };
        let failed = Self::new(sentence(&error));
        let failed = hint.into_iter().fold(failed, Self::hint);
        failed.caused_by(error)
    }
}

impl From<SealError> for CliError {
    fn from(error: SealError) -> Self {
        Self::new(sentence(&error)).caused_by(error)
    }
}

/// An error's text as a sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    capital(&error.to_string())
}

/// A library's text as a sentence: those begin small and end without a stop.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// Opens the configured database and brings it up to date.
async fn open_store(config: &Config) -> Result<Store, CliError> {
    use secrecy::ExposeSecret as _;
    Ok(Store::open(assemble::database_url(&config.database).expose_secret()).await?)
}

/// Opens the configured database, which has to be there: a command that works on what is kept makes no empty one.
async fn open_existing(config: &Config) -> Result<Store, CliError> {
    if let Database::Sqlite(path) = &config.database {
        refuse_missing(path)?;
    }
    open_store(config).await
}

/// Refuses a SQLite database that isn't there, which opening it would make.
fn refuse_missing(path: &Path) -> Result<(), CliError> {
    if path.exists() {
        return Ok(());
    }
    Err(CliError::misused(format!("There is no database {}.", path.display())).hint(
        "database.url in the configuration says which one; a relative path starts at the configuration's folder.",
    ))
}

/// The log filter of a command when RUST_LOG says nothing: a server tells what it does, everything else only what is
/// wrong.
pub fn default_log(arguments: &Arguments) -> &'static str {
    match arguments.command {
        Command::Serve(_) => "info",
        _ => "warn",
    }
}

/// Runs a command. Boxed here, so that the whole product is compiled once, with this crate, and not once more with
/// each program that runs it.
pub fn run(arguments: Arguments, surroundings: Surroundings) -> LocalBoxFuture<'static, Result<Outcome, CliError>> {
    run_command(arguments, surroundings).boxed_local()
}

async fn run_command(arguments: Arguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    match arguments.command {
        #[cfg(feature = "simulator")]
        Command::Demo(arguments) => demo::run(arguments, surroundings).await,
        Command::Serve(arguments) => serve::run(arguments, surroundings).await,
        #[cfg(feature = "simulator")]
        Command::Simulate(arguments) => simulate::run(arguments, surroundings).await,
        Command::Doctor(arguments) => doctor::run(arguments, surroundings).await,
        Command::Config(arguments) => {
            let Surroundings { environment, working_directory, output, .. } = &mut surroundings;
            config::run(&arguments, environment.clone(), working_directory, output)?;
            Ok(Outcome::Done)
        }
        Command::Migrate(arguments) => migrate::run(arguments, surroundings).await,
        Command::Org(arguments) => org::run(arguments, surroundings).await,
        Command::People(arguments) => people::run(arguments, surroundings).await,
        Command::Backup(arguments) => backup::backup(arguments, surroundings).await,
        Command::Restore(arguments) => backup::restore(arguments, surroundings).await,
        Command::Move(arguments) => move_database::run(arguments, surroundings).await,
        Command::Keys(arguments) => keys::run(arguments, surroundings).await,
        Command::Calls(arguments) => calls::run(&arguments, &mut surroundings.output),
    }
}
