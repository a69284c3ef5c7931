//! `intail simulate`: the false Google Workspace alone, for integration tests of Intail or of anything else that speaks
//! to Google. It asks nobody for a password and can be steered by whoever reaches it: keep it on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use intail_sandbox::{Options, Sandbox, Script, StartError, WorldFile, WorldSource};
use tokio_util::sync::CancellationToken;

use super::lifecycle::{self, Part};
use super::serve::listen;
use super::{CliError, Outcome, Surroundings};

/// The largest world file that is read, in bytes. The generator makes large worlds from a few lines.
const WORLD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// `intail simulate …`
#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// Where the false Google listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// A world file (TOML): people, mail, labels; without it, the demo's world
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// What happens by itself from the start
    #[arg(long, value_enum)]
    script: Option<ScriptName>,
}

/// A script that plays by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScriptName {
    /// A day in a company, over and over
    Day,
}

impl From<ScriptName> for Script {
    fn from(name: ScriptName) -> Self {
        match name {
            ScriptName::Day => Self::Day,
        }
    }
}

/// Runs it.
pub(super) async fn run(arguments: SimulateArguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    let world = match &arguments.world {
        Some(file) => WorldSource::File(Box::new(read_world(&surroundings.working_directory.join(file))?)),
        None => WorldSource::Default,
    };
    let listener = listen(arguments.listen, "--listen").await?;
    let sandbox = Sandbox::start(Options {
        world,
        outside_pubsub: outside_pubsub(&surroundings),
        script: arguments.script.map(Script::from),
        ..Options::new(listener)
    })
    .await?;
    write!(surroundings.output, "{}", welcome(sandbox.url(), arguments.listen))?;
    surroundings.output.flush()?;
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    let waiting = Part::new("sandbox", async move {
        asked.cancelled().await;
        sandbox.stop().await;
        Ok(())
    });
    let Surroundings { clock, stop, .. } = &mut surroundings;
    lifecycle::run(vec![waiting], shutdown, stop, clock).await?;
    Ok(Outcome::Done)
}

fn welcome(url: &str, listen: SocketAddr) -> String {
    let mut text = format!(
        "A false Google Workspace runs at {url}\n\n  {url}/accounts     who there is to sign in as\n  \
         {url}/console      the Admin console\n  {url}/mailbox      everybody's mail\n  \
         {url}/sandbox/v1/  steers it: world, clock, faults, calls\n\n\
         Google's paths are below the same address: set each key of [google.endpoints] to it. Ctrl-C stops it.\n"
    );
    if !listen.ip().is_loopback() {
        text.push_str("\nBeware: whoever reaches this address can do anything here. It asks nobody for a password.\n");
    }
    text
}

fn read_world(path: &Path) -> Result<WorldFile, CliError> {
    let shown = path.display();
    let failed =
        |error: std::io::Error| CliError::misused(format!("The world file {shown} can't be read.")).caused_by(error);
    if std::fs::metadata(path).map_err(failed)?.len() > WORLD_BYTES_MAX {
        let sentence = format!("The world file {shown} is larger than {} MiB.", WORLD_BYTES_MAX / (1024 * 1024));
        return Err(CliError::misused(sentence).hint("Let the world file's generator make the mail instead."));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    WorldFile::parse(&text)
        .map_err(|error| CliError::misused(format!("The world file {shown} isn't right: {error}")).caused_by(error))
}

/// The Pub/Sub that the environment names for emulators, as Google's own libraries read it.
pub(super) fn outside_pubsub(surroundings: &Surroundings) -> Option<String> {
    let named = surroundings.environment.iter().find(|(name, _)| name == "PUBSUB_EMULATOR_HOST");
    named.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::new(super::sentence(&error)).caused_by(error)
    }
}
