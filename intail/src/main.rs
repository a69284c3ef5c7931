//! The program: the only place that reads the command line, the environment, the machine's clock and its randomness,
//! and that ends the process.
//!
//! Exit codes: 0 all is well; 1 the command failed, or `doctor` found problems; 2 the command line or the configuration
//! can't be used. Answers go to standard output, the log and errors to standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use intail::cli::{self, Arguments, CliError, Outcome, Surroundings};
use intail::clock::Clock;
use intail::random::Random;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(cli::default_log(&arguments));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&CliError::from(error)),
    };
    match runtime.block_on(cli::run(arguments, surroundings())) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Problems) => ExitCode::FAILURE,
        Err(error) => report(&error),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment, to hand it in")]
fn surroundings() -> Surroundings {
    Surroundings {
        // A variable that isn't text is none of ours.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        clock: Clock::machine(),
        random: Random::from_os(),
        output: Box::new(io::stdout()),
        stop: stop_requests(),
    }
}

/// One item for each Ctrl-C or SIGTERM. Nothing is caught before somebody waits for the first item: a command that
/// doesn't wait for it ends as any other program does.
fn stop_requests() -> BoxStream<'static, ()> {
    let listen = || Some((signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?));
    let next = move |listening: Option<(Signal, Signal)>| async move {
        let (mut interrupt, mut terminate) = listening.or_else(listen)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Some(((), Some((interrupt, terminate))))
    };
    stream::unfold(None, next).boxed()
}

/// The log, to standard error; RUST_LOG says how much.
fn start_log(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal());
    log.with_writer(io::stderr).init();
}

/// Prints an error for people; its inner causes only with RUST_LOG=debug.
fn report(error: &CliError) -> ExitCode {
    if error.is_closed_output() {
        return ExitCode::SUCCESS;
    }
    let mut text = format!("error: {error}\n");
    for hint in error.hints() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        for cause in causes.take(CAUSES_MAX) {
            text.push_str(&format!("because: {cause}\n"));
        }
    }
    // If standard error is gone, there is nobody left to tell.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(error.code())
}

/// The most inner causes that are printed; real chains have three or four.
const CAUSES_MAX: usize = 16;
