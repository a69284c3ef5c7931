//! `intail move`: from SQLite to PostgreSQL, once one machine is no longer enough. Everything is copied in one
//! transaction while nobody else writes; what was there stays as it was.

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::{CliError, ConfigFile, Outcome, Surroundings, copying, presence};
use crate::config::Database;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::store::{Store, newest_version, organizations, whole};

/// The most organizations whose log is written to, as many as anywhere.
const ORGANIZATIONS_MAX: i64 = 10_000;

/// `intail move …`
#[derive(Debug, Args)]
pub(super) struct MoveArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The PostgreSQL database, an empty one: postgres://USER@HOST/NAME; PGPASSWORD may hold the password
    #[arg(long, value_name = "URL", value_parser = url)]
    to: SecretString,
}

fn url(text: &str) -> Result<SecretString, &'static str> {
    let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    if is_postgres { Ok(SecretString::from(text)) } else { Err("it has the form postgres://USER@HOST/NAME") }
}

/// Runs it.
pub(super) async fn run(arguments: MoveArguments, mut around: Surroundings) -> Result<Outcome, CliError> {
    let config = arguments.config.load(&around)?;
    let Database::Sqlite(path) = &config.database else {
        return Err(CliError::misused("The configured database is PostgreSQL already: there is nothing to move.")
            .hint("`intail backup` and `intail restore` bring everything from one PostgreSQL to another."));
    };
    let (store, version) = copying::connect(&config).await?;
    let moved = match version == newest_version() {
        true => move_from(&store, &arguments.to, &around).await,
        false => Err(CliError::new("The database's schema isn't that of this Intail.")
            .hint(format!("`intail migrate{}` brings it up to date.", arguments.config.option()))),
    };
    store.close().await;
    let counts = moved?;
    for (table, rows) in counts.iter().filter(|(_, rows)| *rows > 0) {
        writeln!(around.output, "{table}: {rows}")?;
    }
    writeln!(
        around.output,
        "Everything is in PostgreSQL: {} rows in {} tables, counted there. Now set database.url to its address \
         (`[database] url = \"postgres://…\"`, or INTAIL__DATABASE__URL) and start `intail serve`; the key file \
         stays the same.\n\
         {} is as it was. Nobody may run on it any more; delete it once the new one has proved itself.",
        counts.iter().map(|(_, rows)| rows).sum::<i64>(),
        counts.len(),
        path.display()
    )?;
    Ok(Outcome::Done)
}

async fn move_from(store: &Store, url: &SecretString, around: &Surroundings) -> Result<Vec<(String, i64)>, CliError> {
    let now = around.clock.now();
    // SQLite has one writer: nobody writes until this ends.
    let mut from = store.write().await?;
    let running = presence::running(&mut from, now).await?;
    if let Some(process) = running.first() {
        return Err(CliError::new(format!("Intail runs on this database ({}). Nothing was moved.", process.name))
            .hint("End every `intail serve` first. One that was killed counts as running for two minutes."));
    }
    let leased = whole::leased(&mut from, now).await?;
    if leased > 0 {
        return Err(CliError::new(format!(
            "Somebody works on this database: {leased} streams are leased. Nothing was moved."
        ))
        .hint("End every `intail serve` first. What a killed one worked on is free after a minute and a half."));
    }
    let tables = whole::tables(&mut from).await?;
    let target = Store::connect(url.expose_secret()).await?;
    let named = Database::Postgres(url.clone()).to_string();
    let copied = async {
        copying::prepare(&target, newest_version(), &tables, &named).await?;
        let mut to = target.write().await?;
        copying::refuse_used(&mut to, &tables, &named).await?;
        let counts = copying::everything(&mut from, &mut to, &tables).await?;
        whole::moved(&mut to).await?;
        for organization in organizations::list(&mut to, ORGANIZATIONS_MAX).await? {
            let entry = Entry {
                organization: &organization.id,
                actor: Actor::Operator,
                action: "database.moved",
                about: organization.id.as_str(),
                origin: Origin::Cli,
                detail: json!({"from": "sqlite", "to": "postgresql"}),
            };
            audit::record(&mut to, entry, now).await?;
        }
        to.commit().await?;
        Ok(counts)
    };
    let copied = copied.await;
    target.close().await;
    copied
}
