//! `intail migrate`: brings the database's schema up to date. `serve` does so too; this is for those who want it done
//! before the first new process starts.

use super::{CliError, ConfigFile, Outcome, Surroundings, open_store};

/// Runs it.
pub(super) async fn run(arguments: ConfigFile, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    let config = arguments.load(&surroundings)?;
    let store = open_store(&config).await?;
    store.close().await;
    writeln!(surroundings.output, "The database is up to date ({}).", config.database)?;
    Ok(Outcome::Done)
}
