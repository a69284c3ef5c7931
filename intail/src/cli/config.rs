//! `intail config default|check`: a file to start from, and what a configuration means or everything wrong with it.
//!
//! Neither touches the network, the database or the key. A reader must not print a secret here: only
//! [`Config::summary`] and [`ConfigError`]'s text go out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::config::{Config, ConfigError, default_file};

/// `intail config …`
#[derive(Debug, Args)]
pub struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints a configuration file with every key, its default and its meaning
    Default,
    /// Says what a configuration means, or everything that is wrong with it
    Check {
        /// The configuration file; without it, only the environment counts
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Why `intail config` failed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigCommandError {
    /// The configuration is wrong; the text says everything that is.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    /// The answer could not be written.
    #[error("the answer could not be written")]
    Output(#[from] io::Error),
}

/// Runs `intail config …` and writes its answer to `output`.
pub fn run(
    arguments: &ConfigArguments,
    environment: impl IntoIterator<Item = (String, String)>,
    working_directory: &Path,
    output: &mut dyn Write,
) -> Result<(), ConfigCommandError> {
    match &arguments.command {
        ConfigCommand::Default => write!(output, "{}", default_file())?,
        ConfigCommand::Check { config } => {
            let config = Config::load(config.as_deref(), environment, working_directory)?;
            write!(output, "The configuration is complete.\n\n{}", config.summary())?;
        }
    }
    Ok(())
}
